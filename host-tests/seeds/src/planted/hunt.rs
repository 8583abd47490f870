//! Looks for planted bugs.

use super::{Bug, build, numbered};
use crate::sweep::{Filter, failure};
use crate::violation::Violation;
use sluice_embed::Module;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the filters with the bugs are; built once for all hunts of a process.
static BUILT: LazyLock<PathBuf> = LazyLock::new(build);

/// Seeds that the same build is tried with while no bug is switched on.
const SOUND: u64 = 100;

/// The first seed that catches a bug by a promise which it breaks, and that promise.
fn caught(
    filter: &Filter,
    module: &Module,
    number: usize,
    bug: &Bug,
    seeds: u64,
) -> Option<(u64, Violation)> {
    (0..seeds).find_map(|seed| {
        let played = (filter.play)(module, seed, Some(number));
        let violation = played
            .violations
            .into_iter()
            .find(|found| bug.breaks.contains(&found.invariant))?;
        Some((seed, violation))
    })
}

/// Has each bug of the filter be caught by one of so many seeds, and sees that without one nothing is found.
///
/// # Panics
/// When a bug is not caught.
pub fn hunt(filter: &Filter, seeds: u64) {
    let file = format!("{}.wasm", filter.name.replace('-', "_"));
    let module = crate::modules::compile(&BUILT.join(file));
    let bugs: Vec<_> = numbered(filter).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut missed = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((number, bug)) = bugs.get(place) else {
                return missed;
            };
            match caught(filter, &module, *number, bug, seeds) {
                Some((seed, violation)) => println!(
                    "{}: seed {seed}, {:?}: {}",
                    bug.name, violation.invariant, violation.text
                ),
                None => missed.push(bug.name),
            }
        }
    };
    let missed: Vec<&str> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(missed, [""; 0], "bugs that no seed has caught");
    for seed in 0..SOUND {
        let played = (filter.play)(&module, seed, Some(0));
        let sound = played.violations.is_empty();
        assert!(sound, "without a bug: {}", failure(filter, &played).text);
    }
}
