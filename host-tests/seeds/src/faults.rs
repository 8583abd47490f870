//! What goes wrong in a run. Some seeds have no faults, some have one kind, some have all.

use fastrand::Rng;
use sluice_emulator::{CalloutFaults, Fault, GatewayId, Interruption, Plan, Span, StreamFaults};
use sluice_model_redis::Mode;
use std::time::Duration;

/// What happens at a time.
#[derive(Debug, Clone)]
pub enum Event {
    /// Redis cannot be connected to.
    Down,
    Up,
    /// Redis answers with errors of a kind.
    Mode(Mode),
    /// Redis starts again with its data.
    Restart,
    /// Redis starts again without its data.
    Wiped,
    /// A replica takes over without the last writes.
    Failover {
        lost: usize,
    },
    /// Redis drops a part of its keys.
    Evicted {
        percent: u32,
    },
    /// Redis's clock jumps.
    RedisClock {
        micros: i64,
    },
    /// A gateway's clock jumps.
    Clock {
        gateway: usize,
        nanos: i64,
    },
    /// A worker's VM crashes.
    Crash {
        gateway: usize,
        worker: usize,
    },
    /// A gateway loads the policy again.
    Reload {
        gateway: usize,
    },
}

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

/// When the last timed fault happens, at the latest.
const LAST: u64 = 3_000_000;

impl Faults {
    #[must_use]
    pub fn draw(rng: &mut Rng, gateways: usize, workers: usize) -> Self {
        let calm = rng.u8(..10) < 4;
        let mut faults = Self {
            skews: (0..gateways)
                .map(|_| {
                    if rng.bool() {
                        0
                    } else {
                        rng.i64(-5_000_000_000..=5_000_000_000)
                    }
                })
                .collect(),
            interruption: [0.0, 0.05, 0.15, 0.4][rng.usize(..4)],
            callouts: CalloutFaults::default(),
            streams: StreamFaults::default(),
            leavers: false,
            slow: false,
            timed: Vec::new(),
        };
        if calm {
            return faults;
        }
        faults.leavers = rng.u8(..3) == 0;
        faults.slow = rng.u8(..4) == 0;
        if rng.u8(..2) == 0 {
            faults.draw_calls(rng);
        }
        if rng.u8(..2) == 0 {
            faults.draw_outage(rng);
        }
        if rng.u8(..5) == 0 {
            faults.draw_loss(rng);
        }
        if rng.u8(..8) == 0 {
            faults.draw_clock(rng, gateways);
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
            faults.timed.push((moment(rng), event));
        }
        faults.timed.sort_by_key(|(at, _)| *at);
        faults
    }

    fn draw_calls(&mut self, rng: &mut Rng) {
        let mut often = || {
            if rng.u8(..3) == 0 {
                rng.f64() * 0.15
            } else {
                0.0
            }
        };
        self.callouts = CalloutFaults {
            refused: often(),
            unavailable: often(),
            reset: often(),
            lost_reply: often(),
            late_request: often(),
            late_reply: often(),
            truncated: often(),
            garbage: often(),
        };
        self.streams = StreamFaults {
            refused: often(),
            unavailable: often(),
            reset: often(),
            lost_reply: often(),
            frozen: often(),
            pieces: often() * 4.0,
        };
    }

    fn draw_outage(&mut self, rng: &mut Rng) {
        let (begins, lasts) = (
            moment(rng),
            Duration::from_micros(rng.u64(1_000..1_000_000)),
        );
        let (begin, end) = match rng.u8(..4) {
            0 => (Event::Down, Event::Up),
            1 => (Event::Restart, Event::Up),
            _ => {
                let modes = [
                    Mode::Loading,
                    Mode::ReadOnly,
                    Mode::OutOfMemory,
                    Mode::Busy,
                    Mode::MasterDown,
                ];
                (
                    Event::Mode(modes[rng.usize(..modes.len())]),
                    Event::Mode(Mode::Normal),
                )
            }
        };
        self.timed.push((begins, begin));
        self.timed.push((begins + lasts, end));
    }

    fn draw_loss(&mut self, rng: &mut Rng) {
        let event = match rng.u8(..3) {
            0 => Event::Wiped,
            1 => Event::Failover {
                lost: rng.usize(1..20),
            },
            _ => Event::Evicted {
                percent: rng.u32(10..=100),
            },
        };
        self.timed.push((moment(rng), event));
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
        let CalloutFaults {
            refused,
            unavailable,
            reset,
            lost_reply,
            late_request,
            late_reply,
            truncated,
            garbage,
        } = self.callouts;
        let streams = &self.streams;
        refused
            + unavailable
            + reset
            + lost_reply
            + late_request
            + late_reply
            + truncated
            + garbage
            + streams.refused
            + streams.unavailable
            + streams.reset
            + streams.lost_reply
            + streams.frozen
            > 0.0
    }

    /// Whether nothing at all goes wrong.
    #[must_use]
    pub fn none(&self) -> bool {
        !self.by_chance() && !self.leavers && !self.slow && self.timed.is_empty()
    }

    #[must_use]
    pub fn plan(&self, timeout_ms: u64) -> Plan {
        let mut latency = Plan::calm().latency;
        if self.slow {
            latency.callout = Span::micros(20, timeout_ms * 400);
        }
        Plan {
            latency,
            interruption: Interruption {
                probability: self.interruption,
                length: Span::micros(0, 200),
            },
            callouts: self.callouts.clone(),
            streams: self.streams.clone(),
            ..Plan::calm()
        }
    }

    /// When the last timed fault happens.
    #[must_use]
    pub fn last(&self) -> Duration {
        self.timed.last().map_or(Duration::ZERO, |(at, _)| *at)
    }
}

fn moment(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.u64(1_000..LAST))
}

impl Event {
    /// As the emulator knows it.
    #[must_use]
    pub fn fault(&self, gateways: &[GatewayId], configuration: &str) -> Fault {
        match *self {
            Self::Down => Fault::RedisDown,
            Self::Up => Fault::RedisUp,
            Self::Mode(mode) => Fault::RedisMode(mode),
            Self::Restart => Fault::RedisRestart { keep_data: true },
            Self::Wiped => Fault::RedisRestart { keep_data: false },
            Self::Failover { lost } => Fault::RedisFailover { lost_writes: lost },
            Self::Evicted { percent } => Fault::RedisEvict {
                fraction: f64::from(percent) / 100.0,
            },
            Self::RedisClock { micros } => Fault::RedisClockJump { by: micros },
            Self::Clock { gateway, nanos } => Fault::ClockJump {
                gateway: gateways[gateway],
                by: nanos,
            },
            Self::Crash { gateway, worker } => Fault::KillVm {
                gateway: gateways[gateway],
                worker,
            },
            Self::Reload { gateway } => Fault::Reload {
                gateway: gateways[gateway],
                configuration: configuration.as_bytes().to_vec(),
            },
        }
    }

    /// Whether Redis forgets charges.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Wiped | Self::Failover { .. } | Self::Evicted { .. }
        )
    }
}
