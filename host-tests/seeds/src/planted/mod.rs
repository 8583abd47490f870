//! Bugs that are planted to see that the checks find them: edits to a copy of the filter's sources. All are built into
//! one filter, each behind a switch that the copy reads from its VM's environment.

mod build;
mod table;

pub use build::build;
pub use table::{BUGS, Bug, Edit};

/// The variable of a VM's environment that chooses a bug, by its number in the table from 1 on.
pub const SWITCH: &str = "PLANTED";
