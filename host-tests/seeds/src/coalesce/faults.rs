//! What goes wrong in a run. Some seeds have no faults, some have one kind, some have all.

use super::fleet::Fleet;
use super::policy::{Policy, TICK_MS};
pub use crate::faults::Event;
use crate::faults::{self, moment};
use crate::trouble::{Trouble, often};
use fastrand::Rng;
use sluice_emulator::{CalloutFaults, Plan, Span, StreamFaults};
use std::time::Duration;

/// The time each way of a call where nothing is slow.
const PROMPT_US: u64 = 500;

#[derive(Debug, Clone)]
pub struct Faults {
    /// How far the gateways' clocks are off from the start, in nanoseconds.
    pub skews: Vec<i64>,
    pub interruption: f64,
    pub callouts: CalloutFaults,
    pub streams: StreamFaults,
    /// Redis, and the origin to a call, take up to so long each way.
    pub call_us: u64,
    pub trouble: Trouble,
    /// How often the origin answers 502 or 503.
    pub errors: f64,
    /// The origin takes up to so long, where it takes its time.
    pub slow_ms: u64,
    /// The network takes up to so long for each piece.
    pub network_us: u64,
    /// Clients leave early.
    pub leavers: bool,
    /// In order.
    pub timed: Vec<(Duration, Event)>,
}

impl Faults {
    #[must_use]
    pub fn draw(rng: &mut Rng, policy: &Policy, workers: usize) -> Self {
        let calm = rng.u8(..10) < 3;
        let mut drawn = Self {
            skews: faults::skews(rng, 1),
            interruption: [0.0, 0.05, 0.15, 0.4][rng.usize(..4)],
            callouts: CalloutFaults::default(),
            streams: StreamFaults::default(),
            call_us: PROMPT_US,
            trouble: Trouble::default(),
            errors: 0.0,
            slow_ms: [5, 80, 400, 1_500][rng.usize(..4)].min(policy.upstream_timeout_ms / 2),
            network_us: [2_000, 2_000, 60_000][rng.usize(..3)],
            leavers: false,
            timed: Vec::new(),
        };
        if calm {
            return drawn;
        }
        drawn.leavers = rng.u8(..2) == 0;
        if rng.u8(..2) == 0 {
            drawn.trouble = Trouble::draw(rng);
            drawn.errors = often(rng);
        }
        if rng.u8(..3) == 0 {
            drawn.callouts = calls(rng);
        }
        if rng.u8(..8) == 0 {
            let nanos = rng.i64(-20_000_000_000..=20_000_000_000);
            drawn
                .timed
                .push((moment(rng), Event::Clock { gateway: 0, nanos }));
        }
        for _ in 0..2 {
            if rng.u8(..6) == 0 {
                let event = match rng.u8(..5) {
                    0 => Event::Reload { gateway: 0 },
                    1 => Event::Kill { gateway: 0 },
                    _ => Event::Crash {
                        gateway: 0,
                        worker: rng.usize(..workers),
                    },
                };
                drawn.timed.push((moment(rng), event));
            }
        }
        drawn.timed.sort_by_key(|(at, _)| *at);
        drawn
    }

    /// What of it happens to which of several gateways, and what goes wrong with the Redis that they share.
    pub fn spread(&mut self, rng: &mut Rng, gateways: usize, fleet: &Fleet, refreshes: bool) {
        self.skews = faults::skews(rng, gateways);
        for (_, event) in &mut self.timed {
            event.move_to(rng.usize(..gateways));
        }
        if rng.bool() {
            return;
        }
        if rng.u8(..5) == 0 {
            self.call_us = fleet.timeout_ms * 400;
        }
        if rng.u8(..2) == 0 {
            let (callouts, streams) = faults::calls(rng);
            self.streams = streams;
            self.callouts = if refreshes { uncut(callouts) } else { callouts };
        }
        if rng.u8(..2) == 0 {
            self.timed.extend(faults::outage(rng));
        }
        if rng.u8(..4) == 0 {
            let begins = moment(rng);
            let ends = begins + Duration::from_micros(rng.u64(1_000..1_000_000));
            self.timed
                .extend([(begins, Event::Hang), (ends, Event::Thaw)]);
        }
        if rng.u8(..6) == 0 {
            self.timed.push(faults::loss(rng));
        }
        if rng.u8(..6) == 0 {
            let micros = rng.i64(-5_000_000..=5_000_000);
            self.timed.push((moment(rng), Event::RedisClock { micros }));
        }
        if rng.u8(..8) == 0 {
            self.timed.push((moment(rng), Event::ForgetScripts));
        }
        self.timed.sort_by_key(|(at, _)| *at);
    }

    /// What happens to a gateway.
    fn at(&self, gateway: usize) -> impl Iterator<Item = &Event> {
        let timed = self.timed.iter().map(|(_, event)| event);
        timed.filter(move |event| event.gateway() == Some(gateway))
    }

    /// Whether a VM of a gateway or the whole process goes down.
    #[must_use]
    pub fn crashes(&self, gateway: usize) -> bool {
        let mut events = self.at(gateway);
        events.any(|event| matches!(event, Event::Crash { .. } | Event::Kill { .. }))
    }

    /// How often a gateway loads its policy again.
    #[must_use]
    pub fn reloads(&self, gateway: usize) -> usize {
        let events = self.at(gateway);
        events
            .filter(|event| matches!(event, Event::Reload { .. }))
            .count()
    }

    /// Whether Redis, which gateways talk to by a stream or by calls, fails or does not know the time.
    #[must_use]
    pub fn redis_fails(&self, stream: bool) -> bool {
        let chance = match stream {
            true => faults::by_chance(&CalloutFaults::default(), &self.streams),
            false => faults::by_chance(&self.callouts, &StreamFaults::default()),
        };
        let troubles =
            |event: &Event| event.gateway().is_none() && !matches!(event, Event::ForgetScripts);
        chance || self.call_us > PROMPT_US || self.timed.iter().any(|(_, event)| troubles(event))
    }

    /// How far the clock of Redis goes back at most.
    #[must_use]
    pub fn redis_back(&self) -> Duration {
        let jumps = self.timed.iter().map(|(_, event)| match event {
            Event::RedisClock { micros } => u64::try_from(-micros).unwrap_or(0),
            _ => 0,
        });
        Duration::from_micros(jumps.sum())
    }

    /// How far a gateway's clock goes back at most.
    #[must_use]
    pub fn back(&self, gateway: usize) -> Duration {
        let jumps = self.at(gateway).map(|event| match event {
            Event::Clock { nanos, .. } => u64::try_from(-nanos).unwrap_or(0),
            _ => 0,
        });
        Duration::from_nanos(jumps.sum())
    }

    /// Whether the clock of a gateway jumps.
    #[must_use]
    pub fn jumps(&self, gateway: usize) -> bool {
        let mut events = self.at(gateway);
        events.any(|event| matches!(event, Event::Clock { .. }))
    }

    /// Whether any clock jumps.
    #[must_use]
    pub fn any_jumps(&self) -> bool {
        let jumps = |event: &Event| matches!(event, Event::Clock { .. } | Event::RedisClock { .. });
        self.timed.iter().any(|(_, event)| jumps(event))
    }

    /// Whether all workers may be new before any has seen that the clock went back: only by comparing can it be seen.
    #[must_use]
    pub fn hides_a_jump(&self) -> bool {
        let is_jump = |event: &Event| matches!(event, Event::Clock { .. });
        let near = |a: &Duration, b: &Duration| a.abs_diff(*b) < Duration::from_millis(3 * TICK_MS);
        self.timed.iter().any(|(at, event)| {
            let mut others = self.timed.iter();
            is_jump(event) && others.any(|(other, event)| !is_jump(event) && near(at, other))
        })
    }

    /// Whether calls without a client fail by chance.
    #[must_use]
    pub fn calls_fail(&self) -> bool {
        faults::by_chance(&self.callouts, &StreamFaults::default())
    }

    #[must_use]
    pub fn plan(&self) -> Plan {
        let calls = (&self.callouts, &self.streams);
        let slow = (self.call_us > PROMPT_US).then_some(self.call_us);
        let mut plan = faults::plan(self.interruption, calls, slow);
        plan.latency.origin = Span::micros(50, self.network_us);
        plan
    }

    /// What the network takes at most for a connection and one piece.
    #[must_use]
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.network_us + 100)
    }
}

fn calls(rng: &mut Rng) -> CalloutFaults {
    uncut(faults::calls(rng).0)
}

/// A reply of the origin that is cut short or garbage is none that HTTP would deliver as whole.
fn uncut(drawn: CalloutFaults) -> CalloutFaults {
    CalloutFaults {
        truncated: 0.0,
        garbage: 0.0,
        ..drawn
    }
}
