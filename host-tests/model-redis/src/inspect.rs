//! A look into a server, for assertions. Nothing here counts as a command.

use std::collections::BTreeMap;

use crate::server::Server;
use crate::store::DATABASES;
use crate::value::Value;

/// A key as [`Server::keys`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub database: u32,
    pub name: Vec<u8>,
    /// What TYPE says.
    pub kind: &'static str,
    /// Milliseconds since the epoch; `None` when it stays.
    pub expires: Option<i64>,
}

/// All are as of the time that [`Server::feed`] was last called with.
impl Server {
    /// The keys of all databases, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        let all = (0..DATABASES).flat_map(|database| {
            let live = self.state.store.live(database);
            live.map(move |(name, entry)| Key {
                database,
                name: name.clone(),
                kind: entry.value.kind(),
                expires: entry.expires,
            })
        });
        all.collect()
    }

    /// A string's bytes; `None` for a missing key and for another kind.
    #[must_use]
    pub fn get(&self, database: u32, key: &[u8]) -> Option<Vec<u8>> {
        match &self.state.store.find(database, key)?.value {
            Value::String(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// A field of a hash; `None` as well for another kind of key.
    #[must_use]
    pub fn hash_field(&self, database: u32, key: &[u8], field: &[u8]) -> Option<Vec<u8>> {
        match &self.state.store.find(database, key)?.value {
            Value::Hash(fields) => fields.get(field).cloned(),
            _ => None,
        }
    }

    /// About the bytes the data takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.state.store.memory()
    }

    /// How often each command was called, those of scripts included; subcommands as `script|load`.
    #[must_use]
    pub fn calls(&self) -> &BTreeMap<&'static str, u64> {
        &self.state.calls
    }
}
