//! The tables of a policy as they are written, and what they come to.

use serde::Deserialize;

use super::map::Map;
use super::percent::Percent;
use crate::policy::text::Name;
use crate::policy::value::{Int, Short, ShortForm, Span, Text, non_empty};
use crate::ring::Hash;

/// Which data is where.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Table"))]
#[serde(deny_unknown_fields, expecting = "an object with `shards`")]
pub(super) struct TableJson {
    /// What of a key says its slot.
    #[serde(default)]
    pub(super) hash: HashJson,
    /// How many slots there are. A slot is the smallest part that moves; to change their number is to move everything.
    /// Default: 16384. Of `maglev`, which needs a prime, 65521 with `crc16` and 65537 with `xxh64`.
    pub(super) slots: Option<Int<1, 1_048_576>>,
    /// How slots are given to shards.
    #[serde(default)]
    pub(super) fill: FillJson,
    /// The shards, at least one, by name or with what is special about them.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "non_empty")]
    pub(super) shards: Vec<Short<ShardJson>>,
    /// Keys, normalised, that are at a shard whatever the slots say: big tenants, test accounts. A migration leaves them
    /// where they are.
    #[serde(default)]
    pub(super) pins: Map<Name>,
    /// How many requests may be under way at each shard at once, counted for all workers of one gateway.
    pub(super) in_flight: Option<CapJson>,
    /// Another way to give slots to shards that this table is on its way to.
    pub(super) migration: Option<MigrationJson>,
}

/// What of a key says its slot.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Hash"))]
#[serde(rename_all = "snake_case", expecting = "`crc16` or `xxh64`")]
pub(super) enum HashJson {
    /// CRC16/XMODEM as Redis Cluster has it, `{hash tags}` included: at most 65536 slots.
    #[default]
    Crc16,
    /// xxHash64 with seed 0.
    Xxh64,
}

impl HashJson {
    pub(super) fn hash(self) -> Hash {
        match self {
            Self::Crc16 => Hash::Crc16,
            Self::Xxh64 => Hash::XxHash64,
        }
    }
}

/// How slots are given to shards.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Fill"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`rendezvous`, `jump`, `maglev`, {\"ring\": {...}} or {\"ranges\": [...]}"
)]
pub(super) enum FillJson {
    /// By weighted rendezvous hashing: whichever shard comes or goes, nothing moves between the others. Building it takes
    /// slots x shards steps.
    #[default]
    Rendezvous,
    /// By jump consistent hashing: shards of the same weight that come and go at the end of the list only.
    Jump,
    /// By Maglev: the most even. The number of slots must be prime.
    Maglev,
    /// By a ring of points.
    Ring(RingJson),
    /// By list: every slot once.
    Ranges(Vec<RangeJson>),
}

/// A ring of points.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Ring"))]
#[serde(deny_unknown_fields, expecting = "an object such as {\"points\": 160}")]
pub(super) struct RingJson {
    /// Points of each shard for each unit of its weight. Few points are a skewed ring.
    pub(super) points: Int<1, 65_536>,
}

/// Slots in a row.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Range"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"from\": 0, \"to\": 8191, \"shard\": \"s0\"}"
)]
pub(super) struct RangeJson {
    /// The first slot.
    pub(super) from: Int<0, 1_048_575>,
    /// The last slot.
    pub(super) to: Int<0, 1_048_575>,
    /// Whose they are.
    pub(super) shard: Name,
}

/// A shard.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Shard"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"name\": \"s0\"}"
)]
pub(super) struct ShardJson {
    /// Its name, as the header tells it.
    pub(super) name: Name,
    /// Its share of the slots, relative to the others'.
    #[serde(default = "one")]
    pub(super) weight: Int<0, 10_000>,
    /// Where it is.
    pub(super) zone: Option<Name>,
    /// Its own cap, in the place of the table's `in_flight.max`.
    pub(super) max_in_flight: Option<Int<1, 1_000_000>>,
}

fn one() -> Int<0, 10_000> {
    Int(1)
}

impl ShortForm for ShardJson {
    const PATTERN: &'static str = Name::PATTERN;
    const EXPECTED: &'static str =
        "a shard's name such as \"s0\", or an object such as {\"name\": \"s0\"}";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self {
            name: Name::parse(text)?,
            weight: one(),
            zone: None,
            max_in_flight: None,
        })
    }
}

/// How many requests may be under way at each shard at once.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "InFlight"))]
#[serde(deny_unknown_fields, expecting = "an object such as {\"max\": 100}")]
pub(super) struct CapJson {
    /// At most so many.
    pub(super) max: Int<1, 1_000_000>,
    /// Has the cap find itself, from this floor up to `max`: it shrinks while answers take longer than usual. Each worker
    /// finds its own by what it sees.
    pub(super) adaptive_floor: Option<Int<1, 1_000_000>>,
    /// Requests over the cap wait. Without it they are refused at once.
    pub(super) queue: Option<QueueJson>,
    /// What a request that is refused is told to wait.
    #[serde(default = "second")]
    pub(super) retry_after: Span<1_000, 3_600_000>,
}

/// Requests that wait.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Queue"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"max\": 100, \"wait\": \"100ms\"}"
)]
pub(super) struct QueueJson {
    /// At most so many wait for each shard in each worker.
    pub(super) max: Int<1, 100_000>,
    /// Then they are refused.
    pub(super) wait: Span<1, 60_000>,
}

fn second() -> Span<1_000, 3_600_000> {
    Span::from_millis(1_000)
}

/// Another way to give slots to shards that a table is on its way to.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Migration"))]
#[serde(deny_unknown_fields, expecting = "an object with `to`")]
pub(super) struct MigrationJson {
    /// What is to be. It has the same hash and slots.
    pub(super) to: ToJson,
    /// How many of the slots that differ are at their new shard. `moved`, `frozen` and `dual_write` follow each other in a
    /// fixed order of those slots; they are together at most 100%.
    #[serde(default)]
    pub(super) moved: Percent,
    /// How many of them are being cut over: requests to them are answered 503.
    #[serde(default)]
    pub(super) frozen: Percent,
    /// How many of them tell the new shard in the header `dual_write`, on writes.
    #[serde(default)]
    pub(super) dual_write: Percent,
    /// Whether moved slots tell the old shard in the header `dual_write`, on writes, so that there is a way back.
    #[serde(default)]
    pub(super) dual_write_back: bool,
    /// Which requests to frozen slots are refused.
    #[serde(default)]
    pub(super) freeze: FreezeJson,
    /// What they are told to wait.
    #[serde(default = "second")]
    pub(super) retry_after: Span<1_000, 3_600_000>,
}

/// What is to be.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "To"))]
#[serde(deny_unknown_fields, expecting = "an object with `shards` or `fill`")]
pub(super) struct ToJson {
    /// How slots are given to shards. Default: as before.
    pub(super) fill: Option<FillJson>,
    /// The shards. Default: as before.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(default, deserialize_with = "some_shards")]
    pub(super) shards: Option<Vec<Short<ShardJson>>>,
}

fn some_shards<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Short<ShardJson>>>, D::Error> {
    non_empty(deserializer).map(Some)
}

/// Which requests to frozen slots are refused.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Freeze"))]
#[serde(rename_all = "snake_case", expecting = "`all` or `writes`")]
pub(super) enum FreezeJson {
    /// All.
    #[default]
    All,
    /// Writes; reads go on at the old shard.
    Writes,
}
