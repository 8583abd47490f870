//! Requests that wait for their turn at a shard.

use super::plan::{Asked, Plan};
use super::{Kept, Waiting, Worker};
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
            let Some(Kept::Waiting(waiting)) = self.kept.remove(&id) else {
                continue;
            };
            let Waiting {
                asked, seat, plan, ..
            } = *waiting;
            let refusal = match plan {
                Ok(plan) if turn => {
                    self.go(&others, id, &asked, plan, now);
                    continue;
                }
                Ok(_) => {
                    let problem = Problem::Waited;
                    self.metrics.refused(asked.route, problem, Some(seat));
                    Refusal {
                        problem,
                        retry_after: self.caps.retry_after(seat),
                    }
                }
                Err(refusal) => refusal,
            };
            self.kept.insert(id, Kept::Refused);
            others.act(id, || edits::answer(refusal));
        }
        count
    }

    /// Sends one on that has just got a place.
    fn go(&mut self, others: &Others, id: u32, asked: &Asked, plan: Plan, now: Ps) {
        let seat = plan.seat;
        let counted = self.caps.own(seat).map(|_| now);
        let sent = others.act(id, || self.send(id, asked, plan, counted));
        let sent = match sent {
            Some(Ok(_)) => others.resume_request(id),
            Some(Err(refusal)) => {
                self.kept.insert(id, Kept::Refused);
                others.act(id, || edits::answer(refusal));
                false
            }
            None => false,
        };
        // Its end has nothing to give back then.
        if !sent && counted.is_some() {
            if let Some(Kept::Sent(_)) = self.kept.get(&id) {
                self.kept.remove(&id);
            }
            self.caps.leave(seat, now);
        }
    }
}
