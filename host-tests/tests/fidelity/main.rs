//! Every scenario of `host-tests/fidelity/scenarios` shows on each host what its file says: so the hosts are alike.
//!
//! `SCENARIO=name` runs those whose names have that in them. `FIDELITY_RECORD=1` writes what Envoy shows into the files;
//! read the difference before you commit it.

mod backend;
mod emulator;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use host_tests::fidelity::Runner;
use host_tests::fidelity::envoy::Envoy;
use host_tests::fidelity::scenario::{Scenario, record};

use emulator::Emulator;

const THREADS: usize = 4;

fn scenarios() -> Vec<PathBuf> {
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    let files = Scenario::files();
    let chosen: Vec<PathBuf> = files
        .into_iter()
        .filter(|file| file.to_string_lossy().contains(&wanted))
        .collect();
    assert!(!chosen.is_empty(), "no scenario is called {wanted}");
    chosen
}

/// Runs all, several at once, and reports every one that differs. `records` writes it into the files instead.
fn compare(runner: &impl Runner, records: bool) {
    let files = scenarios();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let scenario = Scenario::load(file);
                    let observed = catch_unwind(AssertUnwindSafe(|| runner.run(&scenario)));
                    let problem = match observed {
                        Err(_) => Some("did not come to its end, see above\n".to_owned()),
                        Ok(observed) if records => {
                            record(file, &observed);
                            None
                        }
                        Ok(observed) => scenario.expect.difference(&observed),
                    };
                    if let Some(problem) = problem {
                        let told = format!("{}: {}\n{problem}", scenario.name, scenario.about);
                        failures.lock().unwrap().push(told);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} scenarios differ on {} (- expected, + observed):\n\n{}",
        failures.len(),
        files.len(),
        runner.name(),
        failures.join("\n")
    );
}

#[test]
fn every_scenario_shows_on_envoy_what_its_file_says() {
    compare(&Envoy, std::env::var_os("FIDELITY_RECORD").is_some());
}

#[test]
fn every_scenario_shows_the_same_on_the_emulator() {
    compare(&Emulator, false);
}
