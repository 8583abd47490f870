//! The tables of a policy as they are written, and what they come to.

use serde::Deserialize;

use super::map::Map;
use super::percent::Percent;
use crate::policy::text::Name;
use crate::policy::value::{Int, Short, ShortForm, Span, Text, non_empty};
use crate::ring::{self, Fill, Hash, Range, Shard, Table};
use crate::shard::gradient::Bounds;
use crate::shard::{Directory, Freeze, Host, Migration, Stages, WHOLE};

/// Which data is where.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Table"))]
#[serde(deny_unknown_fields, expecting = "an object with `shards`")]
pub(super) struct TableJson {
    /// What of a key says its slot.
    #[serde(default)]
    hash: HashJson,
    /// How many slots there are. A slot is the smallest part that moves; to change their number is to move everything.
    /// Default: 16384. Of `maglev`, which needs a prime, 65521 with `crc16` and 65537 with `xxh64`.
    slots: Option<Int<1, 1_048_576>>,
    /// How slots are given to shards.
    #[serde(default)]
    fill: FillJson,
    /// The shards, at least one, by name or with what is special about them.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "non_empty")]
    shards: Vec<Short<ShardJson>>,
    /// Keys, normalised, that are at a shard whatever the slots say: big tenants, test accounts. A migration leaves them
    /// where they are.
    #[serde(default)]
    pins: Map<Name>,
    /// How many requests may be under way at each shard at once, counted for all workers of one gateway.
    in_flight: Option<CapJson>,
    /// Another way to give slots to shards that this table is on its way to.
    migration: Option<MigrationJson>,
}

/// What of a key says its slot.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Hash"))]
#[serde(rename_all = "snake_case", expecting = "`crc16` or `xxh64`")]
enum HashJson {
    /// CRC16/XMODEM as Redis Cluster has it, `{hash tags}` included: at most 65536 slots.
    #[default]
    Crc16,
    /// xxHash64 with seed 0.
    Xxh64,
}

impl HashJson {
    fn hash(self) -> Hash {
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
enum FillJson {
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
struct RingJson {
    /// Points of each shard for each unit of its weight. Few points are a skewed ring.
    points: Int<1, 65_536>,
}

/// Slots in a row.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Range"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"from\": 0, \"to\": 8191, \"shard\": \"s0\"}"
)]
struct RangeJson {
    /// The first slot.
    from: Int<0, 1_048_575>,
    /// The last slot.
    to: Int<0, 1_048_575>,
    /// Whose they are.
    shard: Name,
}

/// A shard.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Shard"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"name\": \"s0\"}"
)]
struct ShardJson {
    /// Its name, as the header tells it.
    name: Name,
    /// Its share of the slots, relative to the others'.
    #[serde(default = "one")]
    weight: Int<0, 10_000>,
    /// Where it is.
    zone: Option<Name>,
    /// Its own cap, in the place of the table's `in_flight.max`.
    max_in_flight: Option<Int<1, 1_000_000>>,
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
struct CapJson {
    /// At most so many.
    max: Int<1, 1_000_000>,
    /// Has the cap find itself, from this floor up to `max`: it shrinks while answers take longer than usual. Each worker
    /// finds its own by what it sees.
    adaptive_floor: Option<Int<1, 1_000_000>>,
    /// Requests over the cap wait. Without it they are refused at once.
    queue: Option<QueueJson>,
    /// What a request that is refused is told to wait.
    #[serde(default = "second")]
    retry_after: Span<1_000, 3_600_000>,
}

/// Requests that wait.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Queue"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"max\": 100, \"wait\": \"100ms\"}"
)]
struct QueueJson {
    /// At most so many wait for each shard in each worker.
    max: Int<1, 100_000>,
    /// Then they are refused.
    wait: Span<1, 60_000>,
}

fn second() -> Span<1_000, 3_600_000> {
    Span::from_millis(1_000)
}

/// Another way to give slots to shards that a table is on its way to.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Migration"))]
#[serde(deny_unknown_fields, expecting = "an object with `to`")]
struct MigrationJson {
    /// What is to be. It has the same hash and slots.
    to: ToJson,
    /// How many of the slots that differ are at their new shard. `moved`, `frozen` and `dual_write` follow each other in a
    /// fixed order of those slots; they are together at most 100%.
    #[serde(default)]
    moved: Percent,
    /// How many of them are being cut over: requests to them are answered 503.
    #[serde(default)]
    frozen: Percent,
    /// How many of them tell the new shard in the header `dual_write`, on writes.
    #[serde(default)]
    dual_write: Percent,
    /// Whether moved slots tell the old shard in the header `dual_write`, on writes, so that there is a way back.
    #[serde(default)]
    dual_write_back: bool,
    /// Which requests to frozen slots are refused.
    #[serde(default)]
    freeze: FreezeJson,
    /// What they are told to wait.
    #[serde(default = "second")]
    retry_after: Span<1_000, 3_600_000>,
}

/// What is to be.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "To"))]
#[serde(deny_unknown_fields, expecting = "an object with `shards` or `fill`")]
struct ToJson {
    /// How slots are given to shards. Default: as before.
    fill: Option<FillJson>,
    /// The shards. Default: as before.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(default, deserialize_with = "some_shards")]
    shards: Option<Vec<Short<ShardJson>>>,
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
enum FreezeJson {
    /// All.
    #[default]
    All,
    /// Writes; reads go on at the old shard.
    Writes,
}

/// How a table's caps are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// The lowest that the cap may find for itself; none is a fixed cap.
    pub floor: Option<u32>,
    pub queue: Option<Queueing>,
    /// Whole seconds.
    pub retry_after: u64,
}

impl Cap {
    /// What the cap of a shard may become; none of a fixed cap.
    #[must_use]
    pub fn bounds(&self, ceiling: u32) -> Option<Bounds> {
        self.floor.map(|floor| Bounds {
            floor: floor.min(ceiling),
            ceiling,
        })
    }
}

/// How requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queueing {
    pub most: usize,
    pub wait: std::time::Duration,
}

/// The field at fault, and what is wrong.
pub(super) type Mistake = (String, String);

fn mistake<T>(field: impl Into<String>, problem: String) -> Result<T, Mistake> {
    Err((field.into(), problem))
}

/// A table, and how its caps are kept.
pub(super) fn compile(name: &str, json: TableJson) -> Result<(Directory, Option<Cap>), Mistake> {
    let hash = json.hash.hash();
    let maglev = |fill: &FillJson| matches!(fill, FillJson::Maglev);
    let to_fill = json.migration.as_ref().and_then(|m| m.to.fill.as_ref());
    let slots = match json.slots {
        Some(slots) => slots.get(),
        None if !maglev(&json.fill) && !to_fill.is_some_and(maglev) => 16_384,
        None => match hash {
            Hash::Crc16 => 65_521,
            Hash::XxHash64 => 65_537,
        },
    };
    let cap = json.in_flight.as_ref().map(|cap| Cap {
        floor: cap.adaptive_floor.map(|floor| floor.get()),
        queue: cap.queue.as_ref().map(|queue| Queueing {
            most: queue.max.get(),
            wait: queue.wait.0,
        }),
        retry_after: cap.retry_after.0.as_secs(),
    });
    if let Some(CapJson {
        max,
        adaptive_floor: Some(floor),
        ..
    }) = &json.in_flight
        && floor.0 > max.0
    {
        return mistake(
            "in_flight.adaptive_floor",
            format!("found {}, expected at most `max`, {}", floor.0, max.0),
        );
    }
    let most = json.in_flight.as_ref().map(|cap| cap.max.get());
    let shards = json.shards;
    let own_cap = shards
        .iter()
        .position(|shard| shard.0.max_in_flight.is_some());
    if let (Some(place), None) = (own_cap, most) {
        return mistake(
            format!("shards[{place}].max_in_flight"),
            "found a cap without `in_flight`, expected the table to have that".to_owned(),
        );
    }
    let mut hosts: Vec<Host> = Vec::new();
    let of_now =
        add(&shards, &mut hosts, most).map_err(|(at, problem)| (format!("shards{at}"), problem))?;
    let table = fill(hash, slots, &json.fill, &shards, &of_now)
        .map_err(|(field, problem)| (field.to_owned(), problem))?;
    let migration = match &json.migration {
        None => None,
        Some(migration) => Some(
            migrate(migration, &json.fill, &shards, &table, &mut hosts, most)
                .map_err(|(field, problem)| (format!("migration.{field}"), problem))?,
        ),
    };
    let mut directory = Directory {
        name: name.to_owned(),
        hosts,
        table,
        pins: Default::default(),
        migration,
    };
    for (key, shard) in json.pins.0 {
        let Some(place) = directory.find(&shard.0) else {
            return mistake(format!("pins.{key}"), unknown(&shard.0, &directory.hosts));
        };
        directory.pins.insert(key.into_bytes(), place);
    }
    Ok((directory, cap))
}

/// Says which shards there are.
pub(super) fn unknown(found: &str, hosts: &[Host]) -> String {
    let names: Vec<&str> = hosts
        .iter()
        .take(8)
        .map(|host| host.name.as_str())
        .collect();
    let more = if hosts.len() > names.len() {
        ", ..."
    } else {
        ""
    };
    format!(
        "found {found:?}, expected the name of a shard: `{}`{more}",
        names.join("`, `")
    )
}

/// Adds the shards that are not in the list yet; gives the place of each. A migration may say more of a shard than its
/// name only if that is what the table says.
fn add(
    shards: &[Short<ShardJson>],
    hosts: &mut Vec<Host>,
    most: Option<u32>,
) -> Result<Vec<u16>, (String, String)> {
    let before = hosts.len();
    let mut known: std::collections::HashMap<String, usize> = hosts
        .iter()
        .enumerate()
        .map(|(place, host)| (host.name.clone(), place))
        .collect();
    let mut own = std::collections::HashSet::new();
    let mut places = Vec::with_capacity(shards.len());
    for (index, Short(shard)) in shards.iter().enumerate() {
        let name = &shard.name.0;
        if !own.insert(name.as_str()) {
            let problem = format!("found {name:?} twice, expected a name of its own");
            return Err((format!("[{index}].name"), problem));
        }
        let place = *known.entry(name.clone()).or_insert_with(|| {
            hosts.push(Host {
                name: name.clone(),
                zone: shard.zone.as_ref().map(|zone| zone.0.clone()),
                max_in_flight: shard.max_in_flight.map(|most| most.get()).or(most),
            });
            hosts.len() - 1
        });
        let told = shard.zone.is_some() || shard.max_in_flight.is_some();
        if place < before && told {
            let problem = format!(
                "found {name:?} with a zone or a cap, expected those where the table has the shard already"
            );
            return Err((format!("[{index}]"), problem));
        }
        places.push(u16::try_from(place).unwrap_or(u16::MAX));
    }
    if hosts.len() > ring::MAX_SHARDS {
        let problem = ring::Mistake::TooManyShards(hosts.len()).to_string();
        return Err((String::new(), problem));
    }
    Ok(places)
}

/// The table of shards that stand in these places of the directory's list.
fn fill(
    hash: Hash,
    slots: u32,
    fill: &FillJson,
    shards: &[Short<ShardJson>],
    places: &[u16],
) -> Result<Table, (&'static str, String)> {
    let drawn = |fill| {
        let shards: Vec<Shard> = shards
            .iter()
            .map(|Short(shard)| Shard {
                name: shard.name.0.clone(),
                weight: shard.weight.get(),
            })
            .collect();
        Table::fill(hash, slots, &shards, fill).map_err(|mistake| {
            let field = match mistake {
                ring::Mistake::NoShards
                | ring::Mistake::TooManyShards(_)
                | ring::Mistake::NoWeight
                | ring::Mistake::Weights => "shards",
                ring::Mistake::Slots(_)
                | ring::Mistake::TooManySlots(_)
                | ring::Mistake::NotPrime(_) => "slots",
                _ => "fill",
            };
            (field, mistake.to_string())
        })
    };
    let table = match fill {
        FillJson::Rendezvous => drawn(Fill::Rendezvous)?,
        FillJson::Jump => drawn(Fill::Jump)?,
        FillJson::Maglev => drawn(Fill::Maglev)?,
        FillJson::Ring(ring) => drawn(Fill::Ring {
            points: ring.points.get(),
        })?,
        FillJson::Ranges(ranges) => {
            let mut list = Vec::with_capacity(ranges.len());
            for range in ranges {
                let shard = shards
                    .iter()
                    .position(|Short(shard)| shard.name.0 == range.shard.0);
                let Some(shard) = shard else {
                    let problem = format!(
                        "found {:?}, expected the name of one of `shards`",
                        range.shard.0
                    );
                    return Err(("fill.ranges", problem));
                };
                list.push(Range {
                    from: range.from.get(),
                    to: range.to.get(),
                    shard: u16::try_from(shard).unwrap_or(u16::MAX),
                });
            }
            Table::ranges(hash, slots, shards.len(), &list)
                .map_err(|mistake| ("fill.ranges", mistake.to_string()))?
        }
    };
    Ok(table.renumbered(places))
}

fn migrate(
    json: &MigrationJson,
    fill_before: &FillJson,
    shards_before: &[Short<ShardJson>],
    table: &Table,
    hosts: &mut Vec<Host>,
    most: Option<u32>,
) -> Result<Migration, Mistake> {
    let stages = Stages {
        moved: json.moved.0,
        frozen: json.frozen.0,
        dual_write: json.dual_write.0,
    };
    let whole = stages.moved + stages.frozen + stages.dual_write;
    if whole > WHOLE {
        return mistake(
            "moved",
            format!(
                "found `moved`, `frozen` and `dual_write` of {} together, expected at most 100%",
                Percent(whole)
            ),
        );
    }
    if json.to.fill.is_none() && json.to.shards.is_none() {
        return mistake(
            "to",
            "found neither `shards` nor `fill`, expected what is to be different".to_owned(),
        );
    }
    let shards = json.to.shards.as_deref().unwrap_or(shards_before);
    let places = match &json.to.shards {
        None => (0..u16::try_from(shards.len()).unwrap_or(u16::MAX)).collect(),
        Some(shards) => {
            add(shards, hosts, most).map_err(|(at, problem)| (format!("to.shards{at}"), problem))?
        }
    };
    let slots = u32::try_from(table.slots().len()).unwrap_or(u32::MAX);
    let to = json.to.fill.as_ref().unwrap_or(fill_before);
    let to = fill(table.hash(), slots, to, shards, &places).map_err(|(field, problem)| {
        // The slots are the table's: another way to fill them is what does not fit.
        let field = if field == "slots" { "fill" } else { field };
        (format!("to.{field}"), problem)
    })?;
    let mut migration = Migration::new(table, to, stages);
    migration.freeze = match json.freeze {
        FreezeJson::All => Freeze::All,
        FreezeJson::Writes => Freeze::Writes,
    };
    migration.write_back = json.dual_write_back;
    migration.retry_after = json.retry_after.0.as_secs();
    Ok(migration)
}
