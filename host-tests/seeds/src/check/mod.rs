//! What must be true of every run. Each check is a function of plain data with tests that show that it can fail.

pub mod answers;
pub mod denials;
pub mod history;
pub mod law;
pub mod ledger;
pub mod leftovers;
pub mod metrics;

use crate::run::Run;
use history::History;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub invariant: Invariant,
    pub text: String,
}

/// The promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// In no window more is admitted than the policy says.
    Window,
    /// Every request is answered in time.
    Answer,
    /// Who is denied had too few tokens for one of the limits.
    Denial,
    /// Redis holds what was admitted, and nothing that was denied.
    Ledger,
    /// Nothing is under way, or kept, when all clients are gone.
    Leftover,
    /// Memory stays within what the policy says.
    Memory,
    /// What is counted is what happened.
    Metrics,
    /// When Redis is well again, it is asked again.
    Recovery,
    /// No VM crashes.
    Crash,
}

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
