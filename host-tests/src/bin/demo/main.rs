//! `make demo`: rate limits at work on a real Envoy with a real Redis. Prints what happens, checks every number it
//! prints, and ends with an error when one is not what it has to be.
//!
//! The limits are of so many a day, so that no token comes back while a scenario runs.

mod report;
mod scenarios;
mod traffic;

use std::fs;
use std::panic;
use std::process::{self, ExitCode};
use std::time::Instant;

use report::Report;
use rustix::process::{Pid, Signal, kill_process};

fn main() -> ExitCode {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        usual(info);
        // The release profile aborts: nothing would be dropped, and the servers would live on.
        kill_children();
        eprintln!("FAILED: the demo broke off");
        process::exit(1);
    }));
    let start = Instant::now();
    let mut report = Report::default();
    scenarios::run(&mut report);
    if report.end(start.elapsed().as_secs_f64()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn kill_children() {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            if let Some(pid) = child.parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
