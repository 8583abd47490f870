//! `sluice shard`: where keys are, what a change moves, how even the shards are, by the policy alone; and publishing
//! tables.

mod publish;

use std::path::Path;

use sluice_core::policy::shard_route::{ShardRoute, Target};
use sluice_core::shard::Directory;
use sluice_core::shard::explain::{explain, plan, skew};

use crate::Refusal;
use crate::arguments::Shard;
use crate::check::read;

pub fn run(command: Shard) -> Result<(), Refusal> {
    match command {
        Shard::Explain { policy, key, table } => {
            let policy = load(&policy)?;
            let (directory, _) = find(&policy, table.as_deref())?;
            let found = explain(&policy, &directory.name, key.as_bytes());
            let found =
                found.ok_or_else(|| no(format!("{key:?} is no key of the table's route")))?;
            println!("{found}");
        }
        Shard::Plan { from, to, table } => {
            let from = load(&from)?;
            let (before, _) = find(&from, table.as_deref())?;
            let planned = match to {
                Some(to) => {
                    let to = load(&to)?;
                    let (after, _) = find(&to, table.as_deref().or(Some(&before.name)))?;
                    plan(before, after)
                }
                None => {
                    let after = before.migrated().ok_or_else(|| {
                        no(format!("table {} has no migration: say --to", before.name))
                    })?;
                    plan(before, &after)
                }
            };
            let planned = planned.ok_or_else(|| {
                no(
                    "the tables do not have the same hash and number of slots: all keys may move"
                        .to_owned(),
                )
            })?;
            println!("{planned}");
        }
        Shard::Publish { policy, redis } => publish::run(&policy, &redis)?,
        Shard::Skew {
            policy,
            keys,
            table,
        } => {
            let policy = load(&policy)?;
            let (directory, target) = find(&policy, table.as_deref())?;
            let keys = read(&keys)?;
            let lines = keys
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty());
            println!("{}", skew(directory, target, lines));
        }
    }
    Ok(())
}

fn no(why: String) -> Refusal {
    Refusal::No(why)
}

fn load(file: &Path) -> Result<ShardRoute, Refusal> {
    ShardRoute::load(&read(file)?).map_err(|problem| no(format!("{}: {problem}", file.display())))
}

/// The table of this name, or the only one, with the first route that goes by it.
fn find<'p>(
    policy: &'p ShardRoute,
    name: Option<&str>,
) -> Result<(&'p Directory, &'p Target), Refusal> {
    let names: Vec<&str> = policy
        .tables
        .iter()
        .map(|table| table.directory.name.as_str())
        .collect();
    let place = match (name, names.as_slice()) {
        (Some(name), _) => names.iter().position(|other| *other == name),
        (None, [_]) => Some(0),
        (None, _) => None,
    };
    let known = || no(format!("say --table, one of: {}", names.join(", ")));
    let place = place.ok_or_else(known)?;
    let table = policy.tables.get(place).ok_or_else(known)?;
    let mut targets = policy
        .routes
        .iter()
        .filter_map(|route| route.target.as_ref());
    let target = targets.find(|target| target.table == place);
    let target =
        target.ok_or_else(|| no(format!("no route goes by table {}", table.directory.name)))?;
    Ok((&table.directory, target))
}
