//! `sluice bloom`: the ids that guards of the coalescing filter let through.

mod build;
mod lines;
mod store;

use std::io::Read;

use self::store::Store;
use crate::Refusal;
use crate::arguments::{Bloom, Where};

/// Ids in one command.
const BATCH: usize = 500;

pub fn run(command: Bloom) -> Result<(), Refusal> {
    match command {
        Bloom::Build {
            place,
            rate,
            capacity,
            shrink,
        } => build::run(&mut open(&place)?, rate, capacity, shrink),
        Bloom::Add { place, ids } => {
            let store = &mut open(&place)?;
            if ids.is_empty() {
                add(store, std::io::stdin().lock())
            } else {
                add(store, ids.join("\n").as_bytes())
            }
        }
    }
}

fn open(place: &Where) -> Result<Store, Refusal> {
    Store::connect(&place.redis, &place.prefix, &place.key)
}

fn add(store: &mut Store, from: impl Read) -> Result<(), Refusal> {
    let (mut batch, mut ids, mut new) = (Vec::with_capacity(BATCH), 0_u64, 0);
    let mut flush = |batch: &mut Vec<Vec<u8>>| {
        if !batch.is_empty() {
            new += store.add(batch)?;
            batch.clear();
        }
        Ok(())
    };
    lines::each(from, |id| {
        ids += 1;
        batch.push(id);
        if batch.len() < BATCH {
            return Ok(());
        }
        flush(&mut batch)
    })?;
    flush(&mut batch)?;
    println!("{ids} ids, {new} of them new");
    Ok(())
}
