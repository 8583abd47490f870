//! The Redis behind limits that several gateways share.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// Where Redis is and how to get along with it.
#[derive(Debug, Clone)]
pub struct Redis {
    /// The gateway's cluster that leads to Redis.
    pub cluster_name: String,
    pub transport: Transport,
    /// 1 ms to 60 s.
    pub timeout: Duration,
    /// Stands before every key.
    pub key_prefix: String,
    /// 0 if `hash_slots`.
    pub database: u32,
    /// Only with `password`.
    pub username: Option<Secret>,
    pub password: Option<Secret>,
    /// The keys are spread over the hash slots of a Redis Cluster: those of one script must share a tag.
    pub hash_slots: bool,
    pub breaker: Breaker,
    pub on_error: OnError,
    pub batch: Batch,
}

/// How the filter talks to Redis's cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// A POST for each batch.
    #[default]
    Callout,
    /// One gRPC stream for each worker, which stays open: far less work for the gateway. Its listener needs the filter
    /// `resp-bridge`.
    Stream,
}

/// A credential, or the name of the environment variable that holds it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Inline(String),
    Env(String),
}

/// Credentials must not end up in a log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(..)"),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
        }
    }
}

/// When to leave a failing Redis alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// So many failures in a row open it.
    pub failures: u32,
    /// It stays open so long.
    pub open_for: Duration,
}

/// What a limit does while Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnError {
    /// Each gateway process enforces this part of the rate by itself; more than 0, at most 1.
    Local {
        fraction: f64,
    },
    Allow,
    Deny,
}

/// How commands are gathered into one callout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub max_commands: usize,
    pub max_bytes: usize,
    /// Callouts under way at once, for each worker.
    pub in_flight: usize,
}
