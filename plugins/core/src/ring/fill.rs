//! The ways to give each slot a shard. They differ in what moves when the shards change, and in what they cost to build.

use super::hash::xxh64;
use super::table::Shard;

/// Which shard gets which slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Jump consistent hashing (Lamping and Veach) of the slot's number. A shard that is added at the end of the list
    /// takes its share of every other, and nothing moves between those. Shards come and go at the end only, and weigh
    /// the same.
    Jump,
    /// Weighted rendezvous: each shard draws a number for each slot, and the highest has it. Whichever shard is added or
    /// removed, no slot moves between the others. Costs slots x shards to build.
    Rendezvous,
    /// A ring of so many points for each unit of weight, at xxHash64 of `name_0`, `name_1`, and so on. Few points are a
    /// skewed ring.
    Ring { points: u32 },
    /// Maglev: each shard in its turn takes the next free slot of its own permutation. The most even; a few slots move
    /// between the others when the shards change. The number of slots must be prime.
    Maglev,
}

impl Fill {
    /// The shard of each slot, by its place in `shards`: at least one of them, with a weight.
    pub(super) fn slots(self, shards: &[Shard], slots: u32) -> Vec<u16> {
        match self {
            Self::Jump => jump_all(shards, slots),
            Self::Rendezvous => rendezvous(shards, slots),
            Self::Ring { points } => ring(shards, slots, points),
            Self::Maglev => maglev(shards, slots),
        }
    }
}

/// The bucket of `key` among `buckets`, of which there is at least one.
#[must_use]
pub(super) fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0_u64, 0_u64);
    while next < u64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // Both are exact: the first is below 2^32, the second a power of two by a number below 2^31.
        let scale = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * scale) as u64;
    }
    u32::try_from(bucket).unwrap_or(0)
}

fn jump_all(shards: &[Shard], slots: u32) -> Vec<u16> {
    let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    (0..slots)
        .map(|slot| index(jump(slot_hash(slot, 0), count) as usize))
        .collect()
}

fn rendezvous(shards: &[Shard], slots: u32) -> Vec<u16> {
    let seeds: Vec<u64> = shards
        .iter()
        .map(|shard| xxh64(shard.name.as_bytes(), 0))
        .collect();
    let drawn = |slot: u32| {
        let mut best = (f64::INFINITY, 0);
        for (place, (shard, seed)) in shards.iter().zip(&seeds).enumerate() {
            // Uniform in (0, 1), with all the bits that a double holds.
            let uniform = ((slot_hash(slot, *seed) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            // The wait for a shard's first arrival is exponential, at the rate of its weight: the first to arrive has it.
            let wait = -libm::log(uniform) / f64::from(shard.weight);
            if shard.weight > 0 && wait < best.0 {
                best = (wait, place);
            }
        }
        index(best.1)
    };
    (0..slots).map(drawn).collect()
}

fn ring(shards: &[Shard], slots: u32, points: u32) -> Vec<u16> {
    let mut ring = Vec::new();
    for (place, shard) in shards.iter().enumerate() {
        for point in 0..points.saturating_mul(shard.weight) {
            let name = format!("{}_{point}", shard.name);
            ring.push((xxh64(name.as_bytes(), 0), index(place)));
        }
    }
    ring.sort_unstable();
    let owner = |slot| {
        let hash = slot_hash(slot, 0);
        let at = ring.partition_point(|(point, _)| *point < hash);
        ring.get(at).or(ring.first()).map_or(0, |(_, shard)| *shard)
    };
    (0..slots).map(owner).collect()
}

fn maglev(shards: &[Shard], slots: u32) -> Vec<u16> {
    struct Turn {
        next: u64,
        skip: u64,
        /// A shard takes a slot in each round of which this is due.
        due: u64,
    }
    let size = u64::from(slots);
    let heaviest = shards.iter().map(|shard| shard.weight).max().unwrap_or(1);
    let mut turns: Vec<Turn> = shards
        .iter()
        .map(|shard| Turn {
            next: xxh64(shard.name.as_bytes(), 0) % size,
            skip: xxh64(shard.name.as_bytes(), 1) % size.saturating_sub(1).max(1) + 1,
            due: 0,
        })
        .collect();
    let mut table: Vec<Option<u16>> = vec![None; slots as usize];
    let (mut taken, mut round) = (0, 1_u64);
    while taken < size {
        for (place, (shard, turn)) in shards.iter().zip(&mut turns).enumerate() {
            if round * u64::from(shard.weight) <= turn.due {
                continue;
            }
            turn.due += u64::from(heaviest);
            // A permutation visits every slot, so a free one comes up while there is any.
            for _ in 0..size {
                let at = turn.next as usize;
                turn.next = (turn.next + turn.skip) % size;
                if let Some(free @ None) = table.get_mut(at) {
                    *free = Some(index(place));
                    taken += 1;
                    break;
                }
            }
            if taken == size {
                break;
            }
        }
        round += 1;
    }
    table.into_iter().map(Option::unwrap_or_default).collect()
}

fn slot_hash(slot: u32, seed: u64) -> u64 {
    xxh64(&slot.to_be_bytes(), seed)
}

fn index(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(0)
}
