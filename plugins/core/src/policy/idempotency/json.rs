//! The policy of the idempotency filter as it is written. The doc comments here are the descriptions in the JSON
//! Schema.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::at_rest::AtRestJson;
use super::durability::DurabilityJson;
use super::etcd::EtcdJson;
use super::redlock::RedlockJson;
use super::replay::{FieldNames, ReplayHeadersJson};
use super::statuses::Statuses;
use crate::policy::redis::json::redis_object;
use crate::policy::text::{DefaultValue, FieldName, Name};
use crate::policy::value::{Int, Size, Span, non_empty};
use crate::selector::{ClientIp, Key, Matcher};

/// More routes than this in one policy are a mistake: each request is compared with them in turn.
pub const MAX_ROUTES: usize = 256;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const YEAR: u64 = 366 * 24 * HOUR;
const MIB: u64 = 1 << 20;

/// A policy of Sluice's idempotency filter.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "IdempotencyPolicy"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `redis` or `etcd`, and `routes`"
)]
pub struct PolicyJson {
    /// Where this schema is; for editors.
    #[serde(rename = "$schema", default)]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub(super) _schema: IgnoredAny,
    /// Which requests have keys. A request belongs to the first route that it matches; one that matches none passes
    /// untouched.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_ROUTES)))]
    #[serde(deserialize_with = "routes")]
    pub(super) routes: Vec<RouteJson>,
    /// The Redis that holds the records. It must keep what it was told (`maxmemory-policy noeviction`, AOF): a record
    /// that is lost is a request that may run twice. Either this or `etcd`.
    pub(super) redis: Option<RedisJson>,
    /// The etcd that holds the records. Either this or `redis`.
    pub(super) etcd: Option<EtcdJson>,
    /// Parts that the records are spread over, each with a hash tag of its own; they share a fencing counter and a
    /// stream of events. Default: 1, and with `redis.hash_slots` 64. To change it is to forget every record. Only with
    /// `redis`.
    pub(super) partitions: Option<Int<1, 256>>,
    /// The request header that tells the upstream the fencing number of an execution. What a client sends in it is
    /// replaced.
    #[serde(default = "fence_header")]
    pub(super) fence_header: FieldName,
    /// How answers lie in Redis: compressed, encrypted. Default: as they are.
    #[serde(default)]
    pub(super) at_rest: AtRestJson,
    /// What an answer has to wait for.
    #[serde(default)]
    pub(super) commit_order: CommitOrderJson,
    /// How to find the client's address, for scope parts `client_ip`.
    #[serde(default)]
    pub(super) client_ip: ClientIp,
    /// How much of a body the gateway buffers (Envoy: `per_connection_buffer_limit_bytes`). What routes store must be
    /// less, since the gateway itself refuses the rest.
    #[serde(default = "gateway_buffer")]
    pub(super) gateway_buffer: Size<{ 16 << 10 }, { 64 * MIB }>,
    /// What one worker of a gateway may hold at once.
    #[serde(default)]
    pub(super) worker: WorkerJson,
}

redis_object! {
    pub(super) struct RedisJson {
        /// Who else must have a record before it counts. Default: nobody.
        pub(super) durability: Option<DurabilityJson>,
        /// Further Redis that vote with this one. Default: none.
        pub(super) redlock: Option<RedlockJson>,
    }
}

fn fence_header() -> FieldName {
    FieldName("idempotency-fence".to_owned())
}

fn gateway_buffer() -> Size<{ 16 << 10 }, { 64 * MIB }> {
    Size(MIB)
}

fn routes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<RouteJson>, D::Error> {
    let routes: Vec<RouteJson> = non_empty(deserializer)?;
    if routes.len() > MAX_ROUTES {
        return Err(serde::de::Error::custom(format_args!(
            "found {} routes, expected at most {MAX_ROUTES}",
            routes.len()
        )));
    }
    Ok(routes)
}

/// What an answer has to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "CommitOrder"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`before_headers` or `before_end`"
)]
pub(super) enum CommitOrderJson {
    /// All of it is held until it is stored. In Envoy the filter needs `allow_on_headers_stop_iteration: true`.
    #[default]
    BeforeHeaders,
    /// Only its last piece is held until it is stored: weaker, for gateways that cannot hold headers. A client may see
    /// an answer begin that is never stored, and a retry is not compared by its body.
    BeforeEnd,
}

/// What one worker of a gateway may hold at once.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Worker"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"max_open\": 4096}"
)]
pub(super) struct WorkerJson {
    /// Requests with keys that are under way; one more is answered 503.
    pub(super) max_open: Int<1, 1_000_000>,
    /// Bytes of answers on their way to the store; an answer past it is treated as one that is too long to store.
    pub(super) max_held: Size<{ 16 << 10 }, { 1024 * MIB }>,
    /// Bytes of answers that it remembers after it has stored or read them. `"0B"`: none. Of no use with `etcd`.
    pub(super) max_remembered: Size<0, { 1024 * MIB }>,
    /// For so long after Redis's last word on an answer that it remembers, it replays it without asking Redis, unless the
    /// record ends before. Later it asks which answer a key has, and need not read a long one (more than 8 KiB).
    pub(super) trust_remembered: Span<0, 60_000>,
}

impl Default for WorkerJson {
    fn default() -> Self {
        Self {
            max_open: Int(4_096),
            max_held: Size(64 * MIB),
            max_remembered: Size(16 * MIB),
            trust_remembered: Span::from_millis(10_000),
        }
    }
}

/// Requests whose keys are kept, and how.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Route"))]
#[serde(deny_unknown_fields, expecting = "an object with `name` and `scope`")]
pub struct RouteJson {
    /// A name of its own, which is part of each key's scope: the same key on another route is another key. To change it
    /// is to forget the route's records.
    pub(super) name: Name,
    /// The requests it is for. A match that says nothing of methods is for POST and PATCH.
    #[serde(rename = "match", default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Matcher>"))]
    pub(super) matcher: Matcher,
    /// Whose keys they are, such as `["consumer"]`: clients that this does not tell apart get each other's answers when
    /// they choose the same key.
    pub(super) scope: Key,
    /// What happens to a request that lacks a part of the scope.
    #[serde(default)]
    pub(super) on_missing_scope: OnMissingScopeJson,
    /// Whether a request without a key is refused (400); else it passes untouched.
    #[serde(default)]
    pub(super) required: bool,
    /// The request header with the key.
    #[serde(default = "key_header")]
    pub(super) key_header: FieldName,
    /// How the header is read.
    #[serde(default)]
    pub(super) key_mode: KeyModeJson,
    /// How long an answer can be replayed, and how long a request whose fate is unknown is kept from running again.
    #[serde(default = "retention")]
    pub(super) retention: Span<SECOND, YEAR>,
    /// After so long without a sign of life from the gateway, an execution's fate is unknown. It is renewed while the
    /// upstream works. At most a tenth of the retention, at least four times the store's timeout. Default: 30 seconds, but
    /// at most a tenth of the retention.
    pub(super) lease: Option<Span<100, HOUR>>,
    /// The lease is renewed for so long after the request was sent upstream. Choose more than the upstream's timeout.
    /// Default: 5 minutes, but at most half the retention, which is also the most it may be.
    pub(super) execution: Option<Span<100, { 24 * HOUR }>>,
    /// How long a request waits while another with its key is under way, before it is answered 409.
    #[serde(default = "wait")]
    pub(super) wait: Span<0, { 60 * SECOND }>,
    /// The upstream's answers that are stored and replayed. Any other frees the key, since it says that nothing was
    /// done. Default: all, 5xx as well.
    pub(super) store_statuses: Option<StatusList>,
    /// A request with a longer body is answered 413. Less than `gateway_buffer`; default: 512 KiB, but at most half of
    /// it.
    pub(super) max_request_body: Option<Size<0, { 64 * MIB }>>,
    /// Of an answer with a longer body, or one that is streamed, only a tombstone is stored: retries are told so, and
    /// never run again. Less than `gateway_buffer`; default: 512 KiB, but at most half of it. No more than fits into what
    /// the gateway takes from Redis in one reply.
    pub(super) max_response_body: Option<Size<0, { 24 * MIB }>>,
    /// Which header fields of the first answer a replay repeats. Default: all that can be repeated.
    pub(super) replay_headers: Option<ReplayHeadersJson>,
    /// What becomes of a request that the upstream did not answer in time.
    #[serde(default)]
    pub(super) on_timeout: OnTimeoutJson,
    /// What happens to a request whose key cannot be looked up.
    #[serde(default)]
    pub(super) on_store_error: OnStoreErrorJson,
    /// What happens to an answer that cannot be stored. Its key stays taken in both cases.
    #[serde(default)]
    pub(super) on_commit_error: OnCommitErrorJson,
    /// Whether everything is only recorded and counted, and no request or answer is touched.
    #[serde(default)]
    pub(super) dry_run: bool,
    /// An event for each answer that is stored, in the same write.
    pub(super) outbox: Option<OutboxJson>,
}

/// The methods of a match that says nothing of methods: those that HTTP does not make safe to repeat by itself.
pub(super) const METHODS: [&str; 2] = ["POST", "PATCH"];

fn key_header() -> FieldName {
    FieldName("idempotency-key".to_owned())
}

fn retention() -> Span<SECOND, YEAR> {
    Span::from_millis(24 * HOUR)
}

fn wait() -> Span<0, { 60 * SECOND }> {
    Span::from_millis(0)
}

/// Statuses, at least one.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(transparent)]
pub(super) struct StatusList(
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "non_empty")]
    pub(super) Vec<Statuses>,
);

/// What happens to a request that lacks a part of the scope.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "OnMissingScope"))]
#[serde(rename_all = "snake_case", expecting = "`deny` or {\"default\": ...}")]
pub(super) enum OnMissingScopeJson {
    /// It is refused (400).
    #[default]
    Deny,
    /// Each part that is missing is taken for this text. Such clients share their keys, unless another part tells them
    /// apart.
    Default(DefaultValue),
}

/// How the key is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "KeyMode"))]
#[serde(rename_all = "snake_case", expecting = "`strict` or `compat`")]
pub(super) enum KeyModeJson {
    /// A Structured Field String (RFC 9651), quoted: `"8e03978e"`.
    #[default]
    Strict,
    /// A bare value as well, for clients that do not quote: `8e03978e` is the same key.
    Compat,
}

/// What becomes of a request that the upstream did not answer in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "OnTimeout"))]
#[serde(rename_all = "snake_case", expecting = "`unknown` or `store`")]
pub(super) enum OnTimeoutJson {
    /// Nobody knows whether it was carried out: retries are told so (409) until somebody resolves it.
    #[default]
    Unknown,
    /// The gateway's 504 is stored as its answer, and replayed.
    Store,
}

/// What happens to a request whose key cannot be looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "OnStoreError"))]
#[serde(rename_all = "snake_case", expecting = "`deny` or `allow`")]
pub(super) enum OnStoreErrorJson {
    /// It is refused (503), and nothing is sent.
    #[default]
    Deny,
    /// It is sent, without any promise: it may run twice.
    Allow,
}

/// What happens to an answer that cannot be stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "OnCommitError"))]
#[serde(rename_all = "snake_case", expecting = "`strict` or `deliver`")]
pub(super) enum OnCommitErrorJson {
    /// The client gets 503 in its place, so that it never saw an answer that a retry does not get.
    #[default]
    Strict,
    /// The client gets it, flagged `Idempotency-Status: unrecorded`; retries are told that its fate is unknown.
    Deliver,
}

/// Events about answers, in a Redis stream for each partition.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Outbox"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"trim\": {\"age\": \"7d\"}}"
)]
pub(super) struct OutboxJson {
    /// How the stream is kept short.
    pub(super) trim: TrimJson,
    /// Header fields of the answer that its event repeats.
    pub(super) headers: Option<FieldNames>,
}

/// How a stream of events is kept short.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Trim"))]
#[serde(
    rename_all = "snake_case",
    expecting = "{\"length\": 100000}, {\"age\": \"7d\"} or `nothing`"
)]
pub(super) enum TrimJson {
    /// About so many events stay in each partition.
    Length(Int<1, 1_000_000_000>),
    /// Events stay about so long.
    Age(Span<SECOND, YEAR>),
    /// Whoever reads it trims it: Redis's memory grows until then.
    Nothing,
}
