//! Holds what came of a case to what `docs/coalesce.md` promises.

mod answers;
mod counts;
mod fleet;
mod fresh;
mod herd;
mod history;
mod law;
mod leftovers;
mod share;
mod waits;

use super::run::Run;
use crate::violation::{Invariant, Violation};
use history::History;

/// The promises that a run broke.
#[must_use]
pub fn check(run: &Run) -> Vec<Violation> {
    let history = History::of(run);
    let mut found = Vec::new();
    let mut report = |invariant, texts: Vec<String>| {
        let violations = texts.into_iter().map(|text| Violation { invariant, text });
        found.extend(violations);
    };
    report(Invariant::Share, share::wrong(&history));
    report(Invariant::Fresh, fresh::stale(&history));
    report(Invariant::Herd, herd::repeated(&history));
    report(Invariant::Wait, waits::idle(&history));
    report(Invariant::Wait, waits::one_by_one(&history));
    report(Invariant::Answer, answers::late(&history));
    report(Invariant::Leftover, leftovers::left(&history));
    report(Invariant::Memory, leftovers::memory(&history));
    report(Invariant::Ledger, fleet::kept(&history));
    report(Invariant::Crash, leftovers::crashes(&history));
    report(Invariant::Metrics, counts::wrong(&history));
    found
}
