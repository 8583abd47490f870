//! Records in several independent stores, of which more than half must agree: Redlock
//! (<https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/>), for records that no lease frees.
//!
//! Two attempts cannot both have most of the stores, so one at most is told that a key is its own. That holds while each
//! store keeps what it was told: one that comes back empty has forgotten its vote. A lease's end frees nothing, so clocks
//! that differ give no key to two; only the end of the retention does.
//!
//! A fence is the greatest that any of the stores gave. It grows from one execution to the next as far as their clocks
//! agree, and no further: two executions may ask different stores for most of their votes.
//!
//! One store by itself is the case in which its own answer is the vote.

use super::store::{Acquired, Claim, Committed, Operation, Outcome, Released, Renewed, Store};
use crate::gcra::Ps;
use crate::redis::trouble::Trouble;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the votes come to is told under the id that was asked with; releases of its own have ids from here on.
const OWN: u64 = 1 << 63;

pub struct Redlock<S> {
    stores: Vec<S>,
    votes: BTreeMap<u64, Vote>,
    /// Releases under way, by their id: the vote that waits for them.
    undoing: BTreeMap<u64, u64>,
    next: u64,
    /// How long an operation may take.
    timeout: Ps,
    now: Ps,
    answered: Vec<(u64, Result<Outcome, Trouble>)>,
}

struct Vote {
    operation: Operation,
    /// By store; none: it has not answered.
    answers: Vec<Option<Answer>>,
    said: bool,
    /// What is said when so many releases have ended.
    then: Option<(Outcome, usize)>,
}

#[derive(Clone)]
enum Answer {
    Outcome(Outcome),
    /// It has not got the operation.
    NotBegun(Trouble),
    /// It may have carried it out.
    Perhaps(Trouble),
}

/// What follows from the votes so far.
enum Verdict {
    Wait,
    Say(Result<Outcome, Trouble>),
    /// To be said once those that agreed have been told to forget it: the same token may ask again.
    SayFreed(Outcome),
}

impl<S: Store> Redlock<S> {
    /// At least one store; an odd number, since an even one bears no more failures than the odd one below it.
    #[must_use]
    pub fn new(stores: Vec<S>, timeout: Ps) -> Self {
        Self {
            stores,
            votes: BTreeMap::new(),
            undoing: BTreeMap::new(),
            next: OWN,
            timeout,
            now: 0,
            answered: Vec::new(),
        }
    }

    /// Each of them, to send what it has to send.
    pub fn stores(&mut self) -> &mut [S] {
        &mut self.stores
    }

    /// Operations of which not every store has answered.
    #[must_use]
    pub fn open(&self) -> usize {
        self.votes.len() + self.undoing.len()
    }

    fn look(&mut self, id: u64) {
        let quorum = self.stores.len() / 2 + 1;
        let Some(vote) = self.votes.get_mut(&id) else {
            return;
        };
        if !vote.said && vote.then.is_none() {
            match vote.verdict(quorum) {
                Verdict::Wait => {}
                Verdict::Say(outcome) => {
                    vote.said = true;
                    let told = !matches!(
                        outcome,
                        Ok(Outcome::Acquire(Acquired::Yours { .. })) | Err(_)
                    );
                    self.answered.push((id, outcome));
                    if told {
                        self.undo(id);
                    }
                }
                Verdict::SayFreed(outcome) => {
                    vote.then = Some((outcome, 0));
                    self.undo(id);
                    self.freed(id, Ok(()));
                }
            }
        }
        self.forget(id);
    }

    /// Nothing more can come of a vote that is over.
    fn forget(&mut self, id: u64) {
        if self.votes.get(&id).is_some_and(Vote::is_over) {
            self.votes.remove(&id);
        }
    }

    /// Has those forget an attempt that lost which may have it.
    fn undo(&mut self, id: u64) {
        for index in 0..self.stores.len() {
            self.undo_at(id, index);
        }
    }

    fn undo_at(&mut self, id: u64, index: usize) {
        let Some(vote) = self.votes.get_mut(&id) else {
            return;
        };
        let Operation::Acquire(claim) = &vote.operation else {
            return;
        };
        let has_it = match vote.answers.get(index) {
            Some(Some(Answer::Outcome(outcome))) => {
                matches!(outcome, Outcome::Acquire(Acquired::Yours { .. }))
            }
            // A token that will ask again must not be freed there behind its own back: it may be, later than it asks.
            Some(Some(Answer::Perhaps(_))) => vote.then.is_none(),
            _ => false,
        };
        let (Some(store), true) = (self.stores.get_mut(index), has_it) else {
            return;
        };
        let release = Operation::Release(Arc::clone(claim));
        self.next = self.next.wrapping_add(1) | OWN;
        let deadline = self.now + 2 * self.timeout;
        if let Some((_, waits)) = &mut vote.then {
            *waits += 1;
        }
        match store.start(self.next, &release, deadline, self.now) {
            Ok(()) => {
                self.undoing.insert(self.next, id);
            }
            Err(trouble) => self.freed_one(id, Err(trouble)),
        }
    }

    fn freed_one(&mut self, id: u64, freed: Result<(), Trouble>) {
        if let Some(Vote {
            then: Some((_, waits)),
            ..
        }) = self.votes.get_mut(&id)
        {
            *waits = waits.saturating_sub(1);
        }
        self.freed(id, freed);
    }

    /// A release has ended, or there was none to wait for.
    fn freed(&mut self, id: u64, freed: Result<(), Trouble>) {
        let Some(vote) = self.votes.get_mut(&id).filter(|vote| !vote.said) else {
            return;
        };
        match (&vote.then, freed) {
            // It may be there still, and would count as a vote if the token asked again.
            (Some(_), Err(trouble)) => {
                vote.said = true;
                self.answered.push((id, Err(trouble)));
            }
            (Some((outcome, 0)), Ok(())) => {
                vote.said = true;
                self.answered.push((id, Ok(outcome.clone())));
            }
            _ => {}
        }
    }
}

impl<S: Store> Store for Redlock<S> {
    fn start(
        &mut self,
        id: u64,
        operation: &Operation,
        deadline: Ps,
        now: Ps,
    ) -> Result<(), Trouble> {
        self.now = now;
        let mut answers = Vec::with_capacity(self.stores.len());
        let mut refusal = None;
        for store in &mut self.stores {
            answers.push(match store.start(id, operation, deadline, now) {
                Ok(()) => None,
                Err(trouble) => {
                    refusal = Some(trouble);
                    Some(Answer::NotBegun(trouble))
                }
            });
        }
        if answers.iter().all(Option::is_some) {
            return Err(refusal.unwrap_or(Trouble::Connect));
        }
        let vote = Vote {
            operation: operation.clone(),
            answers,
            said: false,
            then: None,
        };
        self.votes.insert(id, vote);
        self.look(id);
        Ok(())
    }

    /// An answer is the truth wherever it is.
    fn known(&mut self, claim: &Claim, now: Ps) -> Option<Acquired> {
        let mut stores = self.stores.iter_mut();
        stores.find_map(|store| store.known(claim, now))
    }

    fn answered(&mut self) -> Vec<(u64, Result<Outcome, Trouble>)> {
        for index in 0..self.stores.len() {
            let Some(store) = self.stores.get_mut(index) else {
                break;
            };
            for (id, outcome) in store.answered() {
                if let Some(vote) = self.undoing.remove(&id) {
                    self.freed_one(vote, outcome.map(|_| ()));
                    self.forget(vote);
                    continue;
                }
                let Some(vote) = self.votes.get_mut(&id) else {
                    continue;
                };
                if let Some(place) = vote.answers.get_mut(index) {
                    *place = Some(match outcome {
                        Ok(outcome) => Answer::Outcome(outcome),
                        Err(trouble) => Answer::Perhaps(trouble),
                    });
                }
                // Too late to count: somebody was told that the key is another's.
                if vote.said && !vote.won() {
                    self.undo_at(id, index);
                }
                self.look(id);
            }
        }
        std::mem::take(&mut self.answered)
    }
}

impl Vote {
    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.answers.iter().filter_map(|answer| match answer {
            Some(Answer::Outcome(outcome)) => Some(outcome),
            _ => None,
        })
    }

    fn pending(&self) -> usize {
        self.answers
            .iter()
            .filter(|answer| answer.is_none())
            .count()
    }

    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.outcomes().filter(|outcome| is(outcome)).count()
    }

    /// The attempt has the key.
    fn won(&self) -> bool {
        let yours =
            self.count(|outcome| matches!(outcome, Outcome::Acquire(Acquired::Yours { .. })));
        yours > self.answers.len() / 2 || !matches!(self.operation, Operation::Acquire(_))
    }

    fn is_over(&self) -> bool {
        self.said && self.pending() == 0
    }

    fn trouble(&self) -> Trouble {
        let mut troubles = self.answers.iter().filter_map(|answer| match answer {
            Some(Answer::NotBegun(trouble) | Answer::Perhaps(trouble)) => Some(*trouble),
            _ => None,
        });
        troubles.next().unwrap_or(Trouble::Malformed)
    }

    fn verdict(&self, quorum: usize) -> Verdict {
        match &self.operation {
            Operation::Acquire(_) => self.acquired(quorum),
            Operation::Renew(_) => self.most(
                quorum,
                |outcome| matches!(outcome, Outcome::Renew(Renewed::Yes)),
                Outcome::Renew(Renewed::Yes),
                Outcome::Renew(Renewed::Lost),
            ),
            Operation::Commit(_) => {
                let known =
                    self.count(|outcome| matches!(outcome, Outcome::Commit(Committed::Yes)));
                let yes = match known {
                    0 => Committed::Restored,
                    _ => Committed::Yes,
                };
                self.most(
                    quorum,
                    |outcome| {
                        matches!(
                            outcome,
                            Outcome::Commit(Committed::Yes | Committed::Restored)
                        )
                    },
                    Outcome::Commit(yes),
                    Outcome::Commit(Committed::Superseded),
                )
            }
            Operation::Release(_) => {
                // Where it is absent the acquire may be on its way still.
                let absent =
                    self.count(|outcome| matches!(outcome, Outcome::Release(Released::Absent)));
                let yes = match absent {
                    0 => Released::Yes,
                    _ => Released::Absent,
                };
                self.most(
                    quorum,
                    |outcome| matches!(outcome, Outcome::Release(Released::Yes | Released::Absent)),
                    Outcome::Release(yes),
                    Outcome::Release(Released::Lost),
                )
            }
        }
    }

    /// What most say, one way or the other.
    fn most(
        &self,
        quorum: usize,
        agrees: impl Fn(&Outcome) -> bool,
        yes: Outcome,
        no: Outcome,
    ) -> Verdict {
        let agree = self.count(&agrees);
        let refuse = self.count(|outcome| !agrees(outcome));
        if agree >= quorum {
            Verdict::Say(Ok(yes))
        } else if self.answers.len() - refuse < quorum {
            Verdict::Say(Ok(no))
        } else if self.pending() > 0 {
            Verdict::Wait
        } else {
            Verdict::Say(Err(self.trouble()))
        }
    }

    fn acquired(&self, quorum: usize) -> Verdict {
        let mut fences = Vec::new();
        let mut others = Vec::new();
        for outcome in self.outcomes() {
            match outcome {
                // An answer is the truth wherever it is.
                Outcome::Acquire(Acquired::Completed { .. }) => {
                    return Verdict::Say(Ok(outcome.clone()));
                }
                Outcome::Acquire(Acquired::Yours { fence }) => fences.push(*fence),
                Outcome::Acquire(other) => others.push(other),
                _ => return Verdict::Say(Err(Trouble::Malformed)),
            }
        }
        if fences.len() >= quorum {
            let fence = fences.into_iter().max().unwrap_or_default();
            return Verdict::Say(Ok(Outcome::Acquire(Acquired::Yours { fence })));
        }
        // What fewer have may be the rest of an attempt that never had the key.
        if self.answers.len() - others.len() >= quorum {
            return match self.pending() {
                0 => Verdict::Say(Err(self.trouble())),
                _ => Verdict::Wait,
            };
        }
        let in_flight: Option<Duration> = others
            .iter()
            .filter_map(|other| match other {
                Acquired::InFlight { left } => Some(*left),
                _ => None,
            })
            .max();
        let last = [Acquired::Mismatch, Acquired::Corrupt];
        let found = last.into_iter().find(|last| others.contains(&last));
        match (found, in_flight) {
            (Some(found), _) => Verdict::Say(Ok(Outcome::Acquire(found))),
            (None, None) => Verdict::Say(Ok(Outcome::Acquire(Acquired::Unknown))),
            // The same token will ask again: nothing of this time may be under way then.
            (None, Some(_)) if self.pending() > 0 => Verdict::Wait,
            (None, Some(left)) => Verdict::SayFreed(Outcome::Acquire(Acquired::InFlight { left })),
        }
    }
}

#[cfg(test)]
#[path = "store_tests/mod.rs"]
pub(super) mod testing;
