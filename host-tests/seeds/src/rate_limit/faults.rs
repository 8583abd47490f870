//! What goes wrong in a run. Some seeds have no faults, some have one kind, some have all.

pub use crate::faults::Event;
use crate::faults::{self, moment};
use fastrand::Rng;
use sluice_emulator::{CalloutFaults, Plan, StreamFaults};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Faults {
    /// How far the gateways' clocks are off from the start, in nanoseconds.
    pub skews: Vec<i64>,
    pub interruption: f64,
    pub callouts: CalloutFaults,
    pub streams: StreamFaults,
    /// Clients leave early.
    pub leavers: bool,
    /// Redis takes up to most of a request's timeout.
    pub slow: bool,
    /// In order.
    pub timed: Vec<(Duration, Event)>,
}

impl Faults {
    #[must_use]
    pub fn draw(rng: &mut Rng, gateways: usize, workers: usize) -> Self {
        let calm = rng.u8(..10) < 4;
        let mut drawn = Self {
            skews: faults::skews(rng, gateways),
            interruption: [0.0, 0.05, 0.15, 0.4][rng.usize(..4)],
            callouts: CalloutFaults::default(),
            streams: StreamFaults::default(),
            leavers: false,
            slow: false,
            timed: Vec::new(),
        };
        if calm {
            return drawn;
        }
        drawn.leavers = rng.u8(..3) == 0;
        drawn.slow = rng.u8(..4) == 0;
        if rng.u8(..2) == 0 {
            (drawn.callouts, drawn.streams) = faults::calls(rng);
        }
        if rng.u8(..2) == 0 {
            drawn.timed.extend(faults::outage(rng));
        }
        if rng.u8(..5) == 0 {
            drawn.timed.push(faults::loss(rng));
        }
        if rng.u8(..8) == 0 {
            drawn.draw_clock(rng, gateways);
        }
        if rng.u8(..6) == 0 {
            let gateway = rng.usize(..gateways);
            let event = match rng.bool() {
                true => Event::Reload { gateway },
                false => Event::Crash {
                    gateway,
                    worker: rng.usize(..workers),
                },
            };
            drawn.timed.push((moment(rng), event));
        }
        drawn.timed.sort_by_key(|(at, _)| *at);
        drawn
    }

    fn draw_clock(&mut self, rng: &mut Rng, gateways: usize) {
        let seconds = rng.i64(-20_000..=20_000);
        let event = match rng.bool() {
            true => Event::RedisClock {
                micros: seconds * 1000,
            },
            false => Event::Clock {
                gateway: rng.usize(..gateways),
                nanos: seconds * 1_000_000,
            },
        };
        self.timed.push((moment(rng), event));
    }

    /// Whether calls to Redis fail by chance, the whole run long.
    #[must_use]
    pub fn by_chance(&self) -> bool {
        faults::by_chance(&self.callouts, &self.streams)
    }

    /// Whether nothing at all goes wrong.
    #[must_use]
    pub fn none(&self) -> bool {
        !self.by_chance() && !self.leavers && !self.slow && self.timed.is_empty()
    }

    #[must_use]
    pub fn plan(&self, timeout_ms: u64) -> Plan {
        let slow = self.slow.then_some(timeout_ms * 400);
        let calls = (&self.callouts, &self.streams);
        faults::plan(self.interruption, calls, slow)
    }

    /// When the last timed fault happens.
    #[must_use]
    pub fn last(&self) -> Duration {
        self.timed.last().map_or(Duration::ZERO, |(at, _)| *at)
    }
}
