//! What is tried again although nobody waits for it: keys to be given back, and answers whose clients have been told that
//! they are not recorded. A store that was away for a moment must not cost either of them.

use super::{Registry, UnderWay};
use crate::gcra::{PS_PER_S, Ps};
use crate::idempotency::counts::Event;
use crate::idempotency::exchange::picoseconds;
use crate::idempotency::store::{Committed, Operation, Outcome, Released, Store};

/// The longest pause between two tries that fail.
const MOST_PAUSE: Ps = PS_PER_S;

/// An operation to be tried at some time.
pub(super) struct Chore {
    at: Ps,
    route: usize,
    operation: Operation,
    effort: Effort,
}

/// How an operation is tried again. A try that never left counts for nothing: only time ends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Before the next try.
    pause: Ps,
    until: Ps,
    /// A release of which the acquire may be on its way still: that there is nothing to free yet says little.
    early: bool,
}

impl<S: Store> Registry<S> {
    /// For as long as a lease: later the key is unknown in any case, and somebody may look into it.
    pub(super) fn effort(&self, operation: &Operation, now: Ps) -> Effort {
        Effort {
            pause: self.settings.timeout,
            until: now + picoseconds(operation.claim().lease),
            early: false,
        }
    }

    /// Gives back a key of which it is not known whether it was taken.
    pub(super) fn give_back(&mut self, stream: u32, route: usize, operation: Operation, now: Ps) {
        let effort = Effort {
            early: true,
            ..self.effort(&operation, now)
        };
        self.aside(stream, route, operation, Some(effort), now);
    }

    /// Keeps an answer whose client has been told that it is not recorded.
    pub(super) fn keep(&mut self, route: usize, operation: Operation, now: Ps) {
        self.late += late_bytes(&operation);
        let effort = self.effort(&operation, now);
        self.put_off(route, operation, effort, now);
    }

    /// Keeps an operation for another try, or gives it up.
    pub(super) fn put_off(&mut self, route: usize, operation: Operation, effort: Effort, now: Ps) {
        let at = now + effort.pause;
        if at <= effort.until && self.chores.len() < self.settings.max_open {
            self.chores.push(Chore {
                at,
                route,
                operation,
                effort: Effort {
                    pause: (effort.pause * 2).min(MOST_PAUSE.max(self.settings.timeout)),
                    ..effort
                },
            });
        } else if matches!(operation, Operation::Release(_)) {
            self.count(route, Event::NotFreed);
        } else {
            self.late = self.late.saturating_sub(late_bytes(&operation));
        }
    }

    /// A chore or a release has been answered.
    pub(super) fn tried(&mut self, asked: UnderWay, outcome: &Outcome, now: Ps) {
        let (operation, route) = (asked.operation, asked.route);
        match (outcome, asked.effort) {
            (Outcome::Release(Released::Absent), Some(effort)) if effort.early => {
                // Each next look is twice as far off: there is rarely something to find. If not by then, there was not.
                let at = now + effort.pause;
                if at <= effort.until && self.chores.len() < self.settings.max_open {
                    let pause = effort.pause * 2;
                    let effort = Effort { pause, ..effort };
                    self.chores.push(Chore {
                        at,
                        route,
                        operation,
                        effort,
                    });
                }
            }
            (Outcome::Commit(committed), Some(_)) => {
                self.late = self.late.saturating_sub(late_bytes(&operation));
                self.count(
                    route,
                    match committed {
                        Committed::Yes | Committed::Restored => Event::RecordedLate,
                        Committed::Superseded => Event::Superseded,
                    },
                );
                self.wake(operation.claim().scope, now);
            }
            (Outcome::Release(Released::Yes | Released::Absent), _) => {
                self.wake(operation.claim().scope, now);
            }
            _ => {}
        }
    }

    pub(super) fn do_chores(&mut self, now: Ps) {
        let (due, later) = std::mem::take(&mut self.chores)
            .into_iter()
            .partition::<Vec<_>, _>(|chore| chore.at <= now);
        self.chores = later;
        for chore in due {
            let effort = Some(chore.effort);
            self.aside(0, chore.route, chore.operation, effort, now);
        }
    }

    pub(super) fn count(&mut self, route: usize, event: Event) {
        if let Some(counts) = self.counts.routes.get_mut(route) {
            counts.add(event);
        }
    }
}

fn late_bytes(operation: &Operation) -> usize {
    match operation {
        Operation::Commit(commit) => commit.bytes.len(),
        _ => 0,
    }
}
