//! What goes wrong in a run. Some seeds have no faults, some have one kind, some have all.

use super::policy::Policy;
pub use crate::faults::Event;
use crate::faults::{self, moment};
use crate::trouble::Trouble;
use fastrand::Rng;
use sluice_emulator::{CalloutFaults, Plan, StreamFaults};
use std::time::Duration;

/// What the origin does to requests.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub trouble: Trouble,
    /// It takes up to so long, where it takes its time.
    pub slow_ms: u64,
}

#[derive(Debug, Clone)]
pub struct Faults {
    /// How far the gateways' clocks are off from the start, in nanoseconds.
    pub skews: Vec<i64>,
    pub interruption: f64,
    pub callouts: CalloutFaults,
    pub streams: StreamFaults,
    pub origin: Origin,
    /// Clients leave early.
    pub leavers: bool,
    /// Redis takes up to most of its timeout.
    pub slow: bool,
    /// What a client is told is safe from a failover.
    pub durable: bool,
    /// In order.
    pub timed: Vec<(Duration, Event)>,
}

impl Faults {
    #[must_use]
    pub fn draw(rng: &mut Rng, policy: &Policy, gateways: usize, workers: usize) -> Self {
        let calm = rng.u8(..10) < 2;
        let mut drawn = Self {
            skews: faults::skews(rng, gateways),
            interruption: [0.0, 0.05, 0.15, 0.4][rng.usize(..4)],
            callouts: CalloutFaults::default(),
            streams: StreamFaults::default(),
            origin: Origin::default(),
            leavers: false,
            slow: false,
            durable: policy.durable,
            timed: Vec::new(),
        };
        if calm {
            return drawn;
        }
        drawn.leavers = rng.u8(..3) == 0;
        drawn.slow = rng.u8(..5) == 0;
        if rng.u8(..2) == 0 {
            drawn.origin = Origin::draw(rng, policy);
        }
        if rng.u8(..2) == 0 {
            (drawn.callouts, drawn.streams) = faults::calls(rng);
        }
        if rng.u8(..3) == 0 {
            drawn.timed.extend(faults::outage(rng));
        }
        if rng.u8(..12) == 0 {
            drawn.timed.push(faults::loss(rng));
        }
        if rng.u8(..8) == 0 || policy.durable && rng.bool() {
            drawn.draw_failover(rng);
        }
        if rng.u8(..8) == 0 {
            drawn.timed.push((moment(rng), Event::ForgetScripts));
        }
        if rng.u8(..8) == 0 {
            let event = match rng.u8(..3) {
                0 => Event::Clock {
                    gateway: rng.usize(..gateways),
                    nanos: rng.i64(-20_000_000_000..=20_000_000_000),
                },
                _ => Event::RedisClock {
                    micros: rng.i64(-3_000_000..=3_000_000),
                },
            };
            drawn.timed.push((moment(rng), event));
        }
        for _ in 0..3 {
            if rng.u8(..6) == 0 {
                let gateway = rng.usize(..gateways);
                let event = match rng.u8(..5) {
                    0 => Event::Reload { gateway },
                    1..=2 => Event::Kill { gateway },
                    _ => Event::Crash {
                        gateway,
                        worker: rng.usize(..workers),
                    },
                };
                drawn.timed.push((moment(rng), event));
            }
        }
        drawn.timed.sort_by_key(|(at, _)| *at);
        drawn
    }

    /// A replica that lags, and takes over soon or much later.
    fn draw_failover(&mut self, rng: &mut Rng) {
        let begins = moment(rng);
        let lasts = Duration::from_micros(rng.u64(1_000..1_000_000));
        let fails = begins + Duration::from_micros(rng.u64(..2_000_000));
        let lost = rng.usize(1..20);
        self.timed.push((begins, Event::Lag));
        self.timed.push((begins + lasts, Event::CatchUp));
        self.timed.push((fails, Event::Failover { lost }));
    }

    /// Whether calls to Redis fail by chance, the whole run long.
    #[must_use]
    pub fn by_chance(&self) -> bool {
        faults::by_chance(&self.callouts, &self.streams)
    }

    /// Whether something can go wrong between the gateways and Redis.
    #[must_use]
    pub fn redis_fails(&self) -> bool {
        let untroubling =
            |event: &Event| matches!(event, Event::Clock { .. } | Event::ForgetScripts);
        self.by_chance() || self.slow || !self.timed.iter().all(|(_, event)| untroubling(event))
    }

    /// Whether Redis loses what it was told: nobody can promise anything then.
    #[must_use]
    pub fn loses(&self) -> bool {
        let safe = |event: &Event| self.durable && matches!(event, Event::Failover { .. });
        let mut timed = self.timed.iter();
        timed.any(|(_, event)| event.is_loss() && !safe(event))
    }

    /// Whether the clock of Redis jumps.
    #[must_use]
    pub fn jumps(&self) -> bool {
        let mut timed = self.timed.iter();
        timed.any(|(_, event)| matches!(event, Event::RedisClock { .. }))
    }

    /// How far the clock of Redis jumps ahead between two times.
    #[must_use]
    pub fn ahead(&self, from: Duration, to: Duration) -> Duration {
        let jumps = self.timed.iter().map(|(at, event)| match event {
            Event::RedisClock { micros } if (from..=to).contains(at) => *micros,
            _ => 0,
        });
        Duration::from_micros(u64::try_from(jumps.sum::<i64>()).unwrap_or(0))
    }

    /// Whether a VM or a whole gateway goes down.
    #[must_use]
    pub fn kills(&self, of: usize) -> bool {
        self.timed.iter().any(|(_, event)| {
            matches!(event, Event::Crash { gateway, .. } | Event::Kill { gateway } if *gateway == of)
        })
    }

    #[must_use]
    pub fn plan(&self, timeout_ms: u64) -> Plan {
        let slow = self.slow.then_some(timeout_ms * 400);
        let calls = (&self.callouts, &self.streams);
        faults::plan(self.interruption, calls, slow)
    }
}

impl Origin {
    fn draw(rng: &mut Rng, policy: &Policy) -> Self {
        Self {
            trouble: Trouble::draw(rng),
            slow_ms: match rng.u8(..3) {
                0 => 0,
                1 => policy.lease_ms * 2,
                _ => policy.upstream_timeout_ms * 2,
            },
        }
    }
}
