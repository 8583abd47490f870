//! The policy of the rate-limit filter as it is written. The doc comments here are the descriptions in the JSON Schema.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::rate::{CostJson, RateText};
use super::redis::RedisJson;
use super::response::ResponseJson;
use crate::policy::text::{DefaultValue, Name};
use crate::policy::value::{Int, Short, Span, True, non_empty};
use crate::selector::{ClientIp, Key, Matcher};

/// More limits than this on one route are a mistake, and would make every request slow.
pub const MAX_LIMITS: usize = 64;

/// A policy of Sluice's rate-limit filter.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "RateLimitPolicy"))]
#[serde(deny_unknown_fields, expecting = "an object with `limits`")]
pub struct PolicyJson {
    /// Where this schema is; for editors.
    #[serde(rename = "$schema", default)]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub(super) _schema: IgnoredAny,
    /// The limits. A request has to pass every one that matches it, and only then is any of them charged.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_LIMITS)))]
    #[serde(deserialize_with = "limits")]
    pub(super) limits: Vec<LimitJson>,
    /// Which header fields tell clients of their limits.
    #[serde(default)]
    pub(super) headers: HeaderStyle,
    /// Up to this much is added to Retry-After, at random, so that refused clients do not return all at once. At most
    /// an hour.
    #[serde(default = "no_jitter")]
    pub(super) retry_after_jitter: Span<0, 3_600_000>,
    /// How to find the client's address, for key parts `client_ip`.
    #[serde(default)]
    pub(super) client_ip: ClientIp,
    /// The Redis that limits of mode `strict` and `leased` are counted in.
    pub(super) redis: Option<RedisJson>,
    /// The table in which a gateway process counts by itself.
    #[serde(default)]
    pub(super) local: LocalJson,
}

fn no_jitter() -> Span<0, 3_600_000> {
    Span::from_millis(0)
}

fn limits<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<LimitJson>, D::Error> {
    let limits: Vec<LimitJson> = non_empty(deserializer)?;
    if limits.len() > MAX_LIMITS {
        return Err(serde::de::Error::custom(format_args!(
            "found {} limits, expected at most {MAX_LIMITS}",
            limits.len()
        )));
    }
    Ok(limits)
}

/// Which header fields tell clients of their limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case", expecting = "`draft`, `legacy` or `off`")]
pub enum HeaderStyle {
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
    #[default]
    Draft,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`.
    Legacy,
    /// None. Retry-After is sent all the same.
    Off,
}

/// One limit.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Limit"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `name`, `key` and `rate`"
)]
pub struct LimitJson {
    /// A name of its own, which clients, metrics and Redis keys show.
    pub(super) name: Name,
    /// The requests it is for. Without this, all.
    #[serde(rename = "match", default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Matcher>"))]
    pub(super) matcher: Matcher,
    /// Whose requests are counted together.
    pub(super) key: Key,
    /// What happens to a request that lacks a part of the key. One that has a part twice, where the part does not say
    /// which copy counts, or has one that is too long, is refused whatever this says.
    #[serde(default)]
    pub(super) on_missing_key: OnMissingKeyJson,
    /// How many tokens come back in which time, such as `"100/min"`. 0 refuses everything.
    pub(super) rate: Short<RateText>,
    /// How many tokens may be taken at one instant. Default: as many as the rate's number.
    pub(super) burst: Option<Int<0, MAX_TOKENS>>,
    /// How many tokens a request takes.
    #[serde(default)]
    pub(super) cost: CostJson,
    /// Who counts.
    #[serde(default)]
    pub(super) mode: ModeJson,
    /// For mode `leased`.
    pub(super) lease: Option<LeaseJson>,
    /// Whether the limit only counts and reports, and refuses nothing.
    #[serde(default)]
    pub(super) shadow: bool,
    /// Clients with a rate of their own.
    #[serde(default)]
    pub(super) overrides: Vec<OverrideJson>,
    /// The answer to a request that is refused.
    #[serde(default)]
    pub(super) response: ResponseJson,
}

/// The most tokens a rate or a burst may have.
pub const MAX_TOKENS: u64 = 1_000_000_000;

/// What happens to a request that lacks a part of the key.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "OnMissingKey"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`skip`, `deny` or {\"default\": ...}"
)]
pub(super) enum OnMissingKeyJson {
    /// The limit does not apply to it.
    #[default]
    Skip,
    /// It is refused.
    Deny,
    /// Each part that is missing is taken for this text. Such clients share a bucket, unless another part tells them
    /// apart.
    Default(DefaultValue),
}

/// Who counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Mode"))]
#[serde(rename_all = "snake_case", expecting = "`local`, `strict` or `leased`")]
pub(super) enum ModeJson {
    /// Each gateway process for itself: n gateways admit n times the rate.
    #[default]
    Local,
    /// Redis, for every request: exact, and a round trip for each.
    Strict,
    /// Redis hands out leases of tokens, which the gateways spend by themselves: never more than the rate, a round
    /// trip for each lease.
    Leased,
}

/// How tokens are leased.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Lease"))]
#[serde(deny_unknown_fields, expecting = "an object such as {\"tokens\": 20}")]
pub(super) struct LeaseJson {
    /// How many tokens a lease has. Default: a fifth of the burst. The burst shrinks by as many, so that tokens which
    /// one gateway holds unspent are never in the way of another.
    pub(super) tokens: Int<1, MAX_TOKENS>,
}

/// The tokens of a lease when the policy does not say.
pub(super) fn default_lease(burst: u64) -> u64 {
    burst / 5
}

/// A client with a rate of its own: exactly one of `rate`, `unlimited` and `deny`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Override"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"key\": [\"alice\"], \"rate\": \"1000/min\"}"
)]
pub(super) struct OverrideJson {
    /// The client: one value for each part of the limit's key. Of a `client_ip` it is an address, which stands for all
    /// that share its prefix.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "non_empty")]
    pub(super) key: Vec<String>,
    /// Its rate.
    pub(super) rate: Option<Short<RateText>>,
    /// Its burst. Default: as many as its rate's number.
    pub(super) burst: Option<Int<0, MAX_TOKENS>>,
    /// `true`: it is not counted.
    pub(super) unlimited: Option<True>,
    /// `true`: it is always refused.
    pub(super) deny: Option<True>,
}

/// The table in which a gateway process counts by itself: its memory never grows.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "LocalTable"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"entries\": 524288}"
)]
pub(super) struct LocalJson {
    /// How many clients it has room for, in all limits together. Choose eight times as many as are active within the
    /// longest period: entries are spread by hash, and a table that is half full already has some buckets that
    /// overflow. A full table takes about 56 bytes an entry; with `redis` there are two, one of them for leases.
    pub(super) entries: Int<1, 16_777_216>,
    /// What happens to a new client when its bucket is full of clients that still count.
    pub(super) on_overflow: Overflow,
}

impl Default for LocalJson {
    fn default() -> Self {
        Self {
            entries: Int(524_288),
            on_overflow: Overflow::Deny,
        }
    }
}

/// What happens to a client that the table has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case", expecting = "`allow` or `deny`")]
pub enum Overflow {
    /// It passes, uncounted: a flood of invented clients gets through.
    Allow,
    /// It is refused: a flood of invented clients keeps new ones out, never the database busy.
    Deny,
}
