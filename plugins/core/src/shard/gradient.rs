//! A cap that finds itself: it grows while answers take no longer than they used to, and shrinks in the measure in which
//! they take longer (the gradient of Netflix's concurrency-limits).

use crate::gcra::Ps;

/// What a shard's cap may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub floor: u32,
    pub ceiling: u32,
}

/// How often the cap is thought over: after so many answers.
pub const WINDOW: u32 = 20;

/// What is known of a shard's answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gradient {
    limit: f64,
    /// The usual time to answer, in picoseconds; 0 before the first window.
    usual: f64,
    sum: f64,
    count: u32,
    /// The most that were under way at once in this window.
    peak: u32,
}

/// Answers may take this much longer than usual before the cap shrinks.
const TOLERANCE: f64 = 1.5;
/// How much of a new limit counts against the old one.
const SMOOTHING: f64 = 0.2;
/// How much of a window counts against what is usual.
const MEMORY: f64 = 0.01;

impl Gradient {
    /// Starts at the ceiling: a cap that is too low at first would refuse what there was room for.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            limit: f64::from(bounds.ceiling),
            usual: 0.0,
            sum: 0.0,
            count: 0,
            peak: 0,
        }
    }

    /// The cap as it is.
    #[must_use]
    pub fn limit(&self) -> u32 {
        // Between floor and ceiling, both u32.
        self.limit as u32
    }

    /// An answer came after `took`, while so many were under way.
    #[must_use]
    pub fn answered(mut self, took: Ps, in_flight: u32, bounds: Bounds) -> Self {
        self.sum += took as f64;
        self.count += 1;
        self.peak = self.peak.max(in_flight);
        if self.count < WINDOW {
            return self;
        }
        let now = (self.sum / f64::from(self.count)).max(1.0);
        self.usual = if self.usual == 0.0 {
            now
        } else {
            self.usual * (1.0 - MEMORY) + now * MEMORY
        };
        // After a bad time the usual has grown: it comes down with the first good answers, or the cap would not notice
        // the next bad time.
        if self.usual > now * 2.0 {
            self.usual *= 0.95;
        }
        let gradient = (TOLERANCE * self.usual / now).clamp(0.5, 1.0);
        let shrinks = gradient < 1.0;
        // A cap that nobody comes near says nothing of what the shard bears: it does not grow.
        if shrinks || f64::from(self.peak) >= self.limit / 2.0 {
            let wanted = self.limit * gradient + libm::sqrt(self.limit);
            self.limit = self.limit * (1.0 - SMOOTHING) + wanted * SMOOTHING;
        }
        self.limit = self
            .limit
            .clamp(f64::from(bounds.floor), f64::from(bounds.ceiling));
        Self {
            sum: 0.0,
            count: 0,
            peak: 0,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gcra::PS_PER_S;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds {
        floor: 5,
        ceiling: 100,
    };
    const MS: Ps = PS_PER_S / 1_000;

    fn after(mut gradient: Gradient, answers: u32, took: Ps) -> Gradient {
        for _ in 0..answers {
            let under_way = gradient.limit();
            gradient = gradient.answered(took, under_way, BOUNDS);
        }
        gradient
    }

    #[test]
    fn a_shard_that_slows_down_gets_less_and_one_that_recovers_gets_it_back() {
        let calm = after(Gradient::new(BOUNDS), 1_000, 10 * MS);
        assert_eq!(calm.limit(), 100);
        let slow = after(calm, 400, 100 * MS);
        assert!(slow.limit() < 40, "{}", slow.limit());
        let well = after(slow, 2_000, 10 * MS);
        assert!(well.limit() > 90, "{}", well.limit());
    }

    #[test]
    fn a_cap_that_nobody_comes_near_does_not_grow() {
        let slow = after(after(Gradient::new(BOUNDS), 400, 10 * MS), 400, 100 * MS);
        let mut idle = slow;
        for _ in 0..1_000 {
            idle = idle.answered(10 * MS, 1, BOUNDS);
        }
        assert_eq!(idle.limit(), slow.limit());
    }

    proptest! {
        #[test]
        fn the_cap_stays_within_its_bounds(answers in prop::collection::vec((0_u64..u64::MAX, any::<u32>()), 0..500)) {
            let mut gradient = Gradient::new(BOUNDS);
            for (took, under_way) in answers {
                gradient = gradient.answered(took.into(), under_way, BOUNDS);
                prop_assert!((BOUNDS.floor..=BOUNDS.ceiling).contains(&gradient.limit()));
            }
        }
    }
}
