//! Requests that wait for their turn at a shard.

use super::{Kept, Worker};
use crate::edits;
use sluice_core::gcra::Ps;
use sluice_core::release::MOST_AT_ONCE;
use sluice_core::shard::Problem;
use sluice_core::shard::decide::Refusal;
use sluice_host::stream::Others;

impl Worker {
    /// Has those looked at that wait, when the running events are done: from here no other stream may go on.
    pub(super) fn wake(&mut self) {
        if self.caps.is_waited_for() {
            self.call();
        }
    }

    fn call(&mut self) {
        self.waking = self.waking || self.wakeup.call();
    }

    /// A wake-up has come.
    pub fn woken(&mut self, queue: u32, now: Ps) {
        if self.wakeup.taken(queue) {
            self.waking = false;
            self.release(now, self.kept_back);
        }
    }

    /// Lets those go whose time has come, and with `bodies` those as well whose body is late. Not all at once.
    pub(super) fn release(&mut self, now: Ps, bodies: bool) {
        let mut count = self.turns(now, MOST_AT_ONCE);
        if bodies {
            count += self.late_bodies(now, MOST_AT_ONCE.saturating_sub(count));
        }
        self.kept_back = count >= MOST_AT_ONCE;
        if self.kept_back {
            self.call();
        }
    }

    /// Lets those go on whose turn it is, and refuses those who waited too long: at most `most`. How many they were.
    fn turns(&mut self, now: Ps, most: usize) -> usize {
        let turns = self.caps.turns(now, most);
        let count = turns.len();
        if count == 0 {
            return 0;
        }
        let others = Others::of(self.root);
        for (id, turn) in turns {
            let Some(Kept::Waiting { mut sent, route }) = self.kept.remove(&id) else {
                continue;
            };
            if turn {
                sent.counted = Some(now);
                let seat = sent.seat;
                self.metrics.routed(seat, sent.role);
                self.kept.insert(id, Kept::Sent(sent));
                // One that is gone by now ends of its own: its deletion gives the place back.
                if !others.resume_request(id) && self.kept.remove(&id).is_some() {
                    self.caps.leave(seat, now);
                }
                continue;
            }
            let problem = Problem::Waited;
            self.metrics.refused(route, problem, Some(sent.seat));
            let retry_after = self.caps.retry_after(sent.seat);
            self.kept.insert(id, Kept::Refused);
            others.act(id, || {
                edits::answer(Refusal {
                    problem,
                    retry_after,
                });
            });
        }
        count
    }
}
