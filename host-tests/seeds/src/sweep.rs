//! Many seeds, on several threads.

use crate::modules::built;
use crate::planted::Table;
use crate::violation::Violation;
use sluice_embed::Module;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Lines of the trace that a failure shows.
const LINES: usize = 60;

/// A filter, and how it is played.
pub struct Filter {
    /// Its crate, and its file in `dist/`.
    pub name: &'static str,
    /// Plays a seed. The number chooses a bug of a build that has some.
    pub play: fn(&Module, u64, Option<usize>) -> Played,
    /// What a seed draws, for who looks into a failure.
    pub about: fn(u64) -> String,
    /// The bugs that are planted into it.
    pub bugs: Table,
}

/// All of them.
pub const FILTERS: [&Filter; 3] = [
    &crate::rate_limit::FILTER,
    &crate::idempotency::FILTER,
    &crate::coalesce::FILTER,
];

/// What came of a seed.
#[derive(Debug, Clone)]
pub struct Played {
    pub seed: u64,
    pub trace: String,
    /// Of the trace.
    pub hash: u64,
    pub violations: Vec<Violation>,
}

/// A seed that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    pub seed: u64,
    pub text: String,
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
    filter: &Filter,
    start: u64,
    end: u64,
    threads: usize,
    done: impl Fn(u64) + Sync,
) -> Result<(), Failure> {
    let module = built(filter.name);
    let next = AtomicU64::new(start);
    let stopped = AtomicBool::new(false);
    let work = || {
        while !stopped.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            if let Some(failure) = try_seed(filter, &module, seed) {
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

fn try_seed(filter: &Filter, module: &Module, seed: u64) -> Option<Failure> {
    let played = (filter.play)(module, seed, None);
    if !played.violations.is_empty() {
        return Some(failure(filter, &played));
    }
    if seed.is_multiple_of(TWICE) && (filter.play)(module, seed, None).hash != played.hash {
        let text = format!("two runs of seed {seed} differ\n{}", replay(filter, seed));
        return Some(Failure { seed, text });
    }
    None
}

/// The test of a filter: the seed that `SEED` names, with its trace, or so many.
///
/// # Panics
/// When a promise is broken.
pub fn test(filter: &Filter, seeds: u64) {
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        let played = (filter.play)(&built(filter.name), seed, None);
        println!("{}\n{}", played.trace, (filter.about)(seed));
        let failed = !played.violations.is_empty();
        assert!(!failed, "{}", failure(filter, &played).text);
        return;
    }
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    if let Err(failure) = sweep(filter, 0, seeds, threads, |_| {}) {
        panic!("{}", failure.text);
    }
}

/// The command that plays one seed.
fn replay(filter: &Filter, seed: u64) -> String {
    let module = filter.name.replace('-', "_");
    format!(
        "\n    SEED={seed} cargo test -p sluice-seeds --test seeds {module}::no_seed -- --nocapture\n"
    )
}

/// What to say of a run that broke promises.
#[must_use]
pub fn failure(filter: &Filter, played: &Played) -> Failure {
    let seed = played.seed;
    let mut text = format!(
        "seed {seed} breaks promises. To replay it:\n{}\n",
        replay(filter, seed)
    );
    let lines = played.trace.lines().filter(|line| !line.ends_with(" tick"));
    let lines: Vec<&str> = lines.collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        text.push_str(line);
        text.push('\n');
    }
    for Violation {
        invariant,
        text: what,
    } in played.violations.iter().take(10)
    {
        text.push_str(&format!("\n{invariant:?}: {what}"));
    }
    Failure { seed, text }
}
