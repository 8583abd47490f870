//! The generic cell rate algorithm, in integers.
//!
//! One number describes a client: its theoretical arrival time (TAT), the instant at which its bucket is full again.
//! A request of cost `c` moves it by `c` emission intervals and passes when that leaves it no further than the burst
//! tolerance ahead of now (ITU-T I.371; the "virtual scheduling" form).
//!
//! Times are whole picoseconds. A microsecond is too coarse (600,000/s would become 1,000,000/s), and floats drift.
//! The emission interval is rounded up, so a rate is never exceeded; [`Quota::new`] refuses a rate that the rounding
//! would bend by more than 0.01%.

use std::time::Duration;

/// Picoseconds; an instant is counted from the Unix epoch.
pub type Ps = u128;

/// Picoseconds in a microsecond, the unit of Redis's clock.
pub const PS_PER_US: Ps = 1_000_000;
/// Picoseconds in a second.
pub const PS_PER_S: Ps = 1_000_000_000_000;

/// Below this many picoseconds an emission interval cannot be rounded up without bending the rate by over 0.01%.
const MIN_INEXACT_INTERVAL: Ps = 10_000;
/// Redis scripts count in doubles, exact up to 2^53 microseconds (the year 2255): a hundred years ahead stays exact.
const MAX_TOLERANCE: Ps = 100 * 366 * 86_400 * PS_PER_S;

/// A rate and its burst, ready to decide with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Emission interval T: the time in which one token comes back.
    interval: Ps,
    /// Burst tolerance D = B x T: the time in which an empty bucket fills.
    tolerance: Ps,
    burst: u64,
}

/// Why a rate cannot be enforced as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaError {
    /// The rounded interval would change the rate by more than 0.01%.
    TooFast,
    /// An empty bucket would need more than a hundred years to fill.
    TooSlow,
}

impl std::fmt::Display for QuotaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooFast => "a rate of at most 100 million a second",
            Self::TooSlow => "a burst that refills within 100 years at this rate",
        })
    }
}

impl std::error::Error for QuotaError {}

/// What a decision comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Passes; the new TAT is to be stored (unless the cost was 0, when nothing changes).
    Allow { tat: Ps },
    /// Does not pass now, would pass after `retry` picoseconds. Nothing is to be stored.
    Deny { retry: Ps },
    /// Costs more than the burst holds: waiting does not help. Nothing is to be stored.
    Never,
}

/// A verdict and how full the client's bucket is after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    /// X: picoseconds until the bucket is full again.
    pub backlog: Ps,
}

impl Quota {
    /// Denies everything.
    pub const NOTHING: Self = Self {
        interval: 0,
        tolerance: 0,
        burst: 0,
    };

    /// `limit` tokens per `period`, at most `burst` at one instant. A `limit` or `burst` of 0 denies everything.
    ///
    /// # Errors
    /// When the rate or the burst is outside what whole picoseconds and Redis's doubles represent exactly.
    pub fn new(limit: u64, period: Duration, burst: u64) -> Result<Self, QuotaError> {
        if limit == 0 || burst == 0 {
            return Ok(Self::NOTHING);
        }
        let period = period.as_nanos() * 1_000;
        let interval = period.div_ceil(Ps::from(limit));
        if interval == 0
            || (interval < MIN_INEXACT_INTERVAL && !period.is_multiple_of(Ps::from(limit)))
        {
            return Err(QuotaError::TooFast);
        }
        let tolerance = interval.saturating_mul(Ps::from(burst));
        if tolerance > MAX_TOLERANCE {
            return Err(QuotaError::TooSlow);
        }
        Ok(Self {
            interval,
            tolerance,
            burst,
        })
    }

    /// The same rate with a smaller burst (0 denies everything).
    #[must_use]
    pub fn with_burst(self, burst: u64) -> Self {
        let burst = burst.min(self.burst);
        Self {
            tolerance: self.interval * Ps::from(burst),
            burst,
            ..self
        }
    }

    /// The part of this quota that one gateway enforces when it is on its own, for a request of `cost` tokens: rate and
    /// burst times `millionths`/10^6. The burst has room for the request if the whole one has, or it would be denied for
    /// ever.
    #[must_use]
    pub fn share(self, millionths: u32, cost: u64) -> Self {
        let millionths = u64::from(millionths.clamp(1, 1_000_000));
        if self.burst == 0 {
            return self;
        }
        let interval = (self.interval * 1_000_000).div_ceil(Ps::from(millionths));
        let burst = u64::try_from(u128::from(self.burst) * u128::from(millionths) / 1_000_000)
            .unwrap_or(self.burst)
            .max(cost.clamp(1, self.burst));
        Self {
            interval,
            tolerance: interval * Ps::from(burst),
            burst,
        }
    }

    /// B: how many requests of cost 1 pass at one instant.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// T in picoseconds.
    #[must_use]
    pub fn interval(&self) -> Ps {
        self.interval
    }

    /// D in picoseconds.
    #[must_use]
    pub fn tolerance(&self) -> Ps {
        self.tolerance
    }

    /// Decides on a request of `cost` tokens at `now`. `tat` is the stored record; none and one in the past are equal.
    #[must_use]
    pub fn decide(&self, tat: Option<Ps>, now: Ps, cost: u64) -> Decision {
        let base = self.clamp(tat, now);
        if cost > self.burst {
            return Decision {
                verdict: Verdict::Never,
                backlog: base - now,
            };
        }
        let new = base + self.interval * Ps::from(cost);
        let limit = now + self.tolerance;
        if new > limit || self.burst == 0 {
            return Decision {
                verdict: if self.burst == 0 {
                    Verdict::Never
                } else {
                    Verdict::Deny { retry: new - limit }
                },
                backlog: base - now,
            };
        }
        Decision {
            verdict: Verdict::Allow { tat: new },
            backlog: new - now,
        }
    }

    /// The TAT after giving back, `now`, `cost` tokens that were charged at `charged_at` but not used.
    ///
    /// The time that has gone by since the charge is not given back, at most what was charged. That keeps the window
    /// law: each request owns `cost` intervals of the time line, none of which begins before the request. Those behind
    /// what is given back move up, and must not get into the past. Where in the line this request now stands is not
    /// known (others may have moved it up), but it cannot be earlier than its own time.
    #[must_use]
    pub fn refund(&self, tat: Ps, charged_at: Ps, now: Ps, cost: u64) -> Ps {
        let charge = self.interval * Ps::from(cost);
        tat.saturating_sub(charge.saturating_sub(now.saturating_sub(charged_at)))
    }

    /// How many tokens are left when the backlog is `backlog`.
    #[must_use]
    pub fn remaining(&self, backlog: Ps) -> u64 {
        let room = self.tolerance.saturating_sub(backlog);
        match u64::try_from(room / self.interval.max(1)) {
            Ok(tokens) => tokens.min(self.burst),
            Err(_) => self.burst,
        }
    }

    /// Picoseconds until one more token is available than now; none when the bucket is full.
    #[must_use]
    pub fn until_next(&self, backlog: Ps) -> Option<Ps> {
        let remaining = self.remaining(backlog);
        if remaining >= self.burst {
            return None;
        }
        let room = self.tolerance.saturating_sub(backlog);
        Some((self.interval * Ps::from(remaining + 1)).saturating_sub(room))
    }

    /// `max(TAT, now)`, and never further ahead than the tolerance: a clock that went back, or a limit that was made
    /// shorter while its records lived, must not lock a client out for longer than one full bucket.
    fn clamp(&self, tat: Option<Ps>, now: Ps) -> Ps {
        tat.unwrap_or(0).clamp(now, now + self.tolerance)
    }
}

#[cfg(test)]
#[path = "gcra_tests.rs"]
mod tests;
