//! How one request is made for many, as the policy writes it.

use serde::Deserialize;

use crate::policy::value::{Int, Size, Span};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const MIB: u64 = 1 << 20;

/// How one request is made for many.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Flight"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"wait\": \"2s\"}"
)]
pub(super) struct FlightJson {
    /// How long a request waits for another's answer; then it goes upstream alone. 0: it never waits.
    pub(super) wait: Span<0, { 5 * MINUTE }>,
    /// Requests of one worker that wait for one answer; one more goes upstream alone.
    pub(super) max_followers: Int<1, 1_000_000>,
    /// An answer with a longer body is for the client that asked only, and those that wait go upstream. At most a 32nd
    /// of `store.shared`; default: 1 MiB, but at most that.
    pub(super) max_body: Option<Size<0, { 64 * MIB }>>,
    /// The same for an answer that takes longer from its first byte to its last.
    pub(super) max_time: Span<100, { 5 * MINUTE }>,
    /// After so long without a sign of life from the request that was sent, another is. It is renewed while the upstream
    /// works. At most `max_time`; default: 3 seconds, but at most that.
    pub(super) lease: Option<Span<100, { 5 * MINUTE }>>,
    /// What happens when the client leaves whose request was sent.
    pub(super) on_leader_gone: OnLeaderGoneJson,
    /// One request is made for all gateways that have this very policy and the same `redis`. Default: one for each
    /// gateway.
    pub(super) fleet: Option<FleetJson>,
}

impl Default for FlightJson {
    fn default() -> Self {
        Self {
            wait: Span::from_millis(5 * SECOND),
            max_followers: Int(4_096),
            max_body: None,
            max_time: Span::from_millis(10 * SECOND),
            lease: None,
            on_leader_gone: OnLeaderGoneJson::default(),
            fleet: None,
        }
    }
}

/// How one request is made for many gateways.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Fleet"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {} or {\"max_body\": \"64KiB\"}"
)]
pub(super) struct FleetJson {
    /// An answer with a longer body is not handed over by Redis: each gateway asks for itself. At most the flight's
    /// `max_body`; default: 256 KiB, but at most that.
    pub(super) max_body: Option<Size<0, MIB>>,
}

/// What happens when the client leaves whose request was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "OnLeaderGone"))]
#[serde(rename_all = "snake_case", expecting = "`promote` or `finish`")]
pub(super) enum OnLeaderGoneJson {
    /// The request of one that waits is sent.
    #[default]
    Promote,
    /// The answer is fetched without a client; needs `refresh`.
    Finish,
}
