//! The same decisions for people: where a key is and why, what a change moves, how even the shards are.

use std::collections::BTreeMap;
use std::fmt;

use super::migration::Stage;
use super::{Directory, Place};
use crate::policy::shard_route::{Found, Route, ShardRoute, Target};
use crate::ring;

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub table: String,
    /// As it was hashed.
    pub key: Vec<u8>,
    pub place: Place,
    pub shard: String,
    pub zone: Option<String>,
    /// The shard that writes go to as well.
    pub also: Option<String>,
    pub pinned: bool,
    pub slots: usize,
}

/// Where `key`, as a client writes it, is by the first route of the table; `None` when no route takes it for a key.
#[must_use]
pub fn explain(policy: &ShardRoute, table: &str, key: &[u8]) -> Option<Explanation> {
    let of_table = |route: &'_ Route| {
        let target = route.target.as_ref()?;
        let rules = policy.tables.get(target.table)?;
        (rules.directory.name == table).then_some(())
    };
    let route = policy
        .routes
        .iter()
        .find(|route| of_table(route).is_some())?;
    let target: &Target = route.target.as_ref()?;
    let directory = &policy.tables.get(target.table)?.directory;
    let Found::Key(key) = target.normal(key.to_vec()) else {
        return None;
    };
    Some(located(directory, key))
}

/// Where a normalised key is.
#[must_use]
pub fn located(directory: &Directory, key: Vec<u8>) -> Explanation {
    let place = directory.locate(&key);
    Explanation {
        table: directory.name.clone(),
        place,
        shard: directory.name_of(place.shard).to_owned(),
        zone: directory
            .host(place.shard)
            .and_then(|host| host.zone.clone()),
        also: place.also.map(|shard| directory.name_of(shard).to_owned()),
        pinned: place.slot.is_none(),
        slots: directory.table.slots().len(),
        key,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = String::from_utf8_lossy(&self.key);
        writeln!(f, "key    {key}")?;
        writeln!(f, "table  {}", self.table)?;
        match self.place.slot {
            Some(slot) => writeln!(f, "slot   {slot} of {}", self.slots)?,
            None => writeln!(f, "slot   none: the key is pinned")?,
        }
        let stage = match self.place.stage {
            Stage::Before => None,
            Stage::DualWrite => Some("its writes go to the new shard too"),
            Stage::Frozen => Some("frozen: being moved"),
            Stage::Moved => Some("moved to its new shard"),
        };
        if let Some(stage) = stage {
            writeln!(f, "stage  {stage}")?;
        }
        write!(f, "shard  {}", self.shard)?;
        if let Some(zone) = &self.zone {
            write!(f, "\nzone   {zone}")?;
        }
        if let Some(also) = &self.also {
            write!(f, "\nalso   {also}, on writes")?;
        }
        Ok(())
    }
}

/// What is different between two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub slots: u32,
    /// By the shards' names, from and to.
    pub moves: BTreeMap<(String, String), u32>,
    /// The least that has to move for the shards to have the shares that they have in the second table.
    pub least: u32,
}

/// What moves between two tables as they are, their own migrations left out. `None` when they do not have the same hash
/// and slots: then no key stays for sure.
#[must_use]
pub fn plan(from: &Directory, to: &Directory) -> Option<Plan> {
    let moved = ring::moved(&from.table, &to.table, |old, new| {
        from.name_of(old) == to.name_of(new)
    })?;
    let mut moves = BTreeMap::new();
    for one in moved {
        let names = (from.name_of(one.from), to.name_of(one.to));
        *moves
            .entry((names.0.to_owned(), names.1.to_owned()))
            .or_default() += one.slots;
    }
    let before = by_name(from);
    let least = by_name(to)
        .iter()
        .map(|(name, slots)| slots.saturating_sub(before.get(name).copied().unwrap_or(0)))
        .sum();
    Some(Plan {
        slots: u32::try_from(from.table.slots().len()).unwrap_or(u32::MAX),
        moves,
        least,
    })
}

fn by_name(directory: &Directory) -> BTreeMap<&str, u32> {
    let shares = directory.table.shares(directory.hosts.len());
    let names = directory.hosts.iter().map(|host| host.name.as_str());
    names.zip(shares).collect()
}

impl Plan {
    #[must_use]
    pub fn moved(&self) -> u32 {
        self.moves.values().sum()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |slots: u32| 100.0 * f64::from(slots) / f64::from(self.slots.max(1));
        for ((from, to), slots) in &self.moves {
            writeln!(f, "{from} -> {to}  {slots} slots  {:.2}%", part(*slots))?;
        }
        write!(
            f,
            "{} of {} slots move, {:.2}%; the least for these shares is {}, {:.2}%",
            self.moved(),
            self.slots,
            part(self.moved()),
            self.least,
            part(self.least)
        )
    }
}

/// How keys are spread over the shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Skew {
    pub keys: u64,
    /// Keys that are none after normalising.
    pub invalid: u64,
    /// By shard: slots, and keys.
    pub shards: Vec<(String, u32, u64)>,
    /// The most that one slot has, and which.
    pub hottest_slot: Option<(u32, u64)>,
}

/// Counts keys, as clients write them: one for each request, or one for each user, as the list has it.
#[must_use]
pub fn skew<'k>(
    directory: &Directory,
    target: &Target,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Skew {
    let mut counts = vec![0_u64; directory.hosts.len()];
    let mut of_slots = vec![0_u64; directory.table.slots().len()];
    let (mut all, mut invalid) = (0, 0);
    for key in keys {
        let Found::Key(key) = target.normal(key.to_vec()) else {
            invalid += 1;
            continue;
        };
        all += 1;
        let place = directory.locate(&key);
        if let Some(count) = counts.get_mut(usize::from(place.shard)) {
            *count += 1;
        }
        let slot = place.slot.and_then(|slot| of_slots.get_mut(slot as usize));
        if let Some(count) = slot {
            *count += 1;
        }
    }
    let shares = directory.shares();
    let shards = directory.hosts.iter().zip(shares).zip(counts);
    let hottest = (0_u32..).zip(of_slots).max_by_key(|(_, count)| *count);
    Skew {
        keys: all,
        invalid,
        shards: shards
            .map(|((host, slots), keys)| (host.name.clone(), slots, keys))
            .collect(),
        hottest_slot: hottest.filter(|(_, count)| *count > 0),
    }
}

impl Skew {
    /// The fullest shard's keys, as a multiple of the mean.
    #[must_use]
    pub fn worst(&self) -> f64 {
        let most = self.shards.iter().map(|(_, _, keys)| *keys).max();
        let mean = self.keys as f64 / self.shards.len().max(1) as f64;
        if mean > 0.0 {
            most.unwrap_or(0) as f64 / mean
        } else {
            0.0
        }
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: u32 = self.shards.iter().map(|(_, slots, _)| *slots).sum();
        let part = |count: f64, of: f64| 100.0 * count / of.max(1.0);
        for (name, own, keys) in &self.shards {
            writeln!(
                f,
                "{name}  {own} slots  {:.2}%  {keys} keys  {:.2}%",
                part(f64::from(*own), f64::from(slots)),
                part(*keys as f64, self.keys as f64)
            )?;
        }
        if let Some((slot, count)) = self.hottest_slot {
            writeln!(f, "the hottest slot is {slot} with {count} keys")?;
        }
        if self.invalid > 0 {
            writeln!(f, "{} are no keys for this table", self.invalid)?;
        }
        write!(
            f,
            "{} keys; the fullest shard has {:.2} times the mean",
            self.keys,
            self.worst()
        )
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
