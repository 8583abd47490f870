//! The rate-limit filter as users load it keeps its promises, whatever the seed.

use sluice_seeds::modules::rate_limit;
use sluice_seeds::sweep::{failure, play, sweep};

const SEEDS: u64 = 2000;

#[test]
fn no_seed_breaks_a_promise() {
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        let (run, violations) = play(&rate_limit(), seed);
        println!(
            "{}\n{:#?}\n{}",
            run.trace,
            run.case.faults,
            run.case.policy.json()
        );
        assert!(violations.is_empty(), "{}", failure(&run, &violations).text);
        return;
    }
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    if let Err(failure) = sweep(&rate_limit(), 0, SEEDS, threads, |_| {}) {
        panic!("{}", failure.text);
    }
}
