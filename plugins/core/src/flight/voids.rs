//! When URIs were last invalidated: what was asked for before is void, in whichever worker, variant or flight it is.
//!
//! A table of times of fixed size in shared data. URIs share cells, so an invalidation may void more than it means to,
//! never less, and nothing ever has to make room.

use crate::cache::Millis;
use crate::slots::{ABSENT, SharedData};
use std::collections::HashMap;

const CELLS: u64 = 32_768;
const CELLS_OF_A_PAGE: u64 = 64;
const WORD: usize = 8;
const MAX_TRIES: u32 = 64;

/// The table; one for each worker, all over the same shared data.
pub struct Voids<S> {
    store: S,
    /// What this worker knows of itself or was told, by the cell: looking there costs no call of the host.
    known: HashMap<u64, Millis>,
}

impl<S: SharedData> Voids<S> {
    pub fn new(store: S) -> Self {
        Self {
            store,
            known: HashMap::new(),
        }
    }

    /// When a URI was last invalidated; 0: never.
    pub fn at(&self, uri: u64) -> Millis {
        let (page, cell) = place(uri);
        let bytes = self.store.get(&page).map(|(bytes, _)| bytes);
        bytes.map_or(0, |bytes| read(&bytes, cell))
    }

    /// The same as far as this worker has been told.
    pub fn known(&self, uri: u64) -> Millis {
        if self.known.is_empty() {
            return 0;
        }
        let known = self.known.get(&(uri % CELLS));
        known.copied().unwrap_or_default()
    }

    /// Invalidates a URI: as of when, which is later than the last time in any case. None when the others did not let
    /// this one write.
    #[must_use]
    pub fn raise(&mut self, uri: u64, now: Millis) -> Option<Millis> {
        let (page, cell) = place(uri);
        for _ in 0..MAX_TRIES {
            let (mut bytes, version) = self.store.get(&page).unwrap_or((Vec::new(), ABSENT));
            let at = now.max(after(read(&bytes, cell)));
            bytes.resize(CELLS_OF_A_PAGE as usize * WORD, 0);
            if let Some(word) = bytes.chunks_exact_mut(WORD).nth(cell) {
                word.copy_from_slice(&at.to_le_bytes());
            }
            if self.store.set(&page, &bytes, version).is_ok() {
                self.told(uri, at);
                return Some(at);
            }
        }
        None
    }

    /// Another worker has invalidated a URI.
    pub fn told(&mut self, uri: u64, at: Millis) {
        let known = self.known.entry(uri % CELLS).or_default();
        *known = at.max(*known);
    }
}

/// The first time at which what is asked for is not void. What is asked after an invalidation is given at least this as
/// its time, whatever the clock says: two things in one millisecond have an order as well.
#[must_use]
pub fn after(void: Millis) -> Millis {
    if void == 0 { 0 } else { void.saturating_add(1) }
}

fn place(uri: u64) -> (String, usize) {
    let cell = uri % CELLS;
    let page = format!("sluice/void/{}", cell / CELLS_OF_A_PAGE);
    (page, (cell % CELLS_OF_A_PAGE) as usize)
}

fn read(page: &[u8], cell: usize) -> Millis {
    let word = page.chunks_exact(WORD).nth(cell);
    let word = word.and_then(|word| word.first_chunk());
    word.map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::tests::FakeShared;

    #[test]
    fn an_invalidation_is_seen_by_all_and_never_taken_back() {
        let store = FakeShared::default();
        let (mut one, mut two) = (Voids::new(store.clone()), Voids::new(store.clone()));
        assert_eq!(two.at(7), 0);
        assert_eq!(one.raise(7, 100), Some(100));
        assert_eq!(two.raise(8, 90), Some(90));
        assert_eq!(two.raise(7, 50), Some(101), "a clock that is behind");
        assert_eq!((two.at(7), one.at(8), one.at(9)), (101, 90, 0));
        assert_eq!((one.known(7), two.known(7), two.known(9)), (100, 101, 0));
        one.told(7, 101);
        one.told(7, 60);
        assert_eq!(one.known(7), 101);
    }

    #[test]
    fn a_million_uris_take_no_more_than_the_table() {
        let store = FakeShared::default();
        let mut one = Voids::new(store.clone());
        for uri in 0..1_000_000 {
            assert!(one.raise(uri, 1 + uri).is_some());
        }
        assert!(store.bytes() < 300_000, "{}", store.bytes());
        assert!(one.known.len() as u64 <= CELLS);
        assert_eq!(one.at(999_999), 1_000_000);
    }
}
