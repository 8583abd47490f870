//! From a key to a shard: a key's hash names one of many slots, and a table names the shard of each slot.
//!
//! A table is built once, when a policy is loaded; to look a key up is one hash and one read. Every gateway that builds a
//! table from the same text gets the same one, bit for bit, on every platform: hashes are of bytes, and the one logarithm
//! is computed in software.

mod fill;
pub mod hash;
mod moved;
mod table;

pub use fill::Fill;
pub use hash::Hash;
pub use moved::{Moved, moved};
pub use table::{MAX_SHARDS, MAX_SLOTS, Mistake, Range, Shard, Table};

#[cfg(test)]
mod fill_tests;
