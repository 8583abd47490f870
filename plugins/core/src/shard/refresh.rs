//! Asks Redis for newer tables, from time to time.
//!
//! An older version never takes the place of a newer one: what is asked for is only what is newer than the tables in
//! force, and a Redis that has less (it lost its data, or a replica that was behind took over) changes nothing.

use super::published::{Found, NEWER, Published, Signer, Unfit, found};
use crate::gcra::{PS_PER_S, Ps};
use crate::redis::breaker;
use crate::redis::command::{Command, Script};
use crate::redis::pipe::{Batch, Limits, Login, Pipe};
use crate::redis::trouble::Trouble;

/// Before anything is known, a question that failed is repeated after so long.
const AGAIN: Ps = PS_PER_S;

/// What the policy says of it, and its environment.
#[derive(Debug)]
pub struct Settings {
    /// The key in Redis.
    pub place: String,
    pub every: Ps,
    /// None: tables need no signature.
    pub signer: Option<Signer>,
    /// Of the tables in the policy.
    pub version: u64,
    /// Whether requests have to wait until it is known what is published.
    pub wait: bool,
    /// How long a question may take.
    pub timeout: Ps,
    pub limits: Limits,
    pub login: Login,
    pub breaker: breaker::Settings,
}

/// How often something happened since the owner last took the counters.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Redis did not answer.
    pub failed: u64,
    /// It has an older version than the one in force.
    pub older: u64,
}

/// What has come of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Newer(Published),
    /// Something newer that does not count; told once.
    Unfit(Unfit),
    /// No answer, for the first time in a row.
    Failed(Trouble),
}

pub struct Refresh {
    settings: Settings,
    pipe: Pipe<()>,
    /// Of the tables in force.
    version: u64,
    /// A version that is known not to fit.
    skipped: Option<u64>,
    /// What was told of it.
    told: Option<(Option<u64>, Unfit)>,
    failing: bool,
    /// There has been a request.
    needed: bool,
    /// It is known what is published.
    heard: bool,
    next: Ps,
    pub counts: Counts,
}

impl Refresh {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let limits = settings.limits.clone();
        let scripts = vec![Script::new(NEWER)];
        Self {
            pipe: Pipe::new(limits, &settings.login, settings.breaker, scripts),
            version: settings.version,
            skipped: None,
            told: None,
            failing: false,
            needed: false,
            heard: !settings.wait,
            next: 0,
            counts: Counts::default(),
            settings,
        }
    }

    /// Whether it has to be known first what is published.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.heard
    }

    /// A request has come.
    pub fn needed(&mut self) {
        self.needed = true;
    }

    /// The version in force.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Tables of this version are in force.
    pub fn adopted(&mut self, version: u64) {
        self.version = version;
        self.heard = true;
    }

    /// Others know what is published, and it is nothing newer.
    pub fn known(&mut self) {
        self.heard = true;
    }

    /// The tables of this version do not fit the policy.
    pub fn refused(&mut self, version: u64) {
        self.skipped = Some(version);
    }

    /// Whether the tables of this version are known not to fit.
    #[must_use]
    pub fn is_refused(&self, version: u64) -> bool {
        self.skipped == Some(version)
    }

    /// The login of a connection: its bytes, and how many replies it will have.
    #[must_use]
    pub fn login(&self) -> (&[u8], usize) {
        self.pipe.login()
    }

    /// Asks, if it is time to; `post` returns the token by which the reply will be known.
    pub fn ask(
        &mut self,
        now: Ps,
        post: impl FnOnce(&Batch<()>) -> Result<u32, Trouble>,
    ) -> Option<News> {
        // A clock that was set back would keep the next question away.
        let due = now >= self.next || self.next > now + self.settings.every;
        if !due || !self.pipe.is_idle() {
            return None;
        }
        self.next = now + self.settings.every;
        let mut command = Command::new(0, 1);
        command.bytes(self.settings.place.as_bytes());
        command.number(self.version);
        command.bytes(
            self.skipped
                .map_or(String::new(), |skipped| skipped.to_string())
                .as_bytes(),
        );
        let deadline = now + self.settings.timeout;
        if let Err(trouble) = self.pipe.push(command, (), deadline, now) {
            return self.failed(trouble, now);
        }
        self.send(now, post)
    }

    fn send(
        &mut self,
        now: Ps,
        post: impl FnOnce(&Batch<()>) -> Result<u32, Trouble>,
    ) -> Option<News> {
        let mut late = None;
        let batch = self
            .pipe
            .next_batch(now, |(), trouble| late = Some(trouble));
        let Some(batch) = batch else {
            return late.and_then(|trouble| self.failed(trouble, now));
        };
        match post(&batch) {
            Ok(token) => {
                self.pipe.sent(token, batch);
                None
            }
            Err(trouble) => {
                self.pipe.not_sent(batch, now, |(), _| {});
                self.failed(trouble, now)
            }
        }
    }

    /// Callouts that the gateway should have ended long ago.
    #[must_use]
    pub fn overdue(&self, now: Ps) -> Vec<u32> {
        self.pipe.overdue(now)
    }

    /// Callout `token` has come to its end. `post` is for a script that Redis does not know yet.
    pub fn replied(
        &mut self,
        token: u32,
        body: Result<&[u8], Trouble>,
        now: Ps,
        post: impl FnOnce(&Batch<()>) -> Result<u32, Trouble>,
    ) -> Option<News> {
        let signer = self.settings.signer.as_ref();
        let mut outcome = None;
        self.pipe.replied(token, body, now, |(), reply| {
            outcome = Some(reply.and_then(|reply| found(&reply, signer)));
        });
        match outcome {
            None => self.send(now, post),
            Some(Ok(found)) => self.found(found),
            Some(Err(trouble)) => self.failed(trouble, now),
        }
    }

    fn found(&mut self, found: Found) -> Option<News> {
        self.failing = false;
        let there = match found {
            Found::Newer(published) => {
                // Another worker may have been faster.
                return (published.version > self.version).then_some(News::Newer(published));
            }
            Found::Unfit(version, why) => {
                self.skipped = version;
                let news = Some((version, why));
                let told = std::mem::replace(&mut self.told, news);
                return (told != news).then_some(News::Unfit(why));
            }
            Found::Known(version) if Some(version) == self.skipped => return None,
            Found::Known(version) => version,
            Found::Nothing => 0,
        };
        self.heard = true;
        if there < self.version && self.version > self.settings.version {
            self.counts.older += 1;
        }
        None
    }

    fn failed(&mut self, trouble: Trouble, now: Ps) -> Option<News> {
        if !self.heard {
            self.next = self.next.min(now + AGAIN);
        }
        // The gateway's main thread has the filter as well, and no way to Redis.
        if !self.needed && matches!(trouble, Trouble::Connect | Trouble::BreakerOpen) {
            return None;
        }
        self.counts.failed += 1;
        let news = !std::mem::replace(&mut self.failing, true);
        news.then_some(News::Failed(trouble))
    }
}

#[cfg(test)]
#[path = "refresh_tests.rs"]
mod tests;
