//! A route of the policy as it is written: requests that share answers, and how.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::flight::FlightJson;
use crate::policy::idempotency::statuses::Statuses;
use crate::policy::redis::json::ClusterName;
use crate::policy::text::{DefaultValue, FieldName, Name};
use crate::policy::value::{Int, Span, Text, non_empty, text_value};
use crate::selector::{Key, Matcher};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 366 * DAY;

/// Requests that share answers, and how.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Route"))]
#[serde(deny_unknown_fields, expecting = "an object with `name`")]
pub struct RouteJson {
    /// A name of its own, for metrics.
    pub(super) name: Name,
    /// The requests it is for. Only GET and HEAD ever share anything.
    #[serde(rename = "match", default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Matcher>"))]
    pub(super) matcher: Matcher,
    /// Whose answers they are, such as `["consumer"]`: clients that this does not tell apart get each other's. Default:
    /// everybody's. The filters that say who a client is come before this one.
    pub(super) key: Option<Key>,
    /// What happens to a request that lacks a part of the key.
    #[serde(default)]
    pub(super) on_missing_key: OnMissingKeyJson,
    /// Which parameters of the query tell answers apart. Default: the whole query, as it is.
    pub(super) query: Option<QueryJson>,
    /// Cookies that change nothing, such as those of a web analysis; and those in `key`. A request with any other goes
    /// upstream alone.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(default, deserialize_with = "non_empty")]
    pub(super) cookies: Vec<CookieName>,
    /// What happens to a request with `Authorization`.
    #[serde(default)]
    pub(super) authorization: AuthorizationJson,
    /// Whether the `Cache-Control` of clients counts. `no-store` always does.
    #[serde(default)]
    pub(super) client_directives: ClientDirectivesJson,
    /// Answer fields such as `CDN-Cache-Control` (RFC 9213) that count in place of `Cache-Control`; the first that is
    /// valid.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(default, deserialize_with = "non_empty")]
    pub(super) targeted: Vec<FieldName>,
    /// How long answers are fresh that do not say so themselves. Default: such answers are not shared.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(default, deserialize_with = "non_empty")]
    pub(super) ttl: Vec<TtlJson>,
    /// No answer is fresh for longer, whatever it says.
    pub(super) max_ttl: Option<Span<0, YEAR>>,
    /// How much of a lifetime chance may cut off, in percent, so that answers that came together do not expire
    /// together: a lifetime is uniform over its last `jitter` percent.
    #[serde(default = "jitter")]
    pub(super) jitter: Int<0, 90>,
    /// How eagerly an answer is refreshed before it expires (XFetch's beta): `t` before that, a request does it with
    /// probability `e^(-t / (beta * d))`, where `d` is how long the last fetch took. 0: not at all.
    #[serde(default)]
    pub(super) early_refresh: Beta,
    /// How long an answer that does not say is served stale while another is fetched.
    #[serde(default = "never")]
    pub(super) stale_while_revalidate: Span<0, YEAR>,
    /// How long an answer that does not say is served stale when the upstream fails.
    #[serde(default = "never")]
    pub(super) stale_if_error: Span<0, YEAR>,
    /// Whether answers 5xx that say how long they are fresh are shared. One whose status is in `ttl` always is.
    #[serde(default)]
    pub(super) share_server_errors: bool,
    /// Where answers are fetched without a client. Default: nowhere; the next client's request does it.
    pub(super) refresh: Option<RefreshJson>,
    /// How long requests do not wait for each other after an answer that was not for all.
    #[serde(default = "hit_for_miss")]
    pub(super) hit_for_miss: Span<0, DAY>,
    /// Stored answers of one URI that differ by `Vary`.
    #[serde(default = "max_variants")]
    pub(super) max_variants: Int<1, 64>,
    /// How one request is made for many.
    #[serde(default)]
    pub(super) flight: FlightJson,
}

fn jitter() -> Int<0, 90> {
    Int(10)
}

fn never() -> Span<0, YEAR> {
    Span::from_millis(0)
}

fn hit_for_miss() -> Span<0, DAY> {
    Span::from_millis(10 * SECOND)
}

fn max_variants() -> Int<1, 64> {
    Int(8)
}

/// What happens to a request that lacks a part of the key.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "OnMissingKey"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`bypass` or {\"default\": ...}"
)]
pub(super) enum OnMissingKeyJson {
    /// It goes upstream alone.
    #[default]
    Bypass,
    /// Each part that is missing is taken for this text: such clients share their answers, unless another part tells
    /// them apart.
    Default(DefaultValue),
}

/// Which parameters of the query tell answers apart.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Query"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"sort\": true, \"drop\": [\"utm_*\"]}"
)]
pub(super) struct QueryJson {
    /// Whether the order of parameters does not matter. Those of one name keep theirs.
    #[serde(default)]
    pub(super) sort: bool,
    /// Parameters that change nothing. A name that ends in `*` stands for all that begin so.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(default, deserialize_with = "non_empty")]
    pub(super) drop: Vec<ParameterName>,
    /// The only parameters that change something. A name that ends in `*` stands for all that begin so.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(default, deserialize_with = "non_empty")]
    pub(super) only: Vec<ParameterName>,
}

#[derive(Debug)]
pub(super) struct ParameterName(pub(super) String);

impl Text for ParameterName {
    const PATTERN: &'static str = "^[^*]+[*]?$";

    fn expected() -> String {
        "a parameter's name such as \"page\", or the start of one such as \"utm_*\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let start = text.strip_suffix('*').unwrap_or(text);
        if start.is_empty() || start.contains('*') {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(ParameterName);

#[derive(Debug)]
pub(super) struct CookieName(pub(super) String);

impl Text for CookieName {
    const PATTERN: &'static str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

    fn expected() -> String {
        "a cookie's name such as \"_ga\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        // The same characters as in a header's name, but as they are: cookies are told apart by case.
        FieldName::parse(text)
            .map(|_| Self(text.to_owned()))
            .map_err(|_| Self::expected())
    }
}
text_value!(CookieName);

/// What happens to a request with `Authorization`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Authorization"))]
#[serde(rename_all = "snake_case", expecting = "`bypass` or `if_allowed`")]
pub(super) enum AuthorizationJson {
    /// It goes upstream alone.
    #[default]
    Bypass,
    /// It shares answers that allow it: those with `public`, `s-maxage` or `must-revalidate`.
    IfAllowed,
}

/// Whether the `Cache-Control` of clients counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "ClientDirectives"))]
#[serde(rename_all = "snake_case", expecting = "`honor` or `ignore`")]
pub(super) enum ClientDirectivesJson {
    /// A client that asks for a new answer gets one, and joins only others that asked after it.
    #[default]
    Honor,
    /// It gets what the others get: nobody can make the upstream work by asking for new answers.
    Ignore,
}

/// How long answers of some statuses are fresh that do not say so themselves.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Ttl"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"statuses\": [200], \"for\": \"5s\"}"
)]
pub(super) struct TtlJson {
    /// The statuses.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "non_empty")]
    pub(super) statuses: Vec<Statuses>,
    /// How long.
    #[serde(rename = "for")]
    pub(super) lifetime: Span<1, YEAR>,
}

/// Where answers are fetched without a client: to refresh one that is stale or soon will be.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Refresh"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"cluster\": \"catalogue\"}"
)]
pub(super) struct RefreshJson {
    /// The name of the gateway's cluster that leads to the upstream.
    pub(super) cluster: ClusterName,
    /// How long a fetch may take.
    #[serde(default = "refresh_timeout")]
    pub(super) timeout: Span<1, { 5 * MINUTE }>,
}

fn refresh_timeout() -> Span<1, { 5 * MINUTE }> {
    Span::from_millis(15 * SECOND)
}

/// XFetch's beta.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub(super) struct Beta(pub(super) f64);

impl Default for Beta {
    fn default() -> Self {
        Self(1.0)
    }
}

impl<'de> Deserialize<'de> for Beta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BetaVisitor;

        impl Visitor<'_> for BetaVisitor {
            type Value = Beta;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 10")
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Beta, E> {
                if (0.0..=10.0).contains(&number) {
                    return Ok(Beta(number));
                }
                Err(E::invalid_value(Unexpected::Float(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Beta, E> {
                match u32::try_from(number) {
                    Ok(number @ 0..=10) => Ok(Beta(f64::from(number))),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }
        }

        deserializer.deserialize_f64(BetaVisitor)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Beta {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Beta".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0, "maximum": 10 })
    }
}
