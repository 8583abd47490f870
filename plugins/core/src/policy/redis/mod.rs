//! The Redis that gateways share, one object in the policies of all filters that use it.

pub(super) mod json;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::gcra::{PS_PER_US, Ps};
use crate::redis::breaker;
use crate::redis::pipe::{Framing, Limits, Login};

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

impl Secret {
    /// What it is.
    ///
    /// # Errors
    /// When the variable is not set.
    pub fn value(&self, environment: impl Fn(&str) -> Option<String>) -> Result<String, String> {
        match self {
            Self::Inline(text) => Ok(text.clone()),
            Self::Env(name) => environment(name).ok_or_else(|| {
                format!(
                    "found no variable {name} in the VM's environment, expected it to be set there"
                )
            }),
        }
    }
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

impl Breaker {
    pub(in crate::policy) fn settings(&self) -> breaker::Settings {
        breaker::Settings {
            failures: self.failures,
            open_for: picoseconds(self.open_for),
        }
    }
}

/// How commands are gathered into one callout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub max_commands: usize,
    pub max_bytes: usize,
    /// Callouts under way at once, for each worker.
    pub in_flight: usize,
}

impl Redis {
    /// What is sent first on a connection. `environment` gives the VM's variables, which may hold the credentials.
    ///
    /// # Errors
    /// When a variable that the policy names is not set.
    pub fn login(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Login, String> {
        let secret = |field: &str, secret: &Option<Secret>| {
            let value = secret.as_ref().map(|secret| secret.value(&environment));
            value
                .transpose()
                .map_err(|problem| format!("redis.{field}: {problem}"))
        };
        Ok(Login {
            username: secret("username", &self.username)?,
            password: secret("password", &self.password)?,
            database: self.database,
        })
    }

    /// How the pipeline of commands is run.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            max_commands: self.batch.max_commands,
            max_bytes: self.batch.max_bytes,
            in_flight: self.batch.in_flight,
            framing: match self.transport {
                Transport::Callout => Framing::Whole,
                Transport::Stream => Framing::Stream,
            },
        }
    }

    /// When the pipeline leaves Redis alone.
    #[must_use]
    pub fn breaker(&self) -> breaker::Settings {
        self.breaker.settings()
    }

    /// How long an operation may take.
    #[must_use]
    pub fn timeout(&self) -> Ps {
        picoseconds(self.timeout)
    }
}

/// A policy's time as the decisions count it.
pub(crate) fn picoseconds(time: Duration) -> Ps {
    time.as_nanos() * (PS_PER_US / 1_000)
}
