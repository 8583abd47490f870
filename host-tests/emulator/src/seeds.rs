//! Runs a test for many seeds, and says how to replay the one that failed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Calls `test` with the seeds 0 to `count`, or only with that of the environment variable `SEED`. Where it panics, the
/// command that replays the seed is printed: `SEED=123 cargo test -p <package> <test>`.
///
/// # Panics
/// When `test` does, or `SEED` is no number.
pub fn seeds(package: &str, name: &str, count: u64, mut test: impl FnMut(u64)) {
    let chosen = match std::env::var("SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    };
    for seed in chosen {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            eprintln!(
                "\nseed {seed} failed. To replay it:\n\n    SEED={seed} cargo test -p {package} {name}\n"
            );
            resume_unwind(panic);
        }
    }
}
