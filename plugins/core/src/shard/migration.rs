//! A change of the table step by step: the slots that differ form a line, and the line is taken from its start.
//!
//! The order of the line is drawn by a hash of the slots' numbers, so it is the same in every gateway, stays the same
//! while the stages grow, and each part of it is a fair sample of all shards. The borders between the stages are
//! rounded down each by itself (`moved`, `moved + frozen`, and so on, of all that differ), so what was frozen is
//! exactly what moves next.

use crate::ring::{Table, hash::xxh64};

/// Parts of the whole are told in these.
pub const WHOLE: u32 = 10_000;

/// How much of the line each stage has, in ten-thousandths; together at most the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    pub moved: u32,
    pub frozen: u32,
    pub dual_write: u32,
}

/// What a frozen slot refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Freeze {
    #[default]
    All,
    Writes,
}

/// How far a slot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It does not move, or not yet.
    Before,
    /// Still there; its writes go to the new shard too.
    DualWrite,
    /// Being cut over.
    Frozen,
    /// At its new shard.
    Moved,
}

/// A table on its way to another.
#[derive(Debug, Clone)]
pub struct Migration {
    to: Table,
    stages: Vec<Stage>,
    /// Slots that differ.
    pub differing: u32,
    pub freeze: Freeze,
    /// Moved slots tell their old shard, so that there is a way back.
    pub write_back: bool,
    /// Whole seconds that a request to a frozen slot is told to wait.
    pub retry_after: u64,
}

/// Draws the order of the line: not the seed that fills tables, or the line would follow a ring.
const SEED: u64 = 0x6c69_6e65;

impl Migration {
    /// `to` has the slots of `from`, and its shards' numbers are those of the same list.
    #[must_use]
    pub fn new(from: &Table, to: Table, stages: Stages) -> Self {
        let pairs = from.slots().iter().zip(to.slots());
        let mut line: Vec<(u64, u32)> = (0_u32..)
            .zip(pairs)
            .filter(|(_, (old, new))| old != new)
            .map(|(slot, _)| (xxh64(&slot.to_be_bytes(), SEED), slot))
            .collect();
        line.sort_unstable();
        let part = |parts: u32| {
            let slots = line.len() as u64 * u64::from(parts.min(WHOLE)) / u64::from(WHOLE);
            usize::try_from(slots).unwrap_or(usize::MAX)
        };
        let moved = part(stages.moved);
        let frozen = part(stages.moved + stages.frozen);
        let dual = part(stages.moved + stages.frozen + stages.dual_write);
        let mut of_slots = vec![Stage::Before; from.slots().len()];
        for (place, (_, slot)) in line.iter().enumerate() {
            if let Some(stage) = of_slots.get_mut(*slot as usize) {
                *stage = match place {
                    _ if place < moved => Stage::Moved,
                    _ if place < frozen => Stage::Frozen,
                    _ if place < dual => Stage::DualWrite,
                    _ => Stage::Before,
                };
            }
        }
        Self {
            to,
            stages: of_slots,
            differing: u32::try_from(line.len()).unwrap_or(u32::MAX),
            freeze: Freeze::default(),
            write_back: false,
            retry_after: 1,
        }
    }

    /// The slot's stage.
    #[must_use]
    pub fn stage(&self, slot: u32) -> Stage {
        self.stages
            .get(slot as usize)
            .copied()
            .unwrap_or(Stage::Before)
    }

    /// The slot's shard when all is done.
    #[must_use]
    pub fn shard(&self, slot: u32) -> u16 {
        self.to.shard(slot)
    }

    /// The table that it leads to.
    #[must_use]
    pub fn to(&self) -> &Table {
        &self.to
    }

    /// How many slots are at a stage; of [`Stage::Before`], those that will move.
    #[must_use]
    pub fn slots_at(&self, stage: Stage) -> u32 {
        let at = |wanted| {
            let slots = self.stages.iter().filter(|stage| **stage == wanted).count();
            u32::try_from(slots).unwrap_or(u32::MAX)
        };
        match stage {
            Stage::Before => {
                let others = [Stage::DualWrite, Stage::Frozen, Stage::Moved];
                self.differing - others.map(at).iter().sum::<u32>()
            }
            stage => at(stage),
        }
    }
}
