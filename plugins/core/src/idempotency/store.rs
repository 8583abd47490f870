//! What is asked of a store of records, and what it may answer. Every store keeps the same promises:
//!
//! - Of all that acquire one scope, one at most holds it until its record ends. A lease that has ended frees nothing.
//! - A fence is greater than every fence given before in its partition.
//! - Only the token that holds a record changes it; to repeat what it did already is a success and does nothing.
//! - A record that is complete never changes before it ends.
//!
//! A failure says nothing about whether the operation was carried out.

use super::fingerprint::Fingerprint;
use super::scope::{Scope, Token};
use super::settings::Trim;
use super::stored::Field;
use crate::gcra::Ps;
use crate::redis::trouble::Trouble;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Something to be done to one record.
#[derive(Debug, Clone)]
pub enum Operation {
    Acquire(Arc<Claim>),
    Renew(Arc<Claim>),
    Commit(Arc<Commit>),
    Release(Arc<Claim>),
}

impl Operation {
    #[must_use]
    pub fn claim(&self) -> &Arc<Claim> {
        match self {
            Self::Acquire(claim) | Self::Renew(claim) | Self::Release(claim) => claim,
            Self::Commit(commit) => &commit.claim,
        }
    }

    /// Whether it is left undone while the store is left alone. An acquire can be refused and nothing is lost; of the
    /// others each has the only word of what it says.
    #[must_use]
    pub fn asks_the_breaker(&self) -> bool {
        matches!(self, Self::Acquire(_))
    }
}

/// One attempt to be the execution of a key.
#[derive(Debug)]
pub struct Claim {
    pub scope: Scope,
    pub token: Token,
    pub fingerprint: Fingerprint,
    pub lease: Duration,
    pub retention: Duration,
    /// For operators to read.
    pub route: String,
    /// As the client chose it; for operators to read.
    pub key: Vec<u8>,
    /// Bytes of the longest answer that its route stores.
    pub max_answer: usize,
    /// When it began.
    pub at: Ps,
}

/// How an execution ended.
#[derive(Debug)]
pub struct Commit {
    pub claim: Arc<Claim>,
    /// None for one that never learned its fence.
    pub fence: Option<u64>,
    pub kind: Kind,
    /// As [`AtRest::seal`](super::seal::AtRest::seal) gives them.
    pub bytes: Bytes,
    pub event: Option<Event>,
}

/// Whether the answer is there as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Answer,
    /// Only its status: it was too large, or had no end.
    Tombstone,
}

/// What the outbox is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub status: u16,
    pub headers: Vec<Field>,
    pub trim: Trim,
}

/// What a store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Acquire(Acquired),
    Renew(Renewed),
    Commit(Committed),
    Release(Released),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// The key is this token's, now or since before.
    Yours {
        fence: u64,
    },
    /// It was used for another request.
    Mismatch,
    Completed {
        kind: Kind,
        bytes: Bytes,
    },
    /// Another token's; its lease ends after this.
    InFlight {
        left: Duration,
    },
    /// Another token's, and its lease has ended.
    Unknown,
    /// The record cannot be read.
    Corrupt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    Yes,
    /// The record is not this token's any more.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Now, or by this token before.
    Yes,
    /// The store had lost the record; it is there again.
    Restored,
    /// The record is another's, or resolved; it is as it was.
    Superseded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    Yes,
    /// There is nothing to free.
    Absent,
    /// The record is not this token's.
    Lost,
}

/// Keeps records; asked now, it answers later.
pub trait Store {
    /// Begins an operation that wants its answer by `deadline`.
    ///
    /// # Errors
    /// When it is not begun; then nothing comes of it later.
    fn start(
        &mut self,
        id: u64,
        operation: &Operation,
        deadline: Ps,
        now: Ps,
    ) -> Result<(), Trouble>;

    /// What an acquire would be told, where that is known without asking: the key has an answer, and keeps it.
    fn known(&mut self, claim: &Claim, now: Ps) -> Option<Acquired> {
        let _ = (claim, now);
        None
    }

    /// What has been answered since the last call. Each operation that was begun is answered once, at some time.
    fn answered(&mut self) -> Vec<(u64, Result<Outcome, Trouble>)>;
}
