//! What a change of the table moves.

use super::Table;

/// How many slots move between two shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moved {
    /// The shard's name in the list of the first table, by place.
    pub from: u16,
    /// In the list of the second.
    pub to: u16,
    pub slots: u32,
}

/// The slots that move from `from` to `to`, by where they were and go, in that order. `same` says whether a shard of the
/// first table is one of the second. None where the tables do not have the same slots: then no key stays for sure.
#[must_use]
pub fn moved(from: &Table, to: &Table, same: impl Fn(u16, u16) -> bool) -> Option<Vec<Moved>> {
    if from.hash() != to.hash() || from.slots().len() != to.slots().len() {
        return None;
    }
    let mut counts = std::collections::BTreeMap::<(u16, u16), u32>::new();
    for pair in from.slots().iter().copied().zip(to.slots().iter().copied()) {
        if !same(pair.0, pair.1) {
            *counts.entry(pair).or_default() += 1;
        }
    }
    let moved = counts
        .into_iter()
        .map(|((from, to), slots)| Moved { from, to, slots });
    Some(moved.collect())
}
