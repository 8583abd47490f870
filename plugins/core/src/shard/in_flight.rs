//! How many requests are under way at each shard, counted together by all workers of the process.
//!
//! Each shard has one record in shared data with an entry for each worker: who it is, how many it has, and until when
//! that counts. A worker writes what it has and not what it adds, so a write that was lost is made good by the next;
//! and what a crashed worker has left counts no longer than its lease.

use crate::gcra::{PS_PER_S, Ps};
use crate::slots::{ABSENT, SharedData};

/// How long an entry counts that nobody renews.
pub const LEASE: Ps = 10 * PS_PER_S;

/// A swap that loses this often in a row means another worker wins each time: far beyond what contention causes.
const MAX_TRIES: u32 = 64;

const PS_PER_MS: Ps = PS_PER_S / 1_000;

/// The entry of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    worker: u64,
    count: u32,
    /// Milliseconds since the epoch.
    ends: u64,
}

const ENTRY: usize = 20;

/// Who is let in to the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    Open,
    /// As many are under way as may be.
    Full,
}

/// The counts of one worker. Shards are given by number, as they were added.
#[derive(Debug)]
pub struct InFlight<S> {
    store: S,
    worker: u64,
    shards: Vec<Counted>,
}

#[derive(Debug)]
struct Counted {
    key: String,
    /// This worker's own.
    own: u32,
    /// The record does not say so: a write was lost.
    stale: bool,
    /// When the entry in the record ends.
    ends: Ps,
}

impl<S: SharedData> InFlight<S> {
    /// `worker` is a random number: a worker that is started again is another one.
    pub fn new(store: S, worker: u64) -> Self {
        Self {
            store,
            worker,
            shards: Vec::new(),
        }
    }

    /// The number of a shard of a table.
    pub fn add(&mut self, table: &str, shard: &str) -> usize {
        let key = format!("sluice/in-flight/{table}/{shard}");
        if let Some(known) = self.shards.iter().position(|shard| shard.key == key) {
            return known;
        }
        self.shards.push(Counted {
            key,
            own: 0,
            stale: false,
            ends: 0,
        });
        self.shards.len() - 1
    }

    /// Lets one in, if fewer than `most` are under way.
    pub fn enter(&mut self, shard: usize, most: u32, now: Ps) -> Entrance {
        let Some(counted) = self.shards.get_mut(shard) else {
            return Entrance::Open;
        };
        let own = counted.own.saturating_add(1);
        let entered = write(&self.store, self.worker, counted, own, now, |others| {
            others < u64::from(most).saturating_sub(u64::from(own - 1))
        });
        match entered {
            Ok(true) => counted.own = own,
            Ok(false) => return Entrance::Full,
            // Nobody knows: one more than may be is better than a shard that nobody gets to.
            Err(Contended) => {
                counted.own = own;
                counted.stale = true;
            }
        }
        Entrance::Open
    }

    /// One has left.
    pub fn leave(&mut self, shard: usize, now: Ps) {
        if let Some(counted) = self.shards.get_mut(shard) {
            let own = counted.own.saturating_sub(1);
            counted.own = own;
            counted.stale = write(&self.store, self.worker, counted, own, now, |_| true).is_err();
        }
    }

    /// Renews what is about to end, and writes what could not be written before.
    pub fn tick(&mut self, now: Ps) {
        for counted in &mut self.shards {
            let ending = counted.own > 0 && counted.ends < now + LEASE / 2;
            if ending || counted.stale {
                let own = counted.own;
                counted.stale =
                    write(&self.store, self.worker, counted, own, now, |_| true).is_err();
            }
        }
    }

    /// This worker's own.
    #[must_use]
    pub fn own(&self, shard: usize) -> u32 {
        self.shards.get(shard).map_or(0, |counted| counted.own)
    }

    /// Those of all workers, as the record says.
    #[must_use]
    pub fn total(&self, shard: usize, now: Ps) -> u64 {
        let record = self
            .shards
            .get(shard)
            .and_then(|counted| self.store.get(&counted.key));
        record.map_or(0, |(record, _)| {
            entries(&record)
                .filter(|entry| counts(entry, now))
                .map(|entry| u64::from(entry.count))
                .sum()
        })
    }

    /// The plugin is going: nothing of it is under way any more.
    pub fn close(&mut self, now: Ps) {
        for counted in &mut self.shards {
            if counted.own > 0 || counted.stale {
                counted.own = 0;
                let _ = write(&self.store, self.worker, counted, 0, now, |_| true);
            }
        }
    }
}

struct Contended;

/// Writes that this worker has `own`, if `allowed` agrees to what the others have.
fn write(
    store: &impl SharedData,
    worker: u64,
    counted: &mut Counted,
    own: u32,
    now: Ps,
    allowed: impl Fn(u64) -> bool,
) -> Result<bool, Contended> {
    let ends = now + LEASE;
    for _ in 0..MAX_TRIES {
        let (record, version) = store
            .get(&counted.key)
            .unwrap_or_else(|| (Vec::new(), ABSENT));
        let mut next = Vec::with_capacity(record.len() + ENTRY);
        let mut others = 0;
        for entry in entries(&record) {
            if entry.worker != worker && counts(&entry, now) {
                others += u64::from(entry.count);
                append(&mut next, entry);
            }
        }
        if !allowed(others) {
            return Ok(false);
        }
        if own > 0 {
            let ends = u64::try_from(ends / PS_PER_MS).unwrap_or(u64::MAX);
            append(
                &mut next,
                Entry {
                    worker,
                    count: own,
                    ends,
                },
            );
        }
        if store.set(&counted.key, &next, version).is_ok() {
            counted.ends = ends;
            return Ok(true);
        }
    }
    Err(Contended)
}

fn counts(entry: &Entry, now: Ps) -> bool {
    Ps::from(entry.ends) > now / PS_PER_MS
}

fn entries(record: &[u8]) -> impl Iterator<Item = Entry> {
    record.chunks_exact(ENTRY).filter_map(|entry| {
        let (worker, rest) = entry.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        Some(Entry {
            worker: u64::from_le_bytes(*worker),
            count: u32::from_le_bytes(*count),
            ends: u64::from_le_bytes(*rest.first_chunk()?),
        })
    })
}

fn append(record: &mut Vec<u8>, entry: Entry) {
    record.extend_from_slice(&entry.worker.to_le_bytes());
    record.extend_from_slice(&entry.count.to_le_bytes());
    record.extend_from_slice(&entry.ends.to_le_bytes());
}

#[cfg(test)]
#[path = "in_flight_tests.rs"]
mod tests;
