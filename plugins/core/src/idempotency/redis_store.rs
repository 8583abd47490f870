//! Records in one Redis, by scripts in the pipeline of the worker.

use super::scripts::{self, Asked, Keys};
use super::settings::{Redis, Settings};
use super::store::{Acquired, Committed, Operation, Outcome, Store};
use crate::gcra::Ps;
use crate::redis::pipe::{Batch, Pipe};
use crate::redis::trouble::Trouble;

/// What a command was for.
#[derive(Debug, Clone, Copy)]
pub struct Tag {
    id: u64,
    asked: Asked,
}

/// The records of one worker. What [`Store::start`] takes goes out by [`RedisStore::send`], and what comes back is given to
/// [`RedisStore::replied`].
pub struct RedisStore {
    keys: Keys,
    pipe: Pipe<Tag>,
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
            answered: Vec::new(),
        }
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
    pub fn replied(&mut self, token: u32, body: Result<&[u8], Trouble>, now: Ps) {
        let Self { pipe, answered, .. } = self;
        pipe.replied_durably(token, body, now, |tag, reply, durable| {
            let outcome = reply
                .and_then(|reply| scripts::outcome(tag.asked, &reply))
                .and_then(|outcome| match outcome {
                    // A record that a failover may lose is none to rely on. What was only read is as it was.
                    Outcome::Acquire(Acquired::Yours { .. })
                    | Outcome::Commit(Committed::Yes | Committed::Restored) => {
                        durable.map(|()| outcome)
                    }
                    outcome => Ok(outcome),
                });
            answered.push((tag.id, outcome));
        });
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
        let asked = Asked::from(operation);
        let (command, tag) = (self.keys.command(operation), Tag { id, asked });
        if operation.asks_the_breaker() {
            self.pipe.push(command, tag, deadline, now)
        } else {
            self.pipe.push_anyway(command, tag, deadline)
        }
    }

    fn answered(&mut self) -> Vec<(u64, Result<Outcome, Trouble>)> {
        std::mem::take(&mut self.answered)
    }
}
