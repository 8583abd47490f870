//! `make demo`: the filters at work on a real Envoy with a real Redis. Prints what happens, checks every number it
//! prints, and ends with an error when one is not what it has to be.
//!
//! The limits are of so many a day, so that no token comes back while a scenario runs.

mod coalesce;
mod idempotency;
mod report;
mod scenarios;
mod shard_route;
mod traffic;

use std::process::ExitCode;
use std::time::Instant;

use report::Report;

fn main() -> ExitCode {
    let start = Instant::now();
    let mut report = Report::default();
    scenarios::run(&mut report);
    idempotency::run(&mut report);
    shard_route::run(&mut report);
    coalesce::run(&mut report);
    if report.end(start.elapsed().as_secs_f64()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
