//! The policy of the shard-route filter as it is written. The doc comments here are the descriptions in the JSON
//! Schema. How tables are written is in [`tables`](super::tables).

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::map::Map;
use super::refresh::{RedisJson, RefreshJson};
use super::tables::TableJson;
use crate::policy::redis::Secret;
use crate::policy::text::{FieldName, Name};
use crate::policy::value::{Size, Span, Text, non_empty, text_value};
use crate::selector::{ClientIp, Key, Matcher};
use crate::shard::{Normal, Pointer};

/// More routes than this in one policy are a mistake: each request is compared with them in turn.
pub const MAX_ROUTES: usize = 256;

const MINUTE: u64 = 60_000;
const MIB: u64 = 1 << 20;

/// A policy of Sluice's shard-route filter.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "ShardRoutePolicy"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `tables` and `routes`"
)]
pub struct PolicyJson {
    /// Where this schema is; for editors.
    #[serde(rename = "$schema", default)]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub(super) _schema: IgnoredAny,
    /// The request headers that say where a request goes. What a client sends in them is removed, whether or not the
    /// request matches a route.
    #[serde(default)]
    pub(super) headers: HeadersJson,
    /// By name, which data is where. One for each set of shards: databases that are split by the same key share one.
    #[serde(default)]
    pub(super) tables: Map<TableJson>,
    /// Which requests go by which table. A request belongs to the first route that it matches; one that matches none
    /// goes on without the headers.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_ROUTES)))]
    #[serde(deserialize_with = "routes")]
    pub(super) routes: Vec<RouteJson>,
    /// How to find the client's address, for key parts `client_ip`.
    #[serde(default)]
    pub(super) client_ip: ClientIp,
    /// Whether the gateway chooses its route anew with the headers set. Needed where routes or clusters are chosen by
    /// them (`cluster_header`, header matches); a ring hash on the header works without.
    #[serde(default = "yes")]
    pub(super) clear_route_cache: bool,
    /// A property of the gateway to set for its access log, such as `sluice_shard`: `table/shard`, and `/role` behind it
    /// if there is one. In Envoy: `%FILTER_STATE(wasm.sluice_shard:PLAIN)%`. Default: none, as the headers can be logged
    /// too.
    pub(super) log_property: Option<Name>,
    /// Takes newer tables from Redis while the gateway runs. Default: the tables stay as they are.
    pub(super) refresh: Option<RefreshJson>,
    /// The Redis that has them. Only with `refresh`.
    pub(super) redis: Option<RedisJson>,
}

/// What is published for gateways to take: the same field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `tables`")]
pub(super) struct TablesJson {
    pub(super) tables: Map<TableJson>,
}

fn yes() -> bool {
    true
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

/// The request headers that say where a request goes.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Headers"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"shard\": \"x-shard\"}"
)]
pub(super) struct HeadersJson {
    /// The shard's name.
    pub(super) shard: FieldName,
    /// `primary` or `replica`, on routes with a `role`.
    pub(super) role: FieldName,
    /// The zone, where there is one.
    pub(super) zone: FieldName,
    /// The other shard that a write has to reach, in a migration.
    pub(super) dual_write: FieldName,
}

impl Default for HeadersJson {
    fn default() -> Self {
        let name = |name: &str| FieldName(name.to_owned());
        Self {
            shard: name("x-shard"),
            role: name("x-shard-role"),
            zone: name("x-shard-zone"),
            dual_write: name("x-shard-dual-write"),
        }
    }
}

/// Which requests go by which table.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Route"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `name`, `table` and `key`"
)]
pub struct RouteJson {
    /// A name of its own, for metrics.
    pub(super) name: Name,
    /// The requests it is for.
    #[serde(rename = "match", default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Matcher>"))]
    pub(super) matcher: Matcher,
    /// The table that says where a key is. Without it the route sets a zone only.
    pub(super) table: Option<Name>,
    /// Where the shard key is: the first part that the request has is the key, by itself, as an application would write
    /// it.
    pub(super) key: Option<Key>,
    /// Where the key is in a JSON body, if none of `key` is there. The request is held until its body is there: in Envoy
    /// the filter needs `allow_on_headers_stop_iteration: true`.
    pub(super) body: Option<BodyJson>,
    /// Steps that bring every spelling of a key to one, in this order.
    #[serde(default)]
    pub(super) normalise: Vec<NormalJson>,
    /// What happens to a request without a key.
    #[serde(default)]
    pub(super) on_missing_key: FallbackJson,
    /// What happens to a request whose key is there twice, is too long, or is not what a step of `normalise` is for.
    #[serde(default)]
    pub(super) on_invalid_key: FallbackJson,
    /// The requests that only read. A match that says nothing of methods is for GET and HEAD. All others are writes.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Matcher>"))]
    pub(super) reads: Matcher,
    /// Which copy of a shard serves the request. Without it the gateway says nothing of it.
    pub(super) role: Option<RoleJson>,
    /// Which zone serves it.
    #[serde(default)]
    pub(super) zone: ZoneJson,
}

/// The methods of `reads` that say nothing of methods.
pub(super) const READS: [&str; 2] = ["GET", "HEAD"];

/// Where the key is in a JSON body.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Body"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"pointer\": \"/user/id\"}"
)]
pub(super) struct BodyJson {
    /// A JSON Pointer (RFC 6901) to a text or a whole number.
    pub(super) pointer: Pointer,
    /// A request with a longer body is answered 413. Choose less than the gateway buffers (Envoy:
    /// `per_connection_buffer_limit_bytes`).
    #[serde(default = "max_body")]
    pub(super) max: Size<1, { 64 * MIB }>,
    /// A request whose body takes longer is answered 503.
    #[serde(default = "body_wait")]
    pub(super) wait: Span<1, { 10 * MINUTE }>,
}

fn max_body() -> Size<1, { 64 * MIB }> {
    Size(64 << 10)
}

fn body_wait() -> Span<1, { 10 * MINUTE }> {
    Span::from_millis(5_000)
}

/// A step that brings keys to one spelling.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Normal"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`trim`, `lower`, `integer` or `uuid`"
)]
pub(super) enum NormalJson {
    /// Takes white space from both ends.
    Trim,
    /// To lower case (ASCII).
    Lower,
    /// A whole number of at most 64 bits: `007` is `7`. Anything else is invalid.
    Integer,
    /// A UUID with hyphens, in lower case; `{...}`, `urn:uuid:...` and 32 digits are read too. Anything else is invalid.
    Uuid,
}

impl NormalJson {
    pub(super) fn step(self) -> Normal {
        match self {
            Self::Trim => Normal::Trim,
            Self::Lower => Normal::Lower,
            Self::Integer => Normal::Integer,
            Self::Uuid => Normal::Uuid,
        }
    }
}

/// What happens to a request without a good key.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Fallback"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`reject`, `spread` or {\"shard\": ...}"
)]
pub(super) enum FallbackJson {
    /// It is refused (400).
    #[default]
    Reject,
    /// It goes to any shard, drawn anew for each request by the shards' shares.
    Spread,
    /// It goes to this shard.
    Shard(Name),
}

/// Which copy of a shard serves a request.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Role"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`primary`, `replica` or {\"split\": {...}}"
)]
pub(super) enum RoleJson {
    /// The primary serves all.
    Primary,
    /// A replica serves all.
    Replica,
    /// Replicas serve reads, the primary serves the rest.
    Split(SplitJson),
}

/// When replicas serve.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Split"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"sticky\": {\"window\": \"5s\"}}"
)]
pub(super) struct SplitJson {
    /// A request header that sends a read to the primary, whatever its value.
    pub(super) force_primary: Option<FieldName>,
    /// After a write, reads of its key go to the primary for a while: replicas lag behind.
    pub(super) sticky: Option<StickyJson>,
}

/// How long, and how it is known.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Sticky"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"window\": \"5s\"}"
)]
pub(super) struct StickyJson {
    /// How long after the answer to the write: more than replicas lag.
    pub(super) window: Span<1, { 60 * MINUTE }>,
    /// How the gateway knows.
    #[serde(default)]
    pub(super) by: ByJson,
}

/// How the gateway knows that a key was written.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "By"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`shared_data` or {\"cookie\": {...}}"
)]
pub(super) enum ByJson {
    /// A record for each key in the gateway's memory: for all clients of this gateway, not of others.
    #[default]
    SharedData,
    /// A signed cookie: for this client at all gateways, not for other clients.
    Cookie(CookieJson),
}

#[cfg(feature = "schema")]
impl serde::Serialize for ByJson {
    /// Only the default is ever written: for the schema.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("shared_data")
    }
}

/// A signed cookie.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Cookie"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"secret\": {\"env\": \"SHARD_COOKIE_SECRET\"}}"
)]
pub(super) struct CookieJson {
    /// The secret, of at least 16 bytes, the same at all gateways. Prefer `{"env": "NAME"}`: a policy gets copied and
    /// logged.
    pub(super) secret: Secret,
    /// What the cookie's name begins with; behind it comes a hash of table and key.
    #[serde(default = "cookie_name")]
    pub(super) name: CookieName,
}

fn cookie_name() -> CookieName {
    CookieName("sluice-primary".to_owned())
}

/// A cookie's name.
#[derive(Debug)]
pub(super) struct CookieName(pub(super) String);

impl Text for CookieName {
    const PATTERN: &'static str = FieldName::PATTERN;

    fn expected() -> String {
        "a cookie's name such as \"sluice-primary\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        // The same letters, but here upper case is not lower case.
        FieldName::parse(text)
            .map(|_| Self(text.to_owned()))
            .map_err(|_| Self::expected())
    }
}
text_value!(CookieName);

#[cfg(feature = "schema")]
impl serde::Serialize for CookieName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Which zone serves a request.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Zone"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`shard`, {\"fixed\": ...}, {\"environment\": ...} or {\"header\": {...}}"
)]
pub(super) enum ZoneJson {
    /// The shard's zone, if it has one: for data that is split (RZone).
    #[default]
    Shard,
    /// This one: for data that is in one place for all (GZone).
    Fixed(Name),
    /// The zone in this variable of the VM's environment: the gateway's own city, for data that each city has a copy of
    /// (CZone).
    Environment(Variable),
    /// The zone that belongs to a header's value, such as the city that a CDN found.
    Header(ZoneHeaderJson),
}

/// Zones by a header's value.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "ZoneHeader"))]
#[serde(deny_unknown_fields, expecting = "an object with `name` and `zones`")]
pub(super) struct ZoneHeaderJson {
    /// The header.
    pub(super) name: FieldName,
    /// The zone of each value.
    pub(super) zones: Map<Name>,
    /// The zone of any other value, and of a request without the header. Without it such requests have none.
    pub(super) default: Option<Name>,
}

/// The name of an environment variable.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub(super) struct Variable(pub(super) String);

impl Text for Variable {
    const PATTERN: &'static str = "^[A-Za-z_][A-Za-z0-9_]*$";

    fn expected() -> String {
        "a variable's name such as \"CITY_ZONE\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = !text.is_empty()
            && text.bytes().all(valid)
            && !text.starts_with(|c: char| c.is_ascii_digit());
        good.then(|| Self(text.to_owned()))
            .ok_or_else(Self::expected)
    }
}
text_value!(Variable);
