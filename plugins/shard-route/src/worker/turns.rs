//! Requests that wait for their turn at a shard.

use super::{Kept, Worker};
use crate::edits;
use sluice_core::gcra::Ps;
use sluice_core::shard::Problem;
use sluice_core::shard::decide::Refusal;
use sluice_host::stream::Others;

impl Worker {
    /// Has those looked at that wait, when the running events are done: from here no other stream may go on.
    pub(super) fn wake(&mut self) {
        if self.caps.is_waited_for() && !self.waking {
            self.waking = self.wakeup.call();
        }
    }

    /// A wake-up has come.
    pub fn woken(&mut self, queue: u32, now: Ps) {
        if self.wakeup.taken(queue) {
            self.waking = false;
            self.turns(now);
        }
    }

    /// Lets those go on whose turn it is, and refuses those who waited too long.
    pub(super) fn turns(&mut self, now: Ps) {
        let turns = self.caps.turns(now);
        if turns.is_empty() {
            return;
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
    }
}
