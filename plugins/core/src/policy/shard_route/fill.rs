//! What the tables of a policy come to, each error with the path of the field to change.

use super::percent::Percent;
use super::tables::{CapJson, FillJson, FreezeJson, MigrationJson, ShardJson, TableJson};
use crate::policy::value::Short;
use crate::ring::{self, Fill, Hash, Range, Shard, Table};
use crate::shard::gradient::Bounds;
use crate::shard::{Directory, Freeze, Host, Migration, Stages, WHOLE};

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
