//! The callout pipeline of one worker: commands gather while earlier ones are on their way, and go out together.
//!
//! A gateway charges far more for a callout than Redis does for a command, so commands that arrive while callouts are
//! in flight wait for the next one. Where each batch has a connection of its own, it begins with AUTH and SELECT where
//! configured and ends with QUIT: its `+OK` proves that the replies are complete, and Redis then closes. On a
//! connection that stays ([`Framing::Stream`]) the login is sent once, and the replies are counted.
//!
//! A batch that fails fails for each of its commands, with the kind of trouble; none is repeated, since it may have
//! been carried out. The one exception is NOSCRIPT, which proves that it was not.

use super::breaker::{Breaker, Settings};
use super::command::{Command, Script};
use super::durability::Durability;
use super::resp::{self, DecodeError, Reply};
use super::trouble::Trouble;
use crate::gcra::{PS_PER_S, Ps};
use std::collections::VecDeque;

/// Commands that may wait to be sent.
const MOST_WAITING: usize = 8_192;

/// The replies to a batch together: the gateway drops a callout whose response is longer than 32 MiB.
pub(super) const MOST_REPLIED: usize = 30 << 20;

/// The gateway counts whole milliseconds, from when its current round of events began: so early may it be.
pub(crate) const HOST_TIME: Ps = 5 * PS_PER_S / 1_000;

/// How long after its deadline a callout is given up that the gateway has not ended, as it should have.
pub(crate) const GRACE: Ps = PS_PER_S;

/// How a pipeline is run.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Commands in one callout at most.
    pub max_commands: usize,
    /// Bytes in one callout at most (a single command may exceed it).
    pub max_bytes: usize,
    /// Callouts on their way at once at most. The latter half of the places are for those that are half full.
    pub in_flight: usize,
    pub framing: Framing,
}

/// What surrounds the commands of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A connection for each batch: login, commands, QUIT.
    Whole,
    /// A connection that stays: the commands alone.
    Stream,
}

/// AUTH and SELECT, sent first on every connection.
#[derive(Debug, Clone, Default)]
pub struct Login {
    pub username: Option<String>,
    pub password: Option<String>,
    pub database: u32,
}

/// Commands waiting or on their way, each with the tag `T` its owner knows it by.
pub struct Pipe<T> {
    limits: Limits,
    scripts: Vec<Script>,
    preamble: Vec<u8>,
    preamble_replies: usize,
    durability: Option<Durability>,
    pub breaker: Breaker,
    waiting: VecDeque<Entry<T>>,
    in_flight: Vec<Sent<T>>,
}

/// A batch on its way.
struct Sent<T> {
    token: u32,
    deadline: Ps,
    entries: Vec<Entry<T>>,
    waits: bool,
}

struct Entry<T> {
    command: Command,
    tag: T,
    deadline: Ps,
    whole: bool,
}

/// A batch ready to be sent. Dropping it without [`Pipe::sent`] or [`Pipe::not_sent`] would lose its commands.
#[must_use]
pub struct Batch<T> {
    /// The body of the callout.
    pub body: Vec<u8>,
    /// The instant by which its last command wants the reply.
    pub deadline: Ps,
    entries: Vec<Entry<T>>,
    /// It ends with WAIT.
    waits: bool,
}

impl<T> Batch<T> {
    /// How many commands it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many replies it will have, those of a connection's own beginning and end aside.
    #[must_use]
    pub fn replies(&self) -> usize {
        self.entries.len() + usize::from(self.waits)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Pipe<T> {
    #[must_use]
    pub fn new(limits: Limits, login: &Login, breaker: Settings, scripts: Vec<Script>) -> Self {
        let mut preamble = Vec::new();
        let mut preamble_replies = 0;
        if let Some(password) = &login.password {
            match &login.username {
                Some(user) => {
                    resp::encode(
                        &mut preamble,
                        &[b"AUTH", user.as_bytes(), password.as_bytes()],
                    );
                }
                None => resp::encode(&mut preamble, &[b"AUTH", password.as_bytes()]),
            }
            preamble_replies += 1;
        }
        if login.database != 0 {
            resp::encode(
                &mut preamble,
                &[b"SELECT", login.database.to_string().as_bytes()],
            );
            preamble_replies += 1;
        }
        Self {
            limits,
            scripts,
            preamble,
            preamble_replies,
            durability: None,
            breaker: Breaker::new(breaker),
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
        }
    }

    /// Has batches with durable commands wait for others to have what they write.
    #[must_use]
    pub fn with_durability(mut self, durability: Option<Durability>) -> Self {
        self.durability = durability;
        self
    }

    /// The login: its bytes, and how many replies it will have.
    #[must_use]
    pub fn login(&self) -> (&[u8], usize) {
        (&self.preamble, self.preamble_replies)
    }

    /// Takes a command that wants its reply by `deadline`.
    ///
    /// # Errors
    /// When Redis is not to be asked now; the command is dropped.
    pub fn push(&mut self, command: Command, tag: T, deadline: Ps, now: Ps) -> Result<(), Trouble> {
        // What finds no room must not be the breaker's one probe.
        if self.waiting.len() < MOST_WAITING && !self.breaker.admits(now) {
            return Err(Trouble::BreakerOpen);
        }
        self.push_anyway(command, tag, deadline)
    }

    /// The same without asking the breaker, for what is lost if it is not said: as good a probe as any.
    ///
    /// # Errors
    /// When too many wait; the command is dropped.
    pub fn push_anyway(&mut self, command: Command, tag: T, deadline: Ps) -> Result<(), Trouble> {
        if self.waiting.len() >= MOST_WAITING {
            return Err(Trouble::Overloaded);
        }
        self.waiting.push_back(Entry {
            command,
            tag,
            deadline,
            whole: false,
        });
        Ok(())
    }

    /// Whether a batch could be sent now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let under_way = self.in_flight.len();
        let free = under_way < self.limits.in_flight.div_ceil(2);
        let kept = under_way < self.limits.in_flight;
        !self.waiting.is_empty() && (free || kept && self.is_half_full())
    }

    /// A batch that gains little by waiting for another to come back, while the gateway and Redis wait for each other.
    fn is_half_full(&self) -> bool {
        let (commands, bytes) = (self.limits.max_commands / 2, self.limits.max_bytes / 2);
        let mut size = 0_usize;
        self.waiting.iter().enumerate().any(|(before, entry)| {
            size = size.saturating_add(entry.command.size());
            before + 1 >= commands || size >= bytes
        })
    }

    /// How many commands wait to be sent.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits and nothing is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// The next batch, if there is one to send. Commands whose deadline has passed are not sent but given to `late`.
    pub fn next_batch(&mut self, now: Ps, mut late: impl FnMut(T, Trouble)) -> Option<Batch<T>> {
        if !self.is_ready() {
            return None;
        }
        let mut body = match self.limits.framing {
            Framing::Whole => self.preamble.clone(),
            Framing::Stream => Vec::new(),
        };
        let mut entries = Vec::new();
        let mut deadline = now;
        let mut replied = 0_usize;
        while entries.len() < self.limits.max_commands {
            let Some(entry) = self.waiting.pop_front() else {
                break;
            };
            if entry.deadline <= now {
                late(entry.tag, Trouble::Timeout);
                continue;
            }
            replied = replied.saturating_add(entry.command.reply);
            let fits = body.len() + entry.command.size() <= self.limits.max_bytes
                && replied <= MOST_REPLIED;
            if !fits && !entries.is_empty() {
                self.waiting.push_front(entry);
                break;
            }
            if !entry.command.encode(&mut body, &self.scripts, entry.whole) {
                late(entry.tag, Trouble::NoScript);
                continue;
            }
            deadline = deadline.max(entry.deadline);
            entries.push(entry);
        }
        if entries.is_empty() {
            return None;
        }
        let is_durable = |entry: &Entry<T>| entry.command.durable;
        let durability = self.durability.filter(|_| entries.iter().any(is_durable));
        if let Some(durability) = durability {
            durability.encode(&mut body);
        }
        if self.limits.framing == Framing::Whole {
            resp::encode(&mut body, &[b"QUIT"]);
        }
        Some(Batch {
            body,
            deadline,
            entries,
            waits: durability.is_some(),
        })
    }

    /// The batch is on its way as callout `token`.
    pub fn sent(&mut self, token: u32, batch: Batch<T>) {
        self.in_flight.push(Sent {
            token,
            deadline: batch.deadline,
            entries: batch.entries,
            waits: batch.waits,
        });
    }

    /// Callouts that the gateway should have ended long ago: to be given up, or their places would be taken for ever.
    #[must_use]
    pub fn overdue(&self, now: Ps) -> Vec<u32> {
        let late = |sent: &&Sent<T>| now > sent.deadline + GRACE;
        let tokens = self.in_flight.iter().filter(late);
        tokens.map(|sent| sent.token).collect()
    }

    /// The gateway refused the batch at once.
    pub fn not_sent(&mut self, batch: Batch<T>, now: Ps, mut done: impl FnMut(T, Trouble)) {
        self.breaker.failed(now);
        for entry in batch.entries {
            done(entry.tag, Trouble::Connect);
        }
    }

    /// Callout `token` has come to its end, with a body or with trouble. Each command's outcome goes to `done`; an
    /// unknown token is ignored.
    pub fn replied(
        &mut self,
        token: u32,
        body: Result<&[u8], Trouble>,
        now: Ps,
        mut done: impl FnMut(T, Result<Reply<'_>, Trouble>),
    ) {
        self.replied_durably(token, body, now, |tag, reply, _| done(tag, reply));
    }

    /// The same; `done` is told besides whether what a durable command wrote is as durable as asked.
    pub fn replied_durably(
        &mut self,
        token: u32,
        body: Result<&[u8], Trouble>,
        now: Ps,
        mut done: impl FnMut(T, Result<Reply<'_>, Trouble>, Result<(), Trouble>),
    ) {
        let Some(index) = self.in_flight.iter().position(|sent| sent.token == token) else {
            return;
        };
        let Sent { entries, waits, .. } = self.in_flight.swap_remove(index);
        let replies = body.and_then(|body| self.read(body, entries.len() + usize::from(waits)));
        let replies = match replies {
            Ok(replies) => replies,
            Err(trouble) => {
                self.breaker.failed(now);
                let end = entries.iter().map(|entry| entry.deadline).max();
                // The gateway resets a call that has a response begun when its time is up, and does not say why.
                let late = end.is_some_and(|end| now + HOST_TIME >= end);
                let trouble = match trouble {
                    Trouble::Reset if late => Trouble::Timeout,
                    trouble => trouble,
                };
                for entry in entries {
                    done(entry.tag, Err(trouble), Ok(()));
                }
                return;
            }
        };
        let durable = match (self.durability, replies.last()) {
            (Some(durability), Some(reply)) if waits => durability.reached(reply),
            _ => Ok(()),
        };
        // Replicas that are away are no reason to leave Redis alone: what needs none of them goes on.
        let mut healthy = true;
        for (entry, reply) in entries.into_iter().zip(replies) {
            match reply {
                Reply::Error(text) => match Trouble::from_error_reply(text) {
                    // Not carried out, so it may be sent again, once, with the script's text.
                    Trouble::NoScript if !entry.whole => self.waiting.push_front(Entry {
                        whole: true,
                        ..entry
                    }),
                    trouble => {
                        healthy = false;
                        done(entry.tag, Err(trouble), Ok(()));
                    }
                },
                reply if entry.command.durable => done(entry.tag, Ok(reply), durable),
                reply => done(entry.tag, Ok(reply), Ok(())),
            }
        }
        if healthy {
            self.breaker.succeeded();
        } else {
            self.breaker.failed(now);
        }
    }

    /// Splits a body into the commands' replies; all must be there, between the login's and QUIT's.
    fn read<'a>(&self, body: &'a [u8], commands: usize) -> Result<Vec<Reply<'a>>, Trouble> {
        let mut rest = body;
        let mut last_error = None;
        let mut next = || {
            let (reply, after) = resp::decode(rest).map_err(|error| match error {
                // Redis says why before it closes on a client that it does not want.
                DecodeError::Truncated => last_error.unwrap_or(Trouble::Truncated),
                DecodeError::Malformed => Trouble::Malformed,
            })?;
            rest = after;
            last_error = match reply {
                Reply::Error(text) => Some(Trouble::from_error_reply(text)),
                _ => None,
            };
            Ok(reply)
        };
        let is_whole = self.limits.framing == Framing::Whole;
        let mut login = Ok(());
        for _ in 0..self.preamble_replies * usize::from(is_whole) {
            if let Reply::Error(text) = next()? {
                login = login.and(Err(Trouble::from_error_reply(text)));
            }
        }
        login?;
        let mut replies = Vec::with_capacity(commands);
        for _ in 0..commands {
            replies.push(next()?);
        }
        if !is_whole {
            return Ok(replies);
        }
        match next()? {
            Reply::Simple(b"OK") if rest.is_empty() => Ok(replies),
            // A Redis that refuses everything (no AUTH, LOADING) refuses QUIT with the same words.
            Reply::Error(text) => Err(Trouble::from_error_reply(text)),
            _ => Err(Trouble::Malformed),
        }
    }
}

#[cfg(test)]
#[path = "pipe_tests.rs"]
mod tests;
