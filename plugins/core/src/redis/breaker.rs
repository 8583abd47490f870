//! A circuit breaker: after some failures in a row Redis is left alone for a while, so that a dead Redis costs no
//! timeout per request; then one command goes through as a probe.

use crate::gcra::Ps;

/// When the breaker opens and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that open it; 0 never opens.
    pub failures: u32,
    /// How long it stays open before a probe.
    pub open_for: Ps,
}

/// The state of one worker's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All goes through; so many failures in a row so far.
    Closed { failures: u32 },
    /// Nothing goes through until then. A probe moves the instant on, so that one which never reports is followed
    /// by another.
    Open { until: Ps },
}

#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    state: State,
}

impl Breaker {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether a command may go to Redis now. While open, true once per `open_for`: the probe.
    pub fn admits(&mut self, now: Ps) -> bool {
        match self.state {
            State::Closed { .. } => true,
            // A clock that went back must not keep the breaker open for longer than it was meant to be.
            State::Open { until } if now >= until || until - now > self.settings.open_for => {
                self.open(now);
                true
            }
            State::Open { .. } => false,
        }
    }

    pub fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    pub fn failed(&mut self, now: Ps) {
        match self.state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if self.settings.failures != 0 && failures >= self.settings.failures {
                    self.open(now);
                }
            }
            // The probe has moved the instant on already. What goes to Redis without asking the breaker must not keep it
            // open for ever by failing.
            State::Open { .. } => {}
        }
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    fn open(&mut self, now: Ps) {
        self.state = State::Open {
            until: now + self.settings.open_for,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Settings {
            failures: 3,
            open_for: 100,
        })
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let mut breaker = breaker();
        for _ in 0..2 {
            breaker.failed(0);
            breaker.failed(0);
            breaker.succeeded();
        }
        assert!(!breaker.is_open());
        breaker.failed(0);
        breaker.failed(0);
        assert!(breaker.admits(0));
        breaker.failed(0);
        assert!(breaker.is_open());
        assert!(!breaker.admits(99));
    }

    #[test]
    fn one_probe_per_period_and_its_success_closes() {
        let mut breaker = breaker();
        (0..3).for_each(|_| breaker.failed(0));
        assert!(breaker.admits(100));
        assert!(!breaker.admits(100), "the probe is under way");
        assert!(!breaker.admits(199));
        assert!(
            breaker.admits(200),
            "a probe that never reports is followed by another"
        );
        breaker.failed(210);
        breaker.failed(290);
        assert!(!breaker.admits(299));
        assert!(breaker.admits(300), "only a probe moves the next one on");
        breaker.succeeded();
        assert!(breaker.admits(300));
        assert!(breaker.admits(300));
    }

    #[test]
    fn a_clock_that_went_back_does_not_hold_it_open() {
        let mut breaker = breaker();
        (0..3).for_each(|_| breaker.failed(1_000_000));
        assert!(breaker.admits(10));
    }

    #[test]
    fn zero_failures_never_opens() {
        let mut breaker = Breaker::new(Settings {
            failures: 0,
            open_for: 1,
        });
        (0..100).for_each(|_| breaker.failed(0));
        assert!(!breaker.is_open());
    }
}
