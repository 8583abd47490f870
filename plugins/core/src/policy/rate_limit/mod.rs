//! The policy of the rate-limit filter, ready to decide with.
//!
//! [`json`] says how it is written, [`compile`] checks what no single field can know.

mod compile;
pub mod json;
mod rate;
mod redis;
mod response;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::time::Duration;

use crate::policy::PolicyError;
use crate::policy::redis::Redis;
use crate::selector::{ClientIp, Key, Matcher};

pub use json::{HeaderStyle, Overflow};
pub use redis::OnError;
pub use response::Response;

/// A checked policy.
#[derive(Debug, Clone)]
pub struct RateLimit {
    /// At least one, at most [`json::MAX_LIMITS`]; names differ.
    pub limits: Vec<Limit>,
    pub headers: HeaderStyle,
    /// Up to this much is added to Retry-After, so that refused clients do not return all at once.
    pub retry_after_jitter: Duration,
    pub client_ip: ClientIp,
    /// Present if any limit is not [`Mode::Local`].
    pub redis: Option<Redis>,
    /// What limits do while Redis does not answer.
    pub on_redis_error: OnError,
    pub local: LocalTable,
}

/// One limit.
#[derive(Debug, Clone)]
pub struct Limit {
    /// 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub name: String,
    pub matcher: Matcher,
    /// Whose requests are counted together. A default for missing parts is in the key already.
    pub key: Key,
    /// When a part is [`Absent`](crate::selector::Reason::Absent). The other reasons always refuse the request.
    pub on_missing_key: OnMissingKey,
    pub rate: Rate,
    pub cost: Cost,
    pub mode: Mode,
    /// Counts and reports, refuses nothing.
    pub shadow: bool,
    /// By subject.
    pub overrides: Overrides,
    pub response: Response,
}

/// Exceptions to a rate by subject, as [`Key::extract`] yields it. The policy's author chooses the entries and clients
/// only look them up, so the hasher needs no secret.
pub type Overrides = HashMap<Vec<u8>, Override, BuildHasherDefault<ahash::AHasher>>;

/// What to do with a request that has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissingKey {
    /// The limit does not apply.
    Skip,
    /// The request is refused.
    Deny,
}

/// `limit` tokens per `period`, at most `burst` at one instant. [`Quota::new`](crate::gcra::Quota::new) takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// 0 (deny all) to a billion.
    pub limit: u64,
    /// 1 ms to 366 days.
    pub period: Duration,
    /// 1 to a billion; 0 if `limit` is.
    pub burst: u64,
}

/// How many tokens a request takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cost {
    Constant(u64),
    /// The header's whole number, `default` when there is none, never more than `max`.
    Header {
        name: String,
        max: u64,
        default: u64,
    },
}

impl Cost {
    /// The highest cost a request can have.
    #[must_use]
    pub fn max(&self) -> u64 {
        match self {
            Self::Constant(cost) => *cost,
            Self::Header { max, .. } => *max,
        }
    }
}

/// Who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each gateway process for itself.
    Local,
    /// Redis, for every request.
    Strict,
    /// Redis hands out leases of `tokens`, which the gateways spend. 0: the burst is too small to lease from, every
    /// request asks.
    Leased { tokens: u64 },
}

/// An exception to a limit's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Override {
    Rate(Rate),
    /// Not counted at all.
    Unlimited,
    /// Always refused.
    Deny,
}

/// The table in which a gateway process counts. Its size never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTable {
    /// Buckets, a power of two.
    pub slots: u32,
    /// Entries in a bucket.
    pub ways: u32,
    pub on_overflow: Overflow,
}

impl LocalTable {
    /// Entries in a bucket: enough that buckets fill evenly, few enough to search one at each request.
    const WAYS: u32 = 8;
    /// What one entry of a full table takes in Envoy, measured, its part of what a bucket costs included.
    const ENTRY_BYTES: u64 = 56;

    /// A table for at least `entries` entries.
    #[must_use]
    pub fn with_entries(entries: u32, on_overflow: Overflow) -> Self {
        Self {
            slots: entries.div_ceil(Self::WAYS).max(1).next_power_of_two(),
            ways: Self::WAYS,
            on_overflow,
        }
    }

    /// The memory that a full table takes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.slots) * u64::from(self.ways) * Self::ENTRY_BYTES
    }
}

impl RateLimit {
    /// Reads and checks a policy.
    ///
    /// # Errors
    /// The first mistake, with its path.
    pub fn load(json: &[u8]) -> Result<Self, PolicyError> {
        compile::policy(super::load(json)?)
    }
}

impl Limit {
    /// The lease for a client with this rate. One with a rate of its own (an override) may have a burst that the
    /// limit's lease would swallow: it gets at most a fifth of its own.
    #[must_use]
    pub fn lease_tokens(&self, rate: &Rate) -> u64 {
        match self.mode {
            Mode::Local | Mode::Strict => 0,
            Mode::Leased { tokens } if *rate == self.rate => tokens,
            Mode::Leased { tokens } => tokens.min(json::default_lease(rate.burst)),
        }
    }
}

#[cfg(test)]
mod tests;
