//! Leased limits: a gateway process draws tokens from Redis, where they are debited at once, and its workers spend
//! them from shared data.
//!
//! A token debited at one time and spent later could add to a burst that has come back in between. So a lease lives
//! no longer than the time L in which its largest size comes back (L = size x T), and Redis lends from a burst that is
//! smaller by that size. All tokens spent in a window w were then debited within w + L, which is at most
//! (B - size) + (w + L)/T = B + w/T: the limit's own bound, with any number of gateways and whatever crashes.
//! The price is a burst of B - size, and tokens lost with a lease that ends unspent.
//!
//! A key that nobody uses much should not lose tokens, so leases begin with one token, double while they are spent
//! before their end, and halve when they are not.

use crate::gcra::{PS_PER_US, Ps, Quota};
use crate::slots::Payload;

/// What a limit's leases may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    quota: Quota,
    /// The quota that Redis lends from.
    pub lent: Quota,
    /// Tokens in one lease at most.
    pub size: u64,
    /// L: how long a lease may be spent.
    pub lifetime: Ps,
}

impl Terms {
    /// Terms for leases of up to `size` tokens of `quota`.
    #[must_use]
    pub fn new(quota: Quota, size: u64) -> Self {
        let size = size.min(quota.burst().saturating_sub(1));
        Self {
            quota,
            lent: quota.with_burst(quota.burst() - size),
            size,
            lifetime: quota.interval() * Ps::from(size),
        }
    }

    /// The limit's own quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// The backlog of a bucket that has `left` tokens, in leases and in Redis together.
    #[must_use]
    pub fn backlog(&self, left: u64) -> Ps {
        let room = self.quota.interval() * Ps::from(left);
        self.quota.tolerance().saturating_sub(room)
    }
}

/// A lease as shared data holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lease {
    /// Tokens left to spend.
    pub tokens: u32,
    /// Its end, in microseconds of the gateway's clock.
    pub ends: u64,
    /// Leases hold 2^growth tokens.
    pub growth: u8,
    /// Tokens that Redis still had when it was drawn, as far as 24 bits tell: for the response fields only.
    pub behind: u32,
}

impl Lease {
    #[must_use]
    pub fn decode(payload: Payload) -> Self {
        let [t0, t1, t2, t3, e0, e1, e2, e3, e4, e5, e6, e7, growth, b0, b1, b2] = payload;
        Self {
            tokens: u32::from_le_bytes([t0, t1, t2, t3]),
            ends: u64::from_le_bytes([e0, e1, e2, e3, e4, e5, e6, e7]),
            growth,
            behind: u32::from_le_bytes([b0, b1, b2, 0]),
        }
    }

    #[must_use]
    pub fn encode(&self) -> Payload {
        let [t0, t1, t2, t3] = self.tokens.to_le_bytes();
        let [e0, e1, e2, e3, e4, e5, e6, e7] = self.ends.to_le_bytes();
        let [b0, b1, b2, _] = self.behind.min(0xff_ffff).to_le_bytes();
        [t0, t1, t2, t3, e0, e1, e2, e3, e4, e5, e6, e7, self.growth, b0, b1, b2]
    }

    /// Whether it can still be spent. A clock that went back by more than a lease's life ends it too: it must never
    /// live longer than L.
    #[must_use]
    pub fn is_alive(&self, now: Ps, lifetime: Ps) -> bool {
        let ends = Ps::from(self.ends) * PS_PER_US;
        now < ends && ends - now <= lifetime
    }

    /// Spends `cost` tokens; none when there are not as many or the lease has ended.
    #[must_use]
    pub fn spend(&self, cost: u64, now: Ps, lifetime: Ps) -> Option<Self> {
        let cost = u32::try_from(cost).ok()?;
        let tokens = self.tokens.checked_sub(cost)?;
        self.is_alive(now, lifetime).then_some(Self { tokens, ..*self })
    }

    /// How the next lease should be sized, seen when this one does not suffice.
    #[must_use]
    pub fn next_growth(&self, now: Ps, terms: &Terms) -> u8 {
        let half = terms.size.max(1).ilog2() as u8;
        if self.ends == 0 {
            0
        } else if self.is_alive(now, terms.lifetime) {
            self.growth.saturating_add(1).min(half + 1)
        } else if u64::from(self.tokens) * 2 > 1 << self.growth.min(31) {
            self.growth.saturating_sub(1)
        } else {
            self.growth
        }
    }

    /// An empty lease that was asked for at `asked`: its tokens are debited no earlier.
    #[must_use]
    pub fn drawn(asked: Ps, terms: &Terms) -> Self {
        Self {
            ends: u64::try_from((asked + terms.lifetime) / PS_PER_US).unwrap_or(0),
            ..Self::default()
        }
    }

    /// The lease after `granted` more tokens, drawn as `drawn`. What two workers draw at once becomes one lease that
    /// ends with the earlier.
    #[must_use]
    pub fn with(&self, granted: u64, drawn: &Self, now: Ps, growth: u8, behind: u64, lifetime: Ps) -> Self {
        let alive = self.is_alive(now, lifetime) && self.tokens > 0;
        let granted = u32::try_from(granted).unwrap_or(u32::MAX);
        Self {
            tokens: if alive {
                self.tokens.saturating_add(granted)
            } else {
                granted
            },
            ends: if alive {
                drawn.ends.min(self.ends)
            } else {
                drawn.ends
            },
            growth,
            behind: u32::try_from(behind).unwrap_or(u32::MAX),
        }
    }
}

/// Tokens to ask for: what the waiting requests need, and at least a lease's worth.
#[must_use]
pub fn wanted(needs: u64, growth: u8, terms: &Terms) -> u64 {
    let size = 1u64 << growth.min(31);
    size.min(terms.size).max(needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn terms() -> Terms {
        let quota = Quota::new(100, Duration::from_secs(1), 100).unwrap();
        Terms::new(quota, 20)
    }

    #[test]
    fn what_leases_may_hold_is_taken_from_the_burst() {
        let terms = terms();
        assert_eq!(terms.lent.burst(), 80);
        assert_eq!(terms.lifetime, 200_000 * PS_PER_US);
        let one = Quota::new(1, Duration::from_secs(1), 1).unwrap();
        let terms = Terms::new(one, 20);
        assert_eq!((terms.lent.burst(), terms.size), (1, 0), "a burst of one is never lent away");
    }

    #[test]
    fn a_lease_is_spent_until_its_end_and_no_further() {
        let terms = terms();
        let start = 1_000_000 * PS_PER_US;
        let lease = Lease::default().with(3, &Lease::drawn(start, &terms), start, 0, 7, terms.lifetime);
        assert_eq!(lease.spend(2, start, terms.lifetime).map(|l| l.tokens), Some(1));
        assert_eq!(lease.spend(4, start, terms.lifetime), None);
        let end = start + terms.lifetime;
        assert!(lease.spend(1, end - 1, terms.lifetime).is_some());
        assert_eq!(lease.spend(1, end, terms.lifetime), None);
        assert_eq!(lease.spend(1, start - PS_PER_US, terms.lifetime), None, "the clock went back");
    }

    #[test]
    fn leases_grow_while_they_are_drained_early_and_shrink_when_they_are_not() {
        let terms = terms();
        let start = 1_000_000 * PS_PER_US;
        let mut growth = Lease::default().next_growth(start, &terms);
        assert_eq!(growth, 0);
        for _ in 0..10 {
            let drained = Lease { tokens: 0, ends: 1_100_000, growth, behind: 0 };
            growth = drained.next_growth(start, &terms);
        }
        assert_eq!(wanted(1, growth, &terms), 20);
        let unspent = Lease { tokens: 20, ends: 900_000, growth, behind: 0 };
        assert_eq!(unspent.next_growth(start, &terms), growth - 1);
        assert_eq!(wanted(50, 0, &terms), 50, "a request's own need is never cut");
    }

    proptest! {
        #[test]
        fn a_lease_survives_shared_data(tokens: u32, ends: u64, growth: u8, behind in 0u32..0x100_0000) {
            let lease = Lease { tokens, ends, growth, behind };
            prop_assert_eq!(Lease::decode(lease.encode()), lease);
        }

        /// The argument of the module's first lines, played out: debits by the lent quota, spent any time within L.
        #[test]
        fn no_window_spends_more_than_the_limit(
            gaps in prop::collection::vec((0u64..3_000, 1u64..10, 0u64..1_000), 1..80),
        ) {
            let terms = terms();
            let interval = terms.lent.interval();
            let mut now = 1_700_000_000_000_000 * PS_PER_US;
            let mut tat = None;
            let mut spent: Vec<(Ps, u64)> = Vec::new();
            for (gap, size, delay) in gaps {
                now += interval * Ps::from(gap) / 1_000;
                if let crate::gcra::Verdict::Allow { tat: new } = terms.lent.decide(tat, now, size).verdict {
                    tat = Some(new);
                    // Hoarded for any part of the lifetime, then spent at one instant.
                    spent.push((now + terms.lifetime * Ps::from(delay) / 1_000, size));
                }
            }
            spent.sort_unstable();
            for (first, (start, _)) in spent.iter().enumerate() {
                let mut tokens = 0;
                for (end, size) in &spent[first..] {
                    tokens += Ps::from(*size);
                    prop_assert!(tokens * interval <= interval * 100 + (end - start));
                }
            }
        }
    }
}
