//! The coalescing filter: cases in which herds ask for few keys, with and without credentials, while everything fails;
//! and the promises of `docs/coalesce.md`.

pub mod bugs;
pub mod case;
pub mod check;
pub mod faults;
pub mod fleet;
pub mod load;
pub mod nature;
pub mod origin;
pub mod policy;
pub mod records;
pub mod run;
pub mod sent;

pub use case::Case;

use crate::sweep::{Filter, Played};
use sluice_embed::Module;

/// How it is played.
pub const FILTER: Filter = Filter {
    name: "coalesce",
    play,
    about,
    bugs: bugs::TABLE,
};

fn play(module: &Module, seed: u64, planted: Option<usize>) -> Played {
    let run = run::run(module, Case::draw(seed), planted);
    Played {
        seed,
        violations: check::check(&run),
        trace: run.trace,
        hash: run.hash,
    }
}

fn about(seed: u64) -> String {
    let case = Case::draw(seed);
    let sent: Vec<String> = case
        .load
        .sent
        .iter()
        .enumerate()
        .map(|(place, sent)| format!("#{place} {sent}"))
        .collect();
    let natures: Vec<String> = case
        .natures
        .iter()
        .enumerate()
        .map(|(key, nature)| format!("key {key}: {nature:?}"))
        .collect();
    format!(
        "{}\n{}\n{:#?}\n{} gateways of {} workers\n{}",
        sent.join("\n"),
        natures.join("\n"),
        case.faults,
        case.gateways,
        case.workers,
        case.policy.json()
    )
}
