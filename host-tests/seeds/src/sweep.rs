//! Many seeds, on several threads.

use crate::Case;
use crate::check::{Violation, check};
use crate::run::{Run, run};
use sluice_embed::Module;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Lines of the trace that a failure shows.
const LINES: usize = 60;

/// A seed that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    pub seed: u64,
    pub text: String,
}

/// Plays a seed.
#[must_use]
pub fn play(module: &Module, seed: u64) -> (Run, Vec<Violation>) {
    let run = run(module, Case::draw(seed), None);
    let violations = check(&run);
    (run, violations)
}

/// Plays seeds from `start` to `end` on so many threads, and stops at the first that fails. `done` is told how many
/// are done.
///
/// # Errors
/// The seed that failed, and how.
///
/// # Panics
/// When a run does.
pub fn sweep(
    module: &Module,
    start: u64,
    end: u64,
    threads: usize,
    done: impl Fn(u64) + Sync,
) -> Result<(), Failure> {
    let next = AtomicU64::new(start);
    let stopped = AtomicBool::new(false);
    let work = || {
        while !stopped.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            if let Some(failure) = try_seed(module, seed) {
                stopped.store(true, Ordering::Relaxed);
                return Some(failure);
            }
            done(seed - start + 1);
        }
        None
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let failures = threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap());
        failures
            .min_by_key(|failure| failure.seed)
            .map_or(Ok(()), Err)
    })
}

/// One of so many seeds is played twice, to see that nothing but the seed decides.
const TWICE: u64 = 40;

fn try_seed(module: &Module, seed: u64) -> Option<Failure> {
    let (run, violations) = play(module, seed);
    if !violations.is_empty() {
        return Some(failure(&run, &violations));
    }
    if seed.is_multiple_of(TWICE) {
        let (again, _) = play(module, seed);
        if again.hash != run.hash {
            let text = format!("two runs of seed {seed} differ\n{}", replay(seed));
            return Some(Failure { seed, text });
        }
    }
    None
}

/// The command that plays one seed.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("\n    SEED={seed} cargo test -p sluice-seeds --test seeds -- --nocapture\n")
}

/// What to say of a run that broke promises.
#[must_use]
pub fn failure(run: &Run, violations: &[Violation]) -> Failure {
    let seed = run.case.seed;
    let mut text = format!(
        "seed {seed} breaks promises. To replay it:\n{}\n",
        replay(seed)
    );
    let lines: Vec<&str> = run.trace.lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        text.push_str(line);
        text.push('\n');
    }
    for Violation {
        invariant,
        text: what,
    } in violations.iter().take(10)
    {
        text.push_str(&format!("\n{invariant:?}: {what}"));
    }
    Failure { seed, text }
}
