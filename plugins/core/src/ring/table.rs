//! The table of slots, and what is wrong with one.

use super::{Fill, Hash};
use std::fmt;

pub const MAX_SHARDS: usize = 4096;
pub const MAX_SLOTS: u32 = 1 << 20;

/// A part of the data, with a database (or a cell) of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub name: String,
    /// Its share of the slots, relative to the others'.
    pub weight: u32,
}

/// Slots `from` to `to`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub from: u32,
    pub to: u32,
    /// The shard's place in the list.
    pub shard: u16,
}

/// Why a table cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mistake {
    NoShards,
    TooManyShards(usize),
    Slots(u32),
    /// The hash has fewer values than the table has slots.
    TooManySlots(u32),
    NoWeight,
    Weights,
    NoPoints,
    TooManyPoints(u64),
    NotPrime(u32),
    /// A slot that no range has, or two have.
    Uncovered(u32),
    Overlap(u32),
    Beyond(u32),
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoShards => f.write_str("found no shards, expected at least one"),
            Self::TooManyShards(found) => {
                write!(f, "found {found} shards, expected at most {MAX_SHARDS}")
            }
            Self::Slots(found) => write!(f, "found {found} slots, expected 1 to {MAX_SLOTS}"),
            Self::TooManySlots(values) => {
                write!(
                    f,
                    "expected at most {values} slots: the hash has no more values"
                )
            }
            Self::NoWeight => f.write_str("found no weight above 0, expected at least one"),
            Self::Weights => {
                f.write_str("found different weights, expected all the same: jump has no weights")
            }
            Self::NoPoints => f.write_str("found a ring of 0 points, expected at least 1"),
            Self::TooManyPoints(found) => {
                write!(
                    f,
                    "found a ring of {found} points, expected at most {MAX_POINTS}"
                )
            }
            Self::NotPrime(found) => {
                write!(
                    f,
                    "found {found} slots, expected a prime: maglev needs one, as 65537"
                )
            }
            Self::Uncovered(slot) => write!(f, "found no shard for slot {slot}"),
            Self::Overlap(slot) => write!(f, "found two shards for slot {slot}"),
            Self::Beyond(slot) => write!(f, "found slot {slot}, which the table does not have"),
        }
    }
}

/// Points of a whole ring.
const MAX_POINTS: u64 = 1 << 20;

/// The shard of every slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    hash: Hash,
    slots: Vec<u16>,
}

impl Table {
    /// # Errors
    /// When the shards do not fit the way they are given slots.
    pub fn fill(hash: Hash, slots: u32, shards: &[Shard], fill: Fill) -> Result<Self, Mistake> {
        check(hash, slots, shards.len())?;
        let weights = || shards.iter().map(|shard| u64::from(shard.weight));
        if weights().all(|weight| weight == 0) {
            return Err(Mistake::NoWeight);
        }
        match fill {
            Fill::Jump => {
                let mut weights = weights();
                let first = weights.next();
                if weights.any(|weight| Some(weight) != first) {
                    return Err(Mistake::Weights);
                }
            }
            Fill::Ring { points: 0 } => return Err(Mistake::NoPoints),
            Fill::Ring { points } => {
                let all = weights().sum::<u64>().saturating_mul(points.into());
                if all > MAX_POINTS {
                    return Err(Mistake::TooManyPoints(all));
                }
            }
            Fill::Maglev if !is_prime(slots) => return Err(Mistake::NotPrime(slots)),
            Fill::Maglev | Fill::Rendezvous => {}
        }
        Ok(Self {
            hash,
            slots: fill.slots(shards, slots),
        })
    }

    /// A table by list. Every slot has exactly one range.
    ///
    /// # Errors
    /// When one has none, or two.
    pub fn ranges(
        hash: Hash,
        slots: u32,
        shards: usize,
        ranges: &[Range],
    ) -> Result<Self, Mistake> {
        check(hash, slots, shards)?;
        let mut table: Vec<Option<u16>> = vec![None; slots as usize];
        for range in ranges {
            for slot in range.from..=range.to {
                match table.get_mut(slot as usize) {
                    None => return Err(Mistake::Beyond(slot)),
                    Some(Some(_)) => return Err(Mistake::Overlap(slot)),
                    Some(free) => *free = Some(range.shard),
                }
            }
        }
        let complete = (0..slots)
            .zip(table)
            .map(|(slot, shard)| shard.ok_or(Mistake::Uncovered(slot)));
        Ok(Self {
            hash,
            slots: complete.collect::<Result<_, _>>()?,
        })
    }

    /// The same with the shards at other places of a list: `places` has the new one of each.
    #[must_use]
    pub fn renumbered(mut self, places: &[u16]) -> Self {
        for shard in &mut self.slots {
            *shard = places.get(usize::from(*shard)).copied().unwrap_or_default();
        }
        self
    }

    /// The slot of a key.
    #[must_use]
    pub fn slot(&self, key: &[u8]) -> u32 {
        let slots = self.slots.len().max(1) as u64;
        u32::try_from(self.hash.of(key) % slots).unwrap_or(0)
    }

    /// The place of a slot's shard in the list.
    #[must_use]
    pub fn shard(&self, slot: u32) -> u16 {
        self.slots.get(slot as usize).copied().unwrap_or(0)
    }

    #[must_use]
    pub fn slots(&self) -> &[u16] {
        &self.slots
    }

    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// How many slots each of so many shards has.
    #[must_use]
    pub fn shares(&self, shards: usize) -> Vec<u32> {
        let mut shares = vec![0; shards];
        for shard in &self.slots {
            if let Some(share) = shares.get_mut(usize::from(*shard)) {
                *share += 1;
            }
        }
        shares
    }
}

fn check(hash: Hash, slots: u32, shards: usize) -> Result<(), Mistake> {
    if shards == 0 {
        return Err(Mistake::NoShards);
    }
    if shards > MAX_SHARDS {
        return Err(Mistake::TooManyShards(shards));
    }
    if slots == 0 || slots > MAX_SLOTS {
        return Err(Mistake::Slots(slots));
    }
    if hash.values() > 0 && slots > hash.values() {
        return Err(Mistake::TooManySlots(hash.values()));
    }
    Ok(())
}

fn is_prime(number: u32) -> bool {
    let divisors = 2..;
    number > 1
        && divisors
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}
