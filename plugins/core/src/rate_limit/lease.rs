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
//! before their end, and halve when they are not. When Redis has fewer tokens than asked for, the limit is reached,
//! and asking again at once would fetch them one by one: the process waits until a quarter of a lease has come back
//! (ten tokens at least). Tokens wait in Redis meanwhile, so the rate is kept; they only come in larger portions.

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

    /// Where leases of these terms are kept for a client whose hash is given. When a policy changes, what was lent by the
    /// old one must not be spent by the new one: a shorter limit counts at once.
    #[must_use]
    pub fn place(&self, hash: u64) -> u64 {
        let interval = self.quota.interval() as u64;
        let mark =
            [interval, self.quota.burst(), self.size]
                .into_iter()
                .fold(0_u64, |mark, number| {
                    (mark ^ number)
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                        .rotate_left(29)
                });
        hash ^ mark
    }

    /// The limit's own quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// How long to leave Redis alone after it had too few tokens.
    #[must_use]
    pub fn pause(&self) -> Ps {
        let tokens = (self.size / 4).max(10).min(self.size);
        self.quota.interval() * Ps::from(tokens)
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
    /// Redis had fewer tokens than asked for.
    pub short: bool,
    /// Tokens that Redis still had when it was drawn, as far as 24 bits tell: for the response fields only.
    pub behind: u32,
}

/// What became of an attempt to spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// Done; this is left.
    Done(Lease),
    /// There are too few tokens, and Redis is worth asking again only after this long.
    Cooling { retry: Ps },
    /// There are too few tokens: draw.
    Short,
}

/// Marks a short lease in the record's byte for the growth.
const SHORT: u8 = 0x80;

impl Lease {
    #[must_use]
    pub fn decode(payload: Payload) -> Self {
        let [
            t0,
            t1,
            t2,
            t3,
            e0,
            e1,
            e2,
            e3,
            e4,
            e5,
            e6,
            e7,
            growth,
            b0,
            b1,
            b2,
        ] = payload;
        Self {
            tokens: u32::from_le_bytes([t0, t1, t2, t3]),
            ends: u64::from_le_bytes([e0, e1, e2, e3, e4, e5, e6, e7]),
            growth: growth & !SHORT,
            short: growth & SHORT != 0,
            behind: u32::from_le_bytes([b0, b1, b2, 0]),
        }
    }

    #[must_use]
    pub fn encode(&self) -> Payload {
        let [t0, t1, t2, t3] = self.tokens.to_le_bytes();
        let [e0, e1, e2, e3, e4, e5, e6, e7] = self.ends.to_le_bytes();
        let [b0, b1, b2, _] = self.behind.min(0xff_ffff).to_le_bytes();
        let growth = (self.growth & !SHORT) | if self.short { SHORT } else { 0 };
        [
            t0, t1, t2, t3, e0, e1, e2, e3, e4, e5, e6, e7, growth, b0, b1, b2,
        ]
    }

    /// Whether it can still be spent. A clock that went back by more than a lease's life ends it too: it must never
    /// live longer than L.
    #[must_use]
    pub fn is_alive(&self, now: Ps, lifetime: Ps) -> bool {
        let ends = Ps::from(self.ends) * PS_PER_US;
        now < ends && ends - now <= lifetime
    }

    /// Spends `cost` tokens.
    #[must_use]
    pub fn spend(&self, cost: u64, now: Ps, terms: &Terms) -> Spent {
        if !self.is_alive(now, terms.lifetime) {
            return Spent::Short;
        }
        let left = u32::try_from(cost)
            .ok()
            .and_then(|cost| self.tokens.checked_sub(cost));
        if let Some(tokens) = left {
            return Spent::Done(Self { tokens, ..*self });
        }
        let asked = (Ps::from(self.ends) * PS_PER_US).saturating_sub(terms.lifetime);
        let until = asked + terms.pause();
        if self.short && now < until {
            return Spent::Cooling { retry: until - now };
        }
        Spent::Short
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

    /// What a draw at `asked` brought: its tokens were debited no earlier.
    #[must_use]
    pub fn drawn(asked: Ps, tokens: u64, terms: &Terms) -> Self {
        Self {
            tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
            ends: u64::try_from((asked + terms.lifetime) / PS_PER_US).unwrap_or(0),
            ..Self::default()
        }
    }

    /// This lease and what was drawn while it lived. What two workers draw at once becomes one lease that ends with
    /// the earlier.
    #[must_use]
    pub fn with(&self, drawn: Self, now: Ps, terms: &Terms) -> Self {
        if self.tokens == 0 || !self.is_alive(now, terms.lifetime) {
            return drawn;
        }
        Self {
            tokens: self.tokens.saturating_add(drawn.tokens),
            ends: drawn.ends.min(self.ends),
            ..drawn
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
        assert_eq!(
            (terms.lent.burst(), terms.size),
            (1, 0),
            "a burst of one is never lent away"
        );
    }

    #[test]
    fn each_terms_have_a_place_of_their_own() {
        let quota = |rate| Quota::new(rate, Duration::from_secs(60), rate).unwrap();
        let all = [
            Terms::new(quota(10_000), 20),
            Terms::new(quota(20), 4),
            Terms::new(quota(20), 5),
            Terms::new(quota(20).with_burst(19), 5),
        ];
        for (index, one) in all.iter().enumerate() {
            for other in &all[..index] {
                assert_ne!(one.place(7), other.place(7));
            }
            assert_ne!(one.place(7), one.place(8));
        }
    }

    #[test]
    fn a_lease_is_spent_until_its_end_and_no_further() {
        let terms = terms();
        let start = 1_000_000 * PS_PER_US;
        let lease = Lease::drawn(start, 3, &terms);
        let left = |lease: Spent| match lease {
            Spent::Done(lease) => Some(lease.tokens),
            _ => None,
        };
        assert_eq!(left(lease.spend(2, start, &terms)), Some(1));
        assert_eq!(lease.spend(4, start, &terms), Spent::Short);
        let end = start + terms.lifetime;
        assert_eq!(left(lease.spend(1, end - 1, &terms)), Some(2));
        assert_eq!(lease.spend(1, end, &terms), Spent::Short);
        assert_eq!(
            lease.spend(1, start - PS_PER_US, &terms),
            Spent::Short,
            "the clock went back"
        );
    }

    #[test]
    fn after_a_short_draw_redis_is_left_alone_until_tokens_have_come_back() {
        let terms = terms();
        let start = 1_000_000 * PS_PER_US;
        let lease = Lease {
            short: true,
            ..Lease::drawn(start, 1, &terms)
        };
        assert!(matches!(lease.spend(1, start, &terms), Spent::Done(_)));
        let empty = Lease { tokens: 0, ..lease };
        let pause = terms.pause();
        assert_eq!(pause, 10 * terms.quota().interval());
        assert_eq!(
            empty.spend(1, start, &terms),
            Spent::Cooling { retry: pause }
        );
        assert_eq!(empty.spend(1, start + pause, &terms), Spent::Short);
    }

    #[test]
    fn leases_drawn_at_once_end_with_the_earlier() {
        let terms = terms();
        let start = 1_000_000 * PS_PER_US;
        let first = Lease::drawn(start, 3, &terms);
        let both = first.with(Lease::drawn(start + 50, 4, &terms), start + 60, &terms);
        assert_eq!((both.tokens, both.ends), (7, first.ends));
        let late = start + terms.lifetime;
        let next = Lease::drawn(late, 4, &terms);
        assert_eq!(
            first.with(next, late, &terms),
            next,
            "what has ended adds nothing"
        );
    }

    #[test]
    fn leases_grow_while_they_are_drained_early_and_shrink_when_they_are_not() {
        let terms = terms();
        let start = 1_000_000 * PS_PER_US;
        let mut growth = Lease::default().next_growth(start, &terms);
        assert_eq!(growth, 0);
        for _ in 0..10 {
            let drained = Lease {
                ends: 1_100_000,
                growth,
                ..Lease::default()
            };
            growth = drained.next_growth(start, &terms);
        }
        assert_eq!(wanted(1, growth, &terms), 20);
        let unspent = Lease {
            tokens: 20,
            ends: 900_000,
            growth,
            ..Lease::default()
        };
        assert_eq!(unspent.next_growth(start, &terms), growth - 1);
        assert_eq!(
            wanted(50, 0, &terms),
            50,
            "a request's own need is never cut"
        );
    }

    proptest! {
        #[test]
        fn a_lease_survives_shared_data(
            tokens: u32,
            ends: u64,
            growth in 0u8..64,
            short: bool,
            behind in 0u32..0x100_0000,
        ) {
            let lease = Lease { tokens, ends, growth, short, behind };
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
