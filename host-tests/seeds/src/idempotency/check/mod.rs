//! What must be true of every run.

pub mod answers;
pub mod history;
pub mod leftovers;
pub mod once;
pub mod records;
pub mod replay;
pub mod verdict;

use super::run::Run;
use crate::violation::{Invariant, Violation};
use history::History;

/// Holds a run to all promises.
#[must_use]
pub fn check(run: &Run) -> Vec<Violation> {
    let history = History::of(run);
    let mut found = Vec::new();
    let mut report = |invariant, texts: Vec<String>| {
        found.extend(texts.into_iter().map(|text| Violation { invariant, text }));
    };
    report(Invariant::Once, once::repeated(&history));
    report(Invariant::Fence, once::unfenced(&history));
    report(Invariant::Replay, replay::wrong(&history));
    report(Invariant::Replay, replay::denied(&history));
    report(Invariant::Verdict, verdict::unfounded(&history));
    report(Invariant::Answer, answers::late(&history));
    report(Invariant::Order, records::unstored(&history));
    report(Invariant::Outbox, records::events(&history));
    report(Invariant::Ledger, records::strange(&history));
    report(Invariant::Leftover, leftovers::left(&history));
    report(Invariant::Memory, leftovers::memory(&history));
    report(Invariant::Crash, leftovers::crashes(&history));
    report(Invariant::Metrics, leftovers::counts(&history));
    found
}
