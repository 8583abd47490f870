//! How a policy says that its tables may change while the gateway runs.

use serde::Deserialize;

use super::ps;
use crate::gcra::Ps;
use crate::policy::redis::json::redis_object;
use crate::policy::redis::{Redis, Secret};
use crate::policy::text::Name;
use crate::policy::value::{Int, Span};
use crate::shard::published::{MAX_VERSION, Signer};
use crate::shard::refresh::Settings;

redis_object! {
    pub(super) struct RedisJson {}
}

/// Takes newer tables from Redis while the gateway runs. They replace `tables` whole; everything else stays as it is.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Refresh"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"version\": 1, \"every\": \"5s\"}"
)]
pub(super) struct RefreshJson {
    /// The version of the `tables` here. Only tables of a higher one take their place.
    version: Int<0, MAX_VERSION>,
    /// What the tables are called in Redis: the key is `redis.key_prefix`, `:shard-tables:` and this.
    #[serde(default = "tables")]
    name: Name,
    /// How often Redis is asked, by each worker.
    #[serde(default = "five_seconds")]
    every: Span<100, 3_600_000>,
    /// Tables count only with a signature by this secret, of at least 16 bytes. Default: none is needed, and who may
    /// write in Redis may route.
    secret: Option<Secret>,
    /// What happens to requests until it is known whether there are newer tables.
    #[serde(default)]
    on_start: OnStartJson,
}

/// What happens to requests until it is known whether there are newer tables.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "OnStart"))]
#[serde(rename_all = "snake_case", expecting = "`refuse` or `policy`")]
enum OnStartJson {
    /// They are refused (503): by older tables they may go where their data is no more.
    #[default]
    Refuse,
    /// They go by the policy's own tables.
    Policy,
}

fn tables() -> Name {
    Name("tables".to_owned())
}

fn five_seconds() -> Span<100, 3_600_000> {
    Span::from_millis(5_000)
}

/// Where newer tables come from.
#[derive(Debug, Clone)]
pub struct Source {
    pub redis: Redis,
    /// The key in Redis.
    pub place: String,
    /// Of the policy's own tables.
    pub version: u64,
    every: Ps,
    secret: Option<Secret>,
    wait: bool,
}

impl RefreshJson {
    pub(super) fn compile(self, redis: Redis) -> Source {
        Source {
            place: format!("{}:shard-tables:{}", redis.key_prefix, self.name.0),
            redis,
            version: self.version.0,
            every: ps(self.every.0),
            secret: self.secret,
            wait: matches!(self.on_start, OnStartJson::Refuse),
        }
    }
}

impl Source {
    /// What signs tables; none if they need no signature.
    ///
    /// # Errors
    /// When a variable that the policy names is not set, or holds too short a secret.
    pub fn signer(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Signer>, String> {
        let Some(secret) = &self.secret else {
            return Ok(None);
        };
        let found = secret.value(environment).and_then(|value| {
            Signer::new(value.as_bytes(), &self.place).ok_or_else(|| {
                let least = crate::shard::sticky::MIN_SECRET;
                format!("found {} bytes, expected at least {least}", value.len())
            })
        });
        found
            .map(Some)
            .map_err(|problem| format!("refresh.secret: {problem}"))
    }

    /// All that the worker needs.
    ///
    /// # Errors
    /// The same.
    pub fn settings(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, String> {
        Ok(Settings {
            place: self.place.clone(),
            every: self.every,
            signer: self.signer(&environment)?,
            version: self.version,
            wait: self.wait,
            timeout: self.redis.timeout(),
            limits: self.redis.limits(),
            login: self.redis.login(&environment)?,
            breaker: self.redis.breaker(),
        })
    }
}
