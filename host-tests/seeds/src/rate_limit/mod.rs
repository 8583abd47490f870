//! The rate-limit filter: cases with limits of all kinds, and the promises of `docs/rate-limit.md`.

pub mod bugs;
pub mod case;
pub mod check;
pub mod faults;
pub mod load;
pub mod policy;
pub mod run;

pub use case::Case;

use crate::sweep::{Filter, Played};
use sluice_embed::Module;

/// How it is played.
pub const FILTER: Filter = Filter {
    name: "rate-limit",
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
    format!("{:#?}\n{}", case.faults, case.policy.json())
}
