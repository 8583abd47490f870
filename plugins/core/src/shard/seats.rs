//! Numbers for the shards of all tables that stay theirs when the tables are replaced: what is counted of a shard goes on
//! being counted there, and a request that is under way finds it again.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::decide::Refusal;
use super::{Directory, Problem};

/// Shards that may have been in any table since the policy was loaded: what is counted of one is never forgotten.
pub const MAX_SEATS: usize = 65_536;

/// The policy's author chooses the names, so the hasher needs no secret.
type Numbers = HashMap<(String, String), usize, BuildHasherDefault<ahash::AHasher>>;

/// The numbers.
#[derive(Debug, Default)]
pub struct Seats {
    numbers: Numbers,
    /// By table and by shard.
    places: Vec<Vec<usize>>,
}

/// There have been too many shards of different names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Seats {
    /// Takes other tables. Those whose names are known keep their numbers, the others get the next.
    ///
    /// # Errors
    /// When there have been too many; nothing is changed then.
    pub fn take<'d>(
        &mut self,
        tables: impl Iterator<Item = &'d Directory> + Clone,
    ) -> Result<(), TooMany> {
        let all = || {
            tables.clone().flat_map(|table| {
                let names = table.hosts.iter().map(|host| host.name.clone());
                names.map(|name| (table.name.clone(), name))
            })
        };
        let fresh = all()
            .filter(|name| !self.numbers.contains_key(name))
            .count();
        if self.numbers.len() + fresh > MAX_SEATS {
            return Err(TooMany);
        }
        for name in all() {
            let next = self.numbers.len();
            self.numbers.entry(name).or_insert(next);
        }
        let number = |table: &Directory, name: &str| {
            let name = (table.name.clone(), name.to_owned());
            self.numbers.get(&name).copied().unwrap_or(usize::MAX)
        };
        self.places = tables
            .map(|table| {
                table
                    .hosts
                    .iter()
                    .map(|host| number(table, &host.name))
                    .collect()
            })
            .collect();
        Ok(())
    }

    /// How many numbers have been given.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The number of the shard that a request is to go to.
    ///
    /// # Errors
    /// When there is none. Nothing that is under way there could be counted, so nothing may go there; without a shard the
    /// request would reach whoever takes the rest.
    pub fn seat(&self, table: usize, shard: u16) -> Result<usize, Refusal> {
        self.of(table, shard)
            .ok_or(Refusal::soon(Problem::ShardUnknown))
    }

    /// The number of a shard of a table.
    #[must_use]
    pub fn of(&self, table: usize, shard: u16) -> Option<usize> {
        self.places.get(table)?.get(usize::from(shard)).copied()
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
