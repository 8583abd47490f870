//! The policy of the coalescing filter as it is written. The doc comments here are the descriptions in the JSON Schema.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny};

use super::guard::{GuardJson, guards};
use super::route::RouteJson;
use crate::policy::redis::Secret;
use crate::policy::redis::json::redis_object;
use crate::policy::text::Name;
use crate::policy::value::{Int, Size, Text, non_empty, text_value};
use crate::selector::ClientIp;

/// More routes than this in one policy are a mistake: each request is compared with them in turn.
pub const MAX_ROUTES: usize = 256;

const MIB: u64 = 1 << 20;

/// A policy of Sluice's coalescing filter.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "CoalescePolicy"))]
#[serde(deny_unknown_fields, expecting = "an object with `routes`")]
pub struct PolicyJson {
    /// Where this schema is; for editors.
    #[serde(rename = "$schema", default)]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub(super) _schema: IgnoredAny,
    /// Which requests share answers. A request belongs to the first route that it matches; one that matches none passes
    /// untouched, but what it changes is forgotten.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_ROUTES)))]
    #[serde(deserialize_with = "routes")]
    pub(super) routes: Vec<RouteJson>,
    /// How much is stored.
    #[serde(default)]
    pub(super) store: StoreJson,
    /// What one worker of a gateway may hold at once.
    #[serde(default)]
    pub(super) worker: WorkerJson,
    /// How stored answers are forgotten on demand. Default: not at all.
    pub(super) purge: Option<PurgeJson>,
    /// Whether answers say what this cache did with them (`Cache-Status`, RFC 9211), and by what name it goes there.
    #[serde(default)]
    pub(super) cache_status: CacheStatusJson,
    /// How to find the client's address, for key parts `client_ip`.
    #[serde(default)]
    pub(super) client_ip: ClientIp,
    /// Where Redis is, for `guards` and for routes whose `flight` is `fleet`; only with one of them.
    pub(super) redis: Option<RedisJson>,
    /// Which ids exist. A request for one that does not is answered at once, whatever route it belongs to; where that
    /// cannot be known it passes. Default: nobody is asked.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = super::guard::MAX_GUARDS)))]
    #[serde(default, deserialize_with = "guards")]
    pub(super) guards: Vec<GuardJson>,
}

redis_object! {
    pub(super) struct RedisJson {}
}

fn routes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RouteJson>, D::Error> {
    let routes: Vec<RouteJson> = non_empty(deserializer)?;
    if routes.len() > MAX_ROUTES {
        return Err(Error::custom(format_args!(
            "found {} routes, expected at most {MAX_ROUTES}",
            routes.len()
        )));
    }
    Ok(routes)
}

/// How much is stored. What is over is what was not used for longest.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Store"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"shared\": \"64MiB\"}"
)]
pub(super) struct StoreJson {
    /// Memory that all workers of a gateway share.
    pub(super) shared: Size<MIB, { 16_384 * MIB }>,
    /// Memory for the copies that each worker keeps for itself, of what it serves most.
    pub(super) worker: Size<0, { 256 * MIB }>,
}

impl Default for StoreJson {
    fn default() -> Self {
        Self {
            shared: Size(64 * MIB),
            worker: Size(16 * MIB),
        }
    }
}

/// What one worker of a gateway may hold at once.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Worker"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"max_waiting\": 16384}"
)]
pub(super) struct WorkerJson {
    /// Requests that wait for others; one more goes upstream alone.
    pub(super) max_waiting: Int<1, 1_000_000>,
}

impl Default for WorkerJson {
    fn default() -> Self {
        Self {
            max_waiting: Int(16_384),
        }
    }
}

/// How stored answers are forgotten on demand.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Purge"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"path\": \"/.sluice/purge\", \"token\": {\"env\": \"PURGE_TOKEN\"}}"
)]
pub(super) struct PurgeJson {
    /// The path of requests that purge. They never reach an upstream.
    pub(super) path: PurgePath,
    /// What such a request must have in `Authorization: Bearer`. Prefer `{"env": "NAME"}`: a policy gets copied and
    /// logged.
    pub(super) token: Secret,
}

#[derive(Debug)]
pub(super) struct PurgePath(pub(super) String);

impl Text for PurgePath {
    const PATTERN: &'static str = "^/[A-Za-z0-9._~/-]+$";

    fn expected() -> String {
        "a path such as \"/.sluice/purge\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._~/-".contains(&byte);
        if text.len() < 2 || !text.starts_with('/') || !text.bytes().all(valid) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(PurgePath);

/// Whether and how answers say what this cache did with them.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "CacheStatus"))]
#[serde(rename_all = "snake_case", expecting = "{\"name\": ...} or `hidden`")]
pub(super) enum CacheStatusJson {
    /// The name that this cache goes by.
    Name(CacheName),
    /// The field is not written.
    Hidden,
}

impl Default for CacheStatusJson {
    fn default() -> Self {
        Self::Name(CacheName("sluice".to_owned()))
    }
}

#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub(super) struct CacheName(pub(super) String);

impl Text for CacheName {
    const PATTERN: &'static str = "^[A-Za-z][A-Za-z0-9_.-]{0,63}$";

    fn expected() -> String {
        "a name of 1 to 64 characters out of A-Z, a-z, 0-9, `_`, `.` and `-`, a letter first"
            .to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(Self::expected());
        }
        Name::parse(text)
            .map(|name| Self(name.0))
            .map_err(|_| Self::expected())
    }
}
text_value!(CacheName);
