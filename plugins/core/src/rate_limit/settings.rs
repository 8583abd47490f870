//! How a limiter is run.

use crate::gcra::{PS_PER_US, Ps};
use crate::redis::breaker;
use crate::redis::pipe::{Framing, Limits, Login};

/// What a limit does while Redis is in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// This gateway enforces so many millionths of the rate on its own.
    Local {
        millionths: u32,
    },
    Allow,
    Deny,
}

/// How the limiter is run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub buckets: u32,
    pub ways: u32,
    /// Whether a client for whom the local table has no room passes.
    pub overflow_allows: bool,
    pub redis: Option<Redis>,
}

/// How Redis is used.
#[derive(Debug, Clone)]
pub struct Redis {
    pub key_prefix: String,
    pub login: Login,
    /// How long a request waits for Redis.
    pub timeout: Ps,
    /// Keys of different subjects may live on different nodes: one call for each subject.
    pub hash_slots: bool,
    pub on_error: OnError,
    pub limits: Limits,
    pub breaker: breaker::Settings,
}

impl Redis {
    /// For policies that need none: nothing is ever sent, since no limit asks.
    pub(super) fn none() -> Self {
        Self {
            key_prefix: String::new(),
            login: Login::default(),
            timeout: PS_PER_US,
            hash_slots: false,
            on_error: OnError::Deny,
            limits: Limits {
                max_commands: 1,
                max_bytes: 1,
                in_flight: 0,
                framing: Framing::Whole,
            },
            breaker: breaker::Settings {
                failures: 0,
                open_for: PS_PER_US,
            },
        }
    }
}
