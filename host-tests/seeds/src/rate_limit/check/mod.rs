//! What must be true of every run. Each check is a function of plain data with tests that show that it can fail.

pub mod answers;
pub mod denials;
pub mod history;
pub mod law;
pub mod ledger;
pub mod leftovers;
pub mod metrics;

use crate::rate_limit::run::Run;
use history::History;

pub use crate::violation::{Invariant, Violation};

/// Holds a run to all promises.
#[must_use]
pub fn check(run: &Run) -> Vec<Violation> {
    let history = History::of(run);
    let mut found = Vec::new();
    let mut report = |invariant, texts: Vec<String>| {
        found.extend(texts.into_iter().map(|text| Violation { invariant, text }));
    };
    report(Invariant::Answer, answers::late(run));
    report(Invariant::Leftover, leftovers::left(run));
    report(Invariant::Memory, leftovers::memory(run));
    report(Invariant::Crash, leftovers::crashes(run));
    report(Invariant::Window, law::broken(&history));
    report(Invariant::Denial, denials::unjustified(&history));
    report(Invariant::Ledger, ledger::wrong(&history, &run.records));
    report(Invariant::Metrics, metrics::wrong(&history));
    report(Invariant::Recovery, metrics::unrecovered(run));
    found
}
