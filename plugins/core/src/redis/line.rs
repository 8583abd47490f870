//! A worker's pipeline with the time that commands have, and what is counted of it.

use super::command::{Command, Script};
use super::pipe::{Batch, Login, Pipe};
use super::resp::Reply;
use super::trouble::Trouble;
use crate::gcra::Ps;
use crate::policy::redis::Redis;

/// The pipeline. Commands have a tag `T` by which their owner knows them.
pub struct Line<T> {
    pipe: Pipe<T>,
    timeout: Ps,
    /// What went wrong, by the index in [`Trouble::ALL`].
    pub troubles: [u64; Trouble::ALL.len()],
}

impl<T> Line<T> {
    #[must_use]
    pub fn new(redis: &Redis, login: &Login, scripts: Vec<Script>) -> Self {
        Self {
            pipe: Pipe::new(redis.limits(), login, redis.breaker(), scripts),
            timeout: redis.timeout(),
            troubles: [0; Trouble::ALL.len()],
        }
    }

    /// The pipeline, for what a worker needs to know of it.
    #[must_use]
    pub fn pipe(&self) -> &Pipe<T> {
        &self.pipe
    }

    /// Takes a command.
    ///
    /// # Errors
    /// When Redis is not to be asked now.
    pub fn ask(&mut self, command: Command, tag: T, now: Ps) -> Result<(), Trouble> {
        let taken = self.pipe.push(command, tag, now + self.timeout, now);
        self.count(taken.err());
        taken
    }

    /// Sends the batches that are ready; `post` returns the token by which the reply will be known. The commands that were
    /// not sent, and why.
    pub fn send(
        &mut self,
        now: Ps,
        mut post: impl FnMut(&Pipe<T>, &Batch<T>) -> Result<u32, Trouble>,
    ) -> Vec<(T, Trouble)> {
        let mut failed = Vec::new();
        let pipe = &mut self.pipe;
        while let Some(batch) = pipe.next_batch(now, |tag, trouble| failed.push((tag, trouble))) {
            match post(pipe, &batch) {
                Ok(token) => pipe.sent(token, batch),
                Err(_) => pipe.not_sent(batch, now, |tag, trouble| failed.push((tag, trouble))),
            }
        }
        for (_, trouble) in &failed {
            self.count(Some(*trouble));
        }
        failed
    }

    /// Callout `token` has come to its end. `done` reads the reply to each command, and says if it is none.
    pub fn replied(
        &mut self,
        token: u32,
        body: Result<&[u8], Trouble>,
        now: Ps,
        mut done: impl FnMut(T, Result<Reply<'_>, Trouble>) -> Result<(), Trouble>,
    ) {
        let Self { pipe, troubles, .. } = self;
        pipe.replied(token, body, now, |tag, reply| {
            if let Err(trouble) = done(tag, reply) {
                count(troubles, trouble);
            }
        });
    }

    fn count(&mut self, trouble: Option<Trouble>) {
        if let Some(trouble) = trouble {
            count(&mut self.troubles, trouble);
        }
    }
}

fn count(troubles: &mut [u64; Trouble::ALL.len()], trouble: Trouble) {
    let place = Trouble::ALL.iter().position(|kind| *kind == trouble);
    if let Some(count) = place.and_then(|place| troubles.get_mut(place)) {
        *count += 1;
    }
}
