//! Records in one Redis, by scripts in the pipeline of the worker.
//!
//! A long answer is not returned by the script that finds it, unless Redis has nothing else to do, but read after it: every
//! byte that passes a script is copied and hashed. In between the record may end, or be freed by an operator: the key is
//! asked for again then, until the operation's deadline. An answer that the worker remembers is not read at all, and for a
//! while not even asked for.

use super::exchange::picoseconds;
use super::remembered::{Remembered, Stored};
use super::scripts::{self, Asked, INLINE, Keys};
use super::settings::{Memory, Redis, Settings};
use super::store::{Acquired, Claim, Commit, Committed, Operation, Outcome, Store};
use crate::gcra::Ps;
use crate::redis::command::Command;
use crate::redis::pipe::{Batch, Pipe};
use crate::redis::resp::Reply;
use crate::redis::trouble::Trouble;
use bytes::Bytes;
use std::sync::Arc;

/// The same where Redis has nothing else to do: then a second round is what costs more.
const IDLE_INLINE: usize = 128 << 10;

/// What a command was for.
#[derive(Debug, Clone)]
pub struct Tag {
    id: u64,
    step: Step,
}

#[derive(Debug, Clone)]
enum Step {
    Acquire(Acquiring),
    Commit(Arc<Commit>),
    /// Another operation.
    Other(Asked),
}

#[derive(Debug, Clone)]
struct Acquiring {
    claim: Arc<Claim>,
    deadline: Ps,
    /// Its answer is read, whose record ends at this time or later; or the key is asked for.
    reads: Option<Ps>,
}

/// What a reply comes to.
enum Said {
    Outcome(Outcome),
    /// The answer is the record's; it counts where it is durable.
    Stored(Arc<Commit>, Outcome),
    Next(Acquiring),
}

impl Step {
    /// `body` is what the reply came in.
    fn replied(
        self,
        reply: &Reply<'_>,
        body: &Bytes,
        remembered: &mut Remembered,
        now: Ps,
    ) -> Result<Said, Trouble> {
        match self {
            Self::Acquire(acquiring) => acquiring.replied(reply, body, remembered, now),
            Self::Commit(commit) => {
                let outcome = scripts::outcome(Asked::Commit, reply)?;
                Ok(match outcome {
                    Outcome::Commit(Committed::Superseded) => Said::Outcome(outcome),
                    _ => Said::Stored(commit, outcome),
                })
            }
            Self::Other(asked) => scripts::outcome(asked, reply).map(Said::Outcome),
        }
    }
}

impl Acquiring {
    fn command(&self, keys: &Keys, most: usize) -> Command {
        if self.reads.is_some() {
            keys.read(&self.claim)
        } else {
            keys.acquire(&self.claim, most)
        }
    }

    fn replied(
        self,
        reply: &Reply<'_>,
        body: &Bytes,
        remembered: &mut Remembered,
        now: Ps,
    ) -> Result<Said, Trouble> {
        let (found, ends) = if let Some(ends) = self.reads {
            (scripts::read(reply, &self.claim, body)?, ends)
        } else if let Some((found, left)) = scripts::stored(reply, body) {
            // It was asked for after the claim was made.
            (Some(found), self.claim.at + picoseconds(left))
        } else {
            return scripts::outcome(Asked::Acquire, reply).map(Said::Outcome);
        };
        // None: what was to be read is not there any more.
        let reads = found.is_some().then_some(ends);
        let answer = found.and_then(|found| {
            let by = found.by.as_deref();
            if let (Some(Acquired::Completed { kind, bytes }), Some(by)) = (&found.answer, by)
                && remembered.is_worth(bytes.len())
            {
                // The whole reply is not to be kept for it.
                let bytes = Bytes::copy_from_slice(bytes);
                let kind = *kind;
                remembered.put(&self.claim, Stored { by, kind, bytes }, ends, now);
            }
            found
                .answer
                .or_else(|| remembered.get(&self.claim, by?, ends, now))
        });
        Ok(match answer {
            Some(answer) => Said::Outcome(Outcome::Acquire(answer)),
            None => Said::Next(Self { reads, ..self }),
        })
    }
}

/// The records of one worker. What [`Store::start`] takes goes out by [`RedisStore::send`], and what comes back is given to
/// [`RedisStore::replied`].
pub struct RedisStore {
    keys: Keys,
    pipe: Pipe<Tag>,
    remembered: Remembered,
    answered: Vec<(u64, Result<Outcome, Trouble>)>,
}

impl RedisStore {
    #[must_use]
    pub fn new(settings: &Settings, redis: &Redis) -> Self {
        Self {
            keys: settings.keys(),
            pipe: Pipe::new(
                redis.limits.clone(),
                &redis.login,
                settings.breaker,
                scripts::all(),
            )
            .with_durability(redis.durability),
            remembered: Remembered::new(Memory::default()),
            answered: Vec::new(),
        }
    }

    /// Has answers remembered.
    #[must_use]
    pub fn remembering(mut self, memory: Memory) -> Self {
        self.remembered = Remembered::new(memory);
        self
    }

    /// The pipeline, for what a worker needs to know of it.
    #[must_use]
    pub fn pipe(&self) -> &Pipe<Tag> {
        &self.pipe
    }

    /// Sends the batches that are ready; `post` returns the token by which the reply will be known. The sizes of the
    /// batches sent.
    pub fn send(
        &mut self,
        now: Ps,
        mut post: impl FnMut(&Batch<Tag>) -> Result<u32, Trouble>,
    ) -> Vec<usize> {
        let Self { pipe, answered, .. } = self;
        let mut sizes = Vec::new();
        while let Some(batch) =
            pipe.next_batch(now, |tag, trouble| answered.push((tag.id, Err(trouble))))
        {
            match post(&batch) {
                Ok(token) => {
                    sizes.push(batch.len());
                    pipe.sent(token, batch);
                }
                Err(_) => pipe.not_sent(batch, now, |tag, trouble| {
                    answered.push((tag.id, Err(trouble)))
                }),
            }
        }
        sizes
    }

    /// Callout `token` has come to its end.
    pub fn replied(&mut self, token: u32, body: Result<Bytes, Trouble>, now: Ps) {
        let Self {
            pipe,
            remembered,
            answered,
            ..
        } = self;
        let mut next = Vec::new();
        let whole = body.clone().unwrap_or_default();
        let body = body.as_deref().map_err(|trouble| *trouble);
        pipe.replied_durably(token, body, now, |Tag { id, step }, reply, durable| {
            let said = reply.and_then(|reply| step.replied(&reply, &whole, remembered, now));
            let outcome = said.and_then(|said| match said {
                // A record that a failover may lose is none to rely on. What was only read is as it was.
                Said::Outcome(outcome @ Outcome::Acquire(Acquired::Yours { .. })) => {
                    durable.map(|()| Some(outcome))
                }
                Said::Stored(commit, outcome) => durable.map(|()| {
                    let claim = &commit.claim;
                    let by = claim.token.hex();
                    let stored = Stored {
                        by: by.as_bytes(),
                        kind: commit.kind,
                        bytes: commit.bytes.clone(),
                    };
                    let ends = claim.at + picoseconds(claim.retention);
                    remembered.put(claim, stored, ends, now);
                    Some(outcome)
                }),
                Said::Outcome(outcome) => Ok(Some(outcome)),
                Said::Next(acquiring) => {
                    next.push((id, acquiring));
                    Ok(None)
                }
            });
            if let Some(outcome) = outcome.transpose() {
                answered.push((id, outcome));
            }
        });
        for (id, acquiring) in next {
            let (command, deadline) = (self.command(&acquiring), acquiring.deadline);
            let step = Step::Acquire(acquiring);
            // Redis has just answered: its breaker has nothing to say.
            if let Err(trouble) = self.pipe.push_anyway(command, Tag { id, step }, deadline) {
                self.answered.push((id, Err(trouble)));
            }
        }
    }

    fn command(&mut self, acquiring: &Acquiring) -> Command {
        let most = match self.remembered.has(&acquiring.claim.scope) {
            true => 0,
            false if self.pipe.is_idle() => IDLE_INLINE,
            false => INLINE,
        };
        acquiring.command(&self.keys, most)
    }
}

impl Store for RedisStore {
    fn start(
        &mut self,
        id: u64,
        operation: &Operation,
        deadline: Ps,
        now: Ps,
    ) -> Result<(), Trouble> {
        let (command, step) = match operation {
            Operation::Acquire(claim) => {
                let acquiring = Acquiring {
                    claim: Arc::clone(claim),
                    deadline,
                    reads: None,
                };
                (self.command(&acquiring), Step::Acquire(acquiring))
            }
            Operation::Commit(commit) => (
                self.keys.command(operation),
                Step::Commit(Arc::clone(commit)),
            ),
            _ => (
                self.keys.command(operation),
                Step::Other(Asked::from(operation)),
            ),
        };
        let tag = Tag { id, step };
        if operation.asks_the_breaker() {
            self.pipe.push(command, tag, deadline, now)
        } else {
            self.pipe.push_anyway(command, tag, deadline)
        }
    }

    fn known(&mut self, claim: &Claim, now: Ps) -> Option<Acquired> {
        self.remembered.trusted(claim, now)
    }

    fn answered(&mut self) -> Vec<(u64, Result<Outcome, Trouble>)> {
        std::mem::take(&mut self.answered)
    }
}
