//! Where a key is: pins first, then the slot's shard, as the migration has it.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::migration::{Migration, Stage};
use crate::ring::Table;

/// A shard as a directory knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    /// Where it is, if the gateway is to know.
    pub zone: Option<String>,
    /// Requests that may be under way at once; none is no cap.
    pub max_in_flight: Option<u32>,
}

/// The policy's author chooses the entries and clients only look them up, so the hasher needs no secret.
pub type Pins = HashMap<Vec<u8>, u16, BuildHasherDefault<ahash::AHasher>>;

/// Everything that says where a key is.
#[derive(Debug, Clone)]
pub struct Directory {
    pub name: String,
    /// Those of the table, and behind them those that only the migration's table has.
    pub hosts: Vec<Host>,
    pub table: Table,
    pub pins: Pins,
    pub migration: Option<Migration>,
}

/// Where a key is. Shards are given by their places in the directory's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub shard: u16,
    /// None of a pinned key.
    pub slot: Option<u32>,
    pub stage: Stage,
    /// The shard that writes go to as well.
    pub also: Option<u16>,
}

impl Directory {
    /// Where a normalised key is.
    #[must_use]
    pub fn locate(&self, key: &[u8]) -> Place {
        // Most directories have no pins: nothing is hashed then.
        if !self.pins.is_empty()
            && let Some(shard) = self.pins.get(key)
        {
            return self.fixed(*shard);
        }
        self.of_slot(self.table.slot(key))
    }

    /// Where the keys of a slot are.
    #[must_use]
    pub fn of_slot(&self, slot: u32) -> Place {
        let old = self.table.shard(slot);
        let mut place = Place {
            shard: old,
            slot: Some(slot),
            stage: Stage::Before,
            also: None,
        };
        if let Some(migration) = &self.migration {
            place.stage = migration.stage(slot);
            match place.stage {
                Stage::Before | Stage::Frozen => {}
                Stage::DualWrite => place.also = Some(migration.shard(slot)),
                Stage::Moved => {
                    place.shard = migration.shard(slot);
                    place.also = migration.write_back.then_some(old);
                }
            }
        }
        place
    }

    /// A place that is not of a key: where a request goes that has none. `random` picks the slot, so shards get their
    /// shares.
    #[must_use]
    pub fn spread(&self, random: u64) -> Place {
        let slots = self.table.slots().len().max(1) as u64;
        let place = self.of_slot(u32::try_from(random % slots).unwrap_or(0));
        // No key's data is at stake, so it is none of the migration's business.
        self.fixed(place.shard)
    }

    /// A shard that is named.
    #[must_use]
    pub fn fixed(&self, shard: u16) -> Place {
        Place {
            shard,
            slot: None,
            stage: Stage::Before,
            also: None,
        }
    }

    #[must_use]
    pub fn host(&self, shard: u16) -> Option<&Host> {
        self.hosts.get(usize::from(shard))
    }

    /// The name of a shard; empty of one that is not there.
    #[must_use]
    pub fn name_of(&self, shard: u16) -> &str {
        self.host(shard).map_or("", |host| &host.name)
    }

    /// The place of a shard in the list.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u16> {
        let place = self.hosts.iter().position(|host| host.name == name)?;
        u16::try_from(place).ok()
    }

    /// As it will be when its migration is done; none without one.
    #[must_use]
    pub fn migrated(&self) -> Option<Self> {
        let table = self.migration.as_ref()?.to().clone();
        Some(Self {
            table,
            migration: None,
            ..self.clone()
        })
    }

    /// How many slots each shard has now, in the order of the list.
    #[must_use]
    pub fn shares(&self) -> Vec<u32> {
        let mut shares = vec![0; self.hosts.len()];
        for slot in 0..u32::try_from(self.table.slots().len()).unwrap_or(u32::MAX) {
            if let Some(share) = shares.get_mut(usize::from(self.of_slot(slot).shard)) {
                *share += 1;
            }
        }
        shares
    }
}
