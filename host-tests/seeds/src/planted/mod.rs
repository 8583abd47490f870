//! Bugs that are planted to see that the checks find them: edits to a copy of a filter's sources. All are built into
//! one build, each behind a switch that the copy reads from its VM's environment.

mod build;
mod hunt;

use crate::sweep::{FILTERS, Filter};
use crate::violation::Invariant;
pub use build::build;
pub use hunt::hunt;

/// The variable of a VM's environment that chooses a bug, by its number.
pub const SWITCH: &str = "PLANTED";

/// The bugs of a filter, and where its sources are.
pub struct Table {
    pub bugs: &'static [Bug],
    /// The file that includes the scripts, and the scripts as it names them.
    pub scripts: (&'static str, &'static [&'static str]),
    /// The file and the text before which the switch is read: where the policy is loaded.
    pub load: (&'static str, &'static str),
}

/// The bugs of a filter with their numbers: from 1 on, through all filters.
fn numbered(filter: &Filter) -> impl Iterator<Item = (usize, &'static Bug)> + use<> {
    let earlier = FILTERS.iter().take_while(|other| other.name != filter.name);
    let first: usize = 1 + earlier.map(|other| other.bugs.bugs.len()).sum::<usize>();
    (first..).zip(filter.bugs.bugs)
}

/// A bug.
pub struct Bug {
    pub name: &'static str,
    pub edits: &'static [Edit],
    /// The promises that it breaks. One of them has to be found broken.
    pub breaks: &'static [Invariant],
}

/// A change of one file. The old text occurs there exactly once. In the new text `{on}` is the switch; scripts are
/// edited as a whole, where the switch is on.
pub struct Edit {
    pub file: &'static str,
    pub old: &'static str,
    pub new: &'static str,
}

/// A change.
#[must_use]
pub const fn edit(file: &'static str, old: &'static str, new: &'static str) -> Edit {
    Edit { file, old, new }
}
