//! `sluice`: checks policies, says where keys are, looks after the records of idempotency keys, and builds the filters of
//! ids that exist.
//!
//! Exit codes: 0, it is done; 1, it is not, and why is said; 2, it was not asked for properly; 3, the store cannot be asked.

mod arguments;
mod bloom;
mod check;
mod idem;
mod shard;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;

/// Why something was not done, for whoever asked for it.
#[derive(Debug)]
enum Refusal {
    /// It cannot or should not be done.
    No(String),
    /// The store cannot be asked.
    Away(String),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check { filter, file } => check::run(filter, &file),
        Command::Bloom { command } => bloom::run(command),
        Command::Idem { command } => idem::run(*command),
        Command::Shard { command } => shard::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal::No(why)) => {
            eprintln!("{why}");
            ExitCode::from(1)
        }
        Err(Refusal::Away(why)) => {
            eprintln!("{why}");
            ExitCode::from(3)
        }
    }
}
