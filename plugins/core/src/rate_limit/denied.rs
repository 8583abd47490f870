//! What Redis denied a moment ago, so that a hot client that is over its limit costs Redis next to nothing.
//!
//! A denial is remembered for a second at most. It may have been due to the reservation of another request, which is
//! given back when that one is denied elsewhere, and with a slow rate the tokens would be kept from everyone for hours.
//!
//! Per worker and bounded. An entry is keyed on the limit and subject (by their hash) and on the cost: what is too
//! much at once may pass in parts. A changed limit is a new configuration, and with it a new worker state.

use crate::gcra::{PS_PER_S, Ps};
use lru::LruCache;
use std::num::NonZeroUsize;

/// Entries kept per worker.
const CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// How long a denial is remembered at most.
const MEMORY: Ps = PS_PER_S;

/// A denial by Redis, in the gateway's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// When Redis said so.
    at: Ps,
    /// When the request may pass.
    pub until: Ps,
    /// When the bucket is full again.
    pub full_at: Ps,
}

/// The denials that are still in force.
#[derive(Debug)]
pub struct DenyCache {
    entries: LruCache<(u64, u64), Denial>,
}

impl Default for DenyCache {
    fn default() -> Self {
        Self {
            entries: LruCache::new(CAPACITY),
        }
    }
}

impl DenyCache {
    /// Remembers that `hash` was denied at `cost`: `retry` from now, with `backlog`.
    pub fn insert(&mut self, hash: u64, cost: u64, now: Ps, retry: Ps, backlog: Ps) {
        let denial = Denial {
            at: now,
            until: now + retry,
            full_at: now + backlog,
        };
        self.entries.put((hash, cost), denial);
    }

    /// The denial in force, if any. A clock that goes back does not prolong it by more than it is remembered.
    pub fn get(&mut self, hash: u64, cost: u64, now: Ps) -> Option<Denial> {
        let denial = *self.entries.get(&(hash, cost))?;
        if now < denial.until && now.abs_diff(denial.at) < MEMORY {
            return Some(denial);
        }
        self.entries.pop(&(hash, cost));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_holds_for_its_cost_until_retry() {
        let mut cache = DenyCache::default();
        cache.insert(1, 2, 100, 50, 80);
        let denial = cache.get(1, 2, 149).unwrap();
        assert_eq!((denial.until, denial.full_at), (150, 180));
        assert_eq!(cache.get(1, 1, 149), None);
        assert_eq!(cache.get(2, 2, 149), None);
        assert_eq!(cache.get(1, 2, 150), None);
    }

    #[test]
    fn a_long_denial_is_asked_for_again_after_a_second() {
        let mut cache = DenyCache::default();
        let hours = 10_000 * PS_PER_S;
        cache.insert(1, 1, PS_PER_S, hours, hours);
        assert!(cache.get(1, 1, 2 * PS_PER_S - 1).is_some());
        assert_eq!(cache.get(1, 1, 2 * PS_PER_S), None);
    }

    #[test]
    fn a_clock_that_went_back_does_not_prolong_it() {
        let mut cache = DenyCache::default();
        cache.insert(1, 1, 100 * PS_PER_S, 50, 80);
        assert_eq!(cache.get(1, 1, 99 * PS_PER_S), None);
    }

    #[test]
    fn a_flood_of_clients_stays_within_the_capacity() {
        let mut cache = DenyCache::default();
        for hash in 0..100_000 {
            cache.insert(hash, 1, 0, 10, 10);
        }
        assert_eq!(cache.entries.len(), CAPACITY.get());
    }
}
