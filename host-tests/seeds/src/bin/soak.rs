//! Plays seeds until one fails: `soak FILTER COUNT [START]`. Without a start, one is drawn.

use sluice_seeds::sweep::{FILTERS, sweep};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some(filter) = FILTERS.into_iter().find(|filter| filter.name == name) else {
        println!(
            "which filter? {}",
            FILTERS.map(|filter| filter.name).join(", ")
        );
        return ExitCode::FAILURE;
    };
    let mut numbers = arguments.map(|text| text.parse::<u64>().expect("a number"));
    let count = numbers.next().unwrap_or(1_000_000);
    let start = numbers.next().unwrap_or_else(|| fastrand::u64(..1 << 48));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let begun = Instant::now();
    println!("{name}: {count} seeds from {start} on, with {threads} threads");
    let progress = |done: u64| {
        if done.is_multiple_of(1000) {
            println!("{done} seeds in {} s", begun.elapsed().as_secs());
        }
    };
    match sweep(
        filter,
        start,
        start.saturating_add(count),
        threads,
        progress,
    ) {
        Ok(()) => {
            println!("no seed of {count} breaks a promise");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}", failure.text);
            ExitCode::FAILURE
        }
    }
}
