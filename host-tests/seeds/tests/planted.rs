//! The checks find bugs: each one that is planted is caught by the seeds of `seeds.rs`, and without one they pass.

use sluice_embed::Module;
use sluice_seeds::Case;
use sluice_seeds::check::{Violation, check};
use sluice_seeds::planted::{BUGS, Bug, build};
use sluice_seeds::run::run;
use sluice_seeds::sweep::failure;
use std::sync::atomic::{AtomicUsize, Ordering};

/// As many as the filter is tested with.
const SEEDS: u64 = 2000;
/// Seeds that the same build is tried with while no bug is switched on.
const SOUND: u64 = 100;

/// The first seed that catches a bug by a promise which it breaks, and that promise.
fn caught(module: &Module, number: usize, bug: &Bug) -> Option<(u64, Violation)> {
    (0..SEEDS).find_map(|seed| {
        let violations = check(&run(module, Case::draw(seed), Some(number)));
        let violation = violations
            .into_iter()
            .find(|found| bug.breaks.contains(&found.invariant))?;
        Some((seed, violation))
    })
}

#[test]
fn every_planted_bug_is_caught() {
    let module = sluice_seeds::modules::compile(&build());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut missed = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(bug) = BUGS.get(place) else {
                return missed;
            };
            match caught(&module, place + 1, bug) {
                Some((seed, violation)) => {
                    println!(
                        "{}: seed {seed}, {:?}: {}",
                        bug.name, violation.invariant, violation.text
                    );
                }
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
        let run = run(&module, Case::draw(seed), Some(0));
        let violations = check(&run);
        assert!(
            violations.is_empty(),
            "without a bug: {}",
            failure(&run, &violations).text
        );
    }
}
