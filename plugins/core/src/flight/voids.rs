//! When URIs were last invalidated: what was asked for before is void, in whichever worker, variant or flight it is.
//!
//! A table of fixed size in shared data. When a URI finds its page full, the one that was invalidated before all others
//! there loses its place, and its time counts from then on for every URI of the page that has none: so what was asked for
//! long ago may be void as well, and nothing is ever held for good that is not.

use super::codec::{Reader, Writer};
use crate::cache::Millis;
use crate::slots::{ABSENT, SharedData};
use std::collections::HashMap;

const PAGES: u64 = 1_024;
const PLACES_OF_A_PAGE: usize = 32;
const MAX_TRIES: u32 = 64;

/// The table; one for each worker, all over the same shared data.
pub struct Voids<S> {
    store: S,
    /// What this worker knows of itself or was told, by the page: looking there costs no call of the host.
    known: HashMap<u64, Page>,
}

#[derive(Default)]
struct Page {
    /// For those without a place.
    others: Millis,
    /// URIs and their times, the one last invalidated at the end.
    places: Vec<(u64, Millis)>,
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
        let bytes = self.store.get(&key(uri)).map(|(bytes, _)| bytes);
        bytes.map_or(0, |bytes| Page::decode(&bytes).at(uri))
    }

    /// The same as far as this worker has been told.
    pub fn known(&self, uri: u64) -> Millis {
        if self.known.is_empty() {
            return 0;
        }
        let known = self.known.get(&(uri % PAGES));
        known.map_or(0, |page| page.at(uri))
    }

    /// Invalidates a URI: as of when, which is later than the last time in any case. None when the others did not let
    /// this one write.
    #[must_use]
    pub fn raise(&mut self, uri: u64, now: Millis) -> Option<Millis> {
        let key = key(uri);
        for _ in 0..MAX_TRIES {
            let (bytes, version) = self.store.get(&key).unwrap_or((Vec::new(), ABSENT));
            let mut page = Page::decode(&bytes);
            let at = now.max(after(page.at(uri)));
            page.raise(uri, at);
            if self.store.set(&key, &page.encode(), version).is_ok() {
                self.told(uri, at);
                return Some(at);
            }
        }
        None
    }

    /// Another worker has invalidated a URI.
    pub fn told(&mut self, uri: u64, at: Millis) {
        self.known.entry(uri % PAGES).or_default().raise(uri, at);
    }
}

impl Page {
    fn decode(bytes: &[u8]) -> Self {
        let mut from = Reader(bytes);
        Self {
            others: from.number().unwrap_or_default(),
            places: std::iter::from_fn(|| from.number().zip(from.number())).collect(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.number(self.others);
        for (uri, at) in &self.places {
            to.number(*uri);
            to.number(*at);
        }
        to.done()
    }

    fn at(&self, uri: u64) -> Millis {
        let place = self.places.iter().find(|(theirs, _)| *theirs == uri);
        place.map_or(self.others, |(_, at)| *at)
    }

    /// Never to an earlier time.
    fn raise(&mut self, uri: u64, at: Millis) {
        let at = at.max(self.at(uri));
        self.places.retain(|(theirs, _)| *theirs != uri);
        if self.places.len() >= PLACES_OF_A_PAGE {
            let (_, oldest) = self.places.remove(0);
            self.others = self.others.max(oldest);
        }
        self.places.push((uri, at));
    }
}

/// The first time at which what is asked for is not void. What is asked after an invalidation is given at least this as
/// its time, whatever the clock says: two things in one millisecond have an order as well.
#[must_use]
pub fn after(void: Millis) -> Millis {
    if void == 0 { 0 } else { void.saturating_add(1) }
}

fn key(uri: u64) -> String {
    format!("sluice/voids/{}", uri % PAGES)
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
    fn a_million_uris_take_no_more_than_the_table_and_each_stays_void() {
        let store = FakeShared::default();
        let mut one = Voids::new(store.clone());
        for uri in 0..1_000_000 {
            assert!(one.raise(uri, 1 + uri).is_some());
        }
        assert!(store.bytes() < 600_000, "{}", store.bytes());
        assert!(one.known.len() as u64 <= PAGES);
        for uri in (0..1_000_000).step_by(997) {
            assert!(one.at(uri) > uri && one.known(uri) > uri, "{uri}");
        }
        assert_eq!(one.at(999_999), 1_000_000);
    }

    #[test]
    fn what_nobody_invalidated_is_void_only_before_the_thirty_second_last_of_its_page() {
        let mut one = Voids::new(FakeShared::default());
        let places = PLACES_OF_A_PAGE as u64;
        // Half of the table, and one URI over and over, touch nothing else.
        for uri in 0..PAGES * places / 2 {
            assert!(one.raise(uri, 1 + uri).is_some());
            assert!(one.raise(0, 1 + uri).is_some());
        }
        let other = u64::MAX;
        assert_eq!((one.at(other), one.known(other)), (0, 0));
        // The page of `other` gets as many more as it has places: the first of them counts for it now.
        let mates = (1..=places).map(|mate| other - mate * PAGES);
        for (mate, at) in mates.zip(100_000..) {
            assert_eq!(one.raise(mate, at), Some(at));
        }
        let last_without_a_place = one.at(other);
        assert!(
            (1..100_000).contains(&last_without_a_place),
            "{last_without_a_place}"
        );
        assert_eq!(one.raise(other - PAGES * 1_000, 200_000), Some(200_000));
        assert_eq!((one.at(other), one.known(other)), (100_000, 100_000));
    }
}
