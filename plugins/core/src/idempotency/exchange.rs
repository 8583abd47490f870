//! One request with a key and its response, from the moment its fingerprint is known: what is asked of the store, what is
//! held meanwhile, and how it ends. Nothing here waits without a deadline.
//!
//! ```text
//! Acquiring -> Running -> Collecting -> Committing -> Done
//!   |   ^         |                        |  ^
//!   v   |         v                        v  |
//!  Resting     Releasing               (tried again)
//! ```

mod response;

pub use response::ResponseHead;

use super::counts::{Event, RouteCounts};
use super::problem::{Answer, Problem, field};
use super::scripts::Keys;
use super::seal::AtRest;
use super::settings::{OnStoreError, Route};
use super::store::{self, Acquired, Claim, Commit, Committed, Kind, Operation, Outcome};
use super::stored::{Corrupt, Field, Stored};
use crate::gcra::{PS_PER_S, Ps};
use crate::redis::trouble::Trouble;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How often a commit is tried while its client waits.
const COMMIT_TRIES: u32 = 3;
/// A waiting request looks again after this, then after twice as long, up to the most.
const FIRST_REST: Ps = PS_PER_S / 50;
const MOST_REST: Ps = PS_PER_S / 2;

/// What the gateway is to do with a stream that was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The request goes on, with these fields set.
    Proceed(Vec<Field>),
    /// This is the response: to the request, or in place of the upstream's that is held.
    Answer(Answer),
    /// The upstream's response goes on, with these fields set if its head is still here.
    Deliver(Vec<Field>),
    /// The response has begun and must not look complete: the stream is to be reset.
    Abort,
}

/// What follows from an event.
#[derive(Debug)]
pub(super) enum Act {
    /// Ask the store; the exchange waits for the outcome.
    Start(Operation),
    /// Ask the store; nobody waits.
    Aside(Operation),
    /// Free a key that was perhaps taken, or will be in a moment.
    GiveBack(Arc<Claim>),
    /// Store the answer late; its client has been answered.
    Keep(Arc<Commit>),
    Settle(Settled),
}

/// What an exchange needs to know and may touch.
pub(super) struct Context<'a> {
    pub route: &'a Route,
    /// How long an operation may take.
    pub timeout: Ps,
    pub fence_header: Option<&'a str>,
    pub at_rest: &'a AtRest,
    pub keys: &'a Keys,
    /// Bytes of one body that the gateway buffers.
    pub buffer: usize,
    /// Bytes that may still be held, over all exchanges.
    pub room: usize,
    pub now: Ps,
    pub counts: &'a mut RouteCounts,
    pub acts: &'a mut Vec<Act>,
}

impl Context<'_> {
    fn settle(&mut self, settled: Settled) {
        self.acts.push(Act::Settle(settled));
    }
}

/// What is held of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    All,
    LastPiece,
    /// A dry run.
    Nothing,
}

#[derive(Debug)]
enum State {
    /// The key is asked for.
    Acquiring,
    /// Another has the key; it is asked for again then.
    Resting {
        until: Ps,
    },
    /// The request is upstream.
    Running,
    /// The answer arrives.
    Collecting {
        stored: Stored,
        body: Vec<u8>,
        event: Option<store::Event>,
    },
    /// The answer is being stored; `again`: when it is to be tried once more.
    Committing {
        commit: Arc<Commit>,
        tries: u32,
        again: Option<Ps>,
    },
    /// The request was never sent: the key is being freed.
    Releasing,
    Done,
}

pub(super) struct Exchange {
    pub route: usize,
    pub claim: Arc<Claim>,
    hold: Hold,
    state: State,
    /// Until when the operation under way is waited for.
    deadline: Ps,
    /// Until when another with the key is waited for.
    patience: Ps,
    rest: Ps,
    /// Another with the key was seen.
    contested: bool,
    fence: Option<u64>,
    /// Sent although the store could not be asked.
    unprotected: bool,
    renew_at: Option<Ps>,
    renew_until: Ps,
    /// Something of the response is held now.
    holding: bool,
    /// Bytes of the answer's body that the gateway buffers.
    buffered: usize,
    /// Bytes of the answer that are still to come, where it says how long it is.
    to_come: Option<u64>,
}

impl Exchange {
    /// Asks for the key.
    pub fn begin(route: usize, claim: Claim, hold: Hold, cx: &mut Context<'_>) -> Self {
        let mut exchange = Self {
            route,
            claim: Arc::new(claim),
            hold,
            state: State::Acquiring,
            deadline: 0,
            patience: cx.now + picoseconds(cx.route.wait),
            rest: FIRST_REST,
            contested: false,
            fence: None,
            unprotected: false,
            renew_at: None,
            renew_until: 0,
            holding: false,
            buffered: 0,
            to_come: None,
        };
        exchange.acquire(cx);
        exchange
    }

    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub fn is_resting(&self) -> bool {
        matches!(self.state, State::Resting { .. })
    }

    /// Whether the request may have been sent.
    pub fn is_sent(&self) -> bool {
        !matches!(
            self.state,
            State::Acquiring | State::Resting { .. } | State::Done
        )
    }

    /// Whether what has come of the stream so far is to be held.
    pub fn holds(&self) -> bool {
        matches!(self.state, State::Acquiring | State::Resting { .. }) || self.holding
    }

    /// Bytes of an answer that are kept.
    pub fn held(&self) -> usize {
        match &self.state {
            State::Collecting { body, .. } => body.len(),
            State::Committing { commit, .. } => commit.bytes.len(),
            _ => 0,
        }
    }

    /// Whether the operation under way has taken too long.
    pub fn is_overdue(&self, now: Ps) -> bool {
        let waits = matches!(
            self.state,
            State::Acquiring | State::Releasing | State::Committing { again: None, .. }
        );
        waits && self.deadline <= now
    }

    fn acquire(&mut self, cx: &mut Context<'_>) {
        self.start(Operation::Acquire(Arc::clone(&self.claim)), cx);
        self.state = State::Acquiring;
    }

    fn start(&mut self, operation: Operation, cx: &mut Context<'_>) {
        self.deadline = cx.now + cx.timeout;
        cx.acts.push(Act::Start(operation));
    }

    /// The store has answered.
    pub fn outcome(&mut self, outcome: Outcome, cx: &mut Context<'_>) {
        match (&self.state, outcome) {
            (State::Acquiring, Outcome::Acquire(acquired)) => self.acquired(acquired, cx),
            (State::Committing { .. }, Outcome::Commit(committed)) => match committed {
                Committed::Yes => self.committed(Event::Committed, cx),
                Committed::Restored => self.committed(Event::Restored, cx),
                Committed::Superseded => {
                    cx.counts.add(Event::Superseded);
                    self.not_recorded(cx);
                }
            },
            (State::Releasing, Outcome::Release(_)) => self.refuse(Problem::NotSent, cx),
            // An answer to another question.
            _ => self.failed(Trouble::Malformed, true, cx),
        }
    }

    /// The store has not answered. `perhaps`: the operation may have been carried out.
    pub fn failed(&mut self, _: Trouble, perhaps: bool, cx: &mut Context<'_>) {
        match &mut self.state {
            State::Acquiring => self.not_acquired(perhaps, cx),
            State::Committing {
                commit,
                tries,
                again,
            } => {
                if *tries < COMMIT_TRIES {
                    *again = Some(cx.now + cx.timeout / 4);
                } else {
                    // The only copy of the answer.
                    cx.acts.push(Act::Keep(Arc::clone(commit)));
                    self.not_recorded(cx);
                }
            }
            // The registry goes on trying.
            State::Releasing => self.refuse(Problem::NotSent, cx),
            State::Resting { .. } | State::Running | State::Collecting { .. } | State::Done => {}
        }
    }

    fn acquired(&mut self, acquired: Acquired, cx: &mut Context<'_>) {
        let (event, problem) = match acquired {
            Acquired::Yours { fence } => {
                self.fence = Some(fence);
                cx.counts.add(Event::Executed);
                return self.run(cx);
            }
            Acquired::InFlight { .. } if cx.now < self.patience && self.hold != Hold::Nothing => {
                if !self.contested {
                    cx.counts.add(Event::Waited);
                }
                self.contested = true;
                let until = (cx.now + self.rest).min(self.patience);
                self.rest = (self.rest * 2).min(MOST_REST);
                self.state = State::Resting { until };
                return;
            }
            Acquired::InFlight { .. } => (Event::InFlight, Problem::InFlight),
            Acquired::Unknown => (Event::Unknown, Problem::Unknown),
            Acquired::Mismatch => (Event::KeyReused, Problem::KeyReused),
            Acquired::Corrupt => (Event::Corrupt, Problem::Corrupt),
            Acquired::Completed { kind, bytes } => match (self.open(kind, &bytes, cx), kind) {
                (Ok(stored), Kind::Answer) => {
                    cx.counts.add(Event::Replayed);
                    return self.answer(Answer::replay(stored), cx);
                }
                (Ok(Stored { status, .. }), Kind::Tombstone) => {
                    (Event::AnswerNotKept, Problem::AnswerNotKept { status })
                }
                (Err(_), _) => (Event::Corrupt, Problem::Corrupt),
            },
        };
        cx.counts.add(event);
        self.refuse(problem, cx);
    }

    fn open(&self, kind: Kind, bytes: &Bytes, cx: &Context<'_>) -> Result<Stored, Corrupt> {
        let record = cx.keys.record(&self.claim.scope);
        cx.at_rest.open(bytes, kind, &record)
    }

    fn not_acquired(&mut self, perhaps: bool, cx: &mut Context<'_>) {
        // That another has the key is known; only where nothing is known may the policy let a request pass.
        if cx.route.on_store_error == OnStoreError::Open
            && !self.contested
            && self.hold != Hold::Nothing
        {
            cx.counts.add(Event::Unprotected);
            self.unprotected = true;
            return self.run(cx);
        }
        if perhaps {
            cx.acts.push(Act::GiveBack(Arc::clone(&self.claim)));
        }
        cx.counts.add(Event::StoreUnavailable);
        let problem = if self.contested {
            Problem::InFlight
        } else {
            Problem::StoreUnavailable
        };
        self.refuse(problem, cx);
    }

    /// Sends the request.
    fn run(&mut self, cx: &mut Context<'_>) {
        let fence = match (self.fence, cx.fence_header) {
            (Some(fence), Some(name)) if self.hold != Hold::Nothing => {
                vec![field(name, fence.to_string().as_bytes())]
            }
            _ => Vec::new(),
        };
        self.state = State::Running;
        self.renew_until = cx.now + picoseconds(cx.route.execution);
        self.renew_at = (!self.unprotected).then_some(cx.now + third(cx.route.lease));
        cx.settle(Settled::Proceed(fence));
    }

    fn refuse(&mut self, problem: Problem, cx: &mut Context<'_>) {
        self.answer(Answer::problem(problem), cx);
    }

    fn answer(&mut self, answer: Answer, cx: &mut Context<'_>) {
        let settled = match self.hold {
            Hold::Nothing => Settled::Proceed(Vec::new()),
            Hold::All | Hold::LastPiece => Settled::Answer(answer),
        };
        cx.settle(settled);
        self.end();
    }

    fn end(&mut self) {
        self.state = State::Done;
        self.holding = false;
    }

    /// The request was let go, but has not gone.
    pub fn not_sent(&mut self, cx: &mut Context<'_>) {
        if matches!(self.state, State::Running) {
            cx.counts.add(Event::NotSent);
            cx.acts
                .push(Act::Aside(Operation::Release(Arc::clone(&self.claim))));
            self.end();
        }
    }

    /// The stream has ended. What is being stored goes on being stored.
    pub fn stream_ended(&mut self, cx: &mut Context<'_>) {
        self.holding = false;
        match self.state {
            State::Running | State::Collecting { .. } => {
                cx.counts.add(Event::LeftUnknown);
                self.end();
            }
            State::Committing { .. } => {}
            State::Acquiring | State::Resting { .. } | State::Releasing | State::Done => self.end(),
        }
    }

    /// Another with the key may be through: looks now.
    pub fn look_again(&mut self, cx: &mut Context<'_>) {
        if self.is_resting() {
            self.acquire(cx);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, cx: &mut Context<'_>) {
        match &mut self.state {
            State::Resting { until } if *until <= cx.now => self.acquire(cx),
            State::Committing {
                commit,
                tries,
                again,
            } if again.is_some_and(|at| at <= cx.now) => {
                *tries += 1;
                *again = None;
                let operation = Operation::Commit(Arc::clone(commit));
                self.start(operation, cx);
            }
            State::Running | State::Collecting { .. }
                if self.renew_at.is_some_and(|at| at <= cx.now) =>
            {
                // A gateway that never ends an execution must not keep its key for ever.
                self.renew_at =
                    (cx.now < self.renew_until).then_some(cx.now + third(cx.route.lease));
                if self.renew_at.is_some() {
                    cx.acts
                        .push(Act::Aside(Operation::Renew(Arc::clone(&self.claim))));
                }
            }
            _ => {}
        }
    }

    /// The lease is another's or resolved: there is nothing to renew.
    pub fn lease_lost(&mut self) {
        self.renew_at = None;
    }
}

pub(super) fn picoseconds(time: Duration) -> Ps {
    time.as_nanos() * 1_000
}

fn third(lease: Duration) -> Ps {
    picoseconds(lease) / 3
}
