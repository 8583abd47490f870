//! Builds a filter from a list of all ids that exist.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write, stdin};

use sluice_core::bloom::{Filter, MAX_BYTES, Shape};

use super::lines;
use super::store::Store;
use crate::Refusal;

/// Room for those that come before the next build, as a part of those that are there.
const ROOM: u64 = 10;
/// A list with less than this part of the ids that the last one had is more likely cut short.
const LEAST: u64 = 2;

pub fn run(
    store: &mut Store,
    rate: f64,
    capacity: Option<u64>,
    shrink: bool,
) -> Result<(), Refusal> {
    let before = store.before()?;
    let (mut filter, listed) = match capacity {
        Some(capacity) => {
            let mut filter = empty(capacity, rate, before.now)?;
            let listed = fill(&mut filter, stdin().lock())?;
            (filter, listed)
        }
        None => {
            // How large it must be is known when all have been seen.
            let (spool, count) = spool()?;
            let known = count + store.count_added()?;
            let mut filter = empty(known + known / ROOM, rate, before.now)?;
            let listed = fill(&mut filter, spool)?;
            (filter, listed)
        }
    };
    if listed == 0 {
        return Err(Refusal::No(
            "found no id, expected at least one: with an empty filter every request is refused"
                .to_owned(),
        ));
    }
    let was = before.ids().unwrap_or(0);
    if listed < was / LEAST && !shrink {
        return Err(Refusal::No(format!(
            "found {listed} ids, expected at least half of the {was} of the filter that is there: is the list whole? If so, say --shrink"
        )));
    }
    let mut came = 0;
    store.each_added(|id| {
        came += 1;
        filter.insert(id);
    })?;
    store.replace(&filter, &before)?;
    let (shape, now) = (filter.shape(), filter.false_positives());
    println!(
        "{}: {listed} ids, and {came} that came since the last build",
        store.keys.filter
    );
    println!("{} bytes, {} hashes", shape.bytes(), shape.hashes());
    println!(
        "false positives: {} of those that do not exist now, {} at {} ids",
        percent(now),
        percent(rate),
        capacity_of(shape, rate)
    );
    if now > rate * 2.0 {
        eprintln!(
            "there are more ids than it was made for: more requests pass; build it with a larger --capacity"
        );
    }
    Ok(())
}

fn empty(capacity: u64, rate: f64, now: u64) -> Result<Filter, Refusal> {
    let shape = Shape::of(capacity, rate).ok_or_else(|| {
        Refusal::No(format!(
            "found {capacity} ids at a rate of {rate}, expected a filter of at most {MAX_BYTES} bytes"
        ))
    })?;
    let mut salt = [0; 8];
    getrandom::fill(&mut salt)
        .map_err(|error| Refusal::No(format!("no random numbers: {error}")))?;
    Ok(Filter::new(shape, u64::from_le_bytes(salt), now))
}

fn fill(filter: &mut Filter, from: impl Read) -> Result<u64, Refusal> {
    lines::each(from, |id| {
        filter.insert(&id);
        Ok(())
    })?;
    Ok(filter.ids())
}

/// The list in a file without a name, and how many lines it has.
fn spool() -> Result<(File, u64), Refusal> {
    let unwritable = |error| Refusal::No(format!("a temporary file: {error}"));
    let file = tempfile::tempfile().map_err(unwritable)?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let (mut from, mut piece, mut lines) = (stdin().lock(), vec![0; 1 << 16], 1);
    loop {
        let read = from.read(&mut piece);
        let read = read.map_err(|error| Refusal::No(format!("the list of ids: {error}")))?;
        let Some(part) = piece.get(..read).filter(|part| !part.is_empty()) else {
            break;
        };
        lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        writer.write_all(part).map_err(unwritable)?;
    }
    let mut file = writer
        .into_inner()
        .map_err(|error| unwritable(error.into_error()))?;
    file.rewind().map_err(unwritable)?;
    Ok((file, lines))
}

/// For how many ids a filter is made.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for people to read"
)]
fn capacity_of(shape: Shape, rate: f64) -> u64 {
    let per_id = -rate.ln() / (std::f64::consts::LN_2 * std::f64::consts::LN_2);
    (shape.bits() as f64 / per_id) as u64
}

fn percent(part: f64) -> String {
    format!("{:.4}%", part * 100.0)
}
