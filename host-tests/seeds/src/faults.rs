//! What can go wrong in a run of any filter.

use fastrand::Rng;
use sluice_emulator::{
    CalloutFaults, Fault, GatewayId, Interruption, Plan, Span, StreamFaults, World,
};
use sluice_model_redis::Mode;
use std::time::Duration;

/// Of so many VMs that crashed, whether more did than were made to.
#[must_use]
pub fn crashed(crashes: usize, timed: &[(Duration, Event)]) -> Option<String> {
    let meant = |(_, event): &&(Duration, Event)| matches!(event, Event::Crash { .. });
    let meant = timed.iter().filter(meant).count();
    (crashes > meant).then(|| format!("{crashes} VMs crashed, and {meant} were made to"))
}

/// When the last timed fault happens, at the latest.
const LAST: u64 = 3_000_000;

/// What happens at a time.
#[derive(Debug, Clone)]
pub enum Event {
    /// Redis cannot be connected to.
    Down,
    Up,
    /// Redis stands still: what comes waits.
    Hang,
    Thaw,
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
    /// Its replica has no more of its writes, so that a failover can lose them.
    Lag,
    /// It has them all again.
    CatchUp,
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
    /// A gateway's process is killed and started again.
    Kill {
        gateway: usize,
    },
    /// Redis forgets its scripts.
    ForgetScripts,
    /// A gateway loads the policy again.
    Reload {
        gateway: usize,
    },
}

impl Event {
    /// Makes it happen now.
    pub fn strike(&self, world: &mut World, gateways: &[GatewayId], configuration: &str) {
        match self.fault(gateways, configuration) {
            Some(fault) => world.strike(fault),
            None => match self {
                Self::Lag => world.redis().set_replicas_follow(false),
                Self::CatchUp => world.redis().set_replicas_follow(true),
                _ => drop(world.redis_command(&["SCRIPT", "FLUSH"])),
            },
        }
    }

    /// As the emulator knows it.
    fn fault(&self, gateways: &[GatewayId], configuration: &str) -> Option<Fault> {
        Some(match *self {
            Self::Down => Fault::RedisDown,
            Self::Up => Fault::RedisUp,
            Self::Hang => Fault::RedisFreeze,
            Self::Thaw => Fault::RedisThaw,
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
            Self::Kill { gateway } => Fault::KillGateway {
                gateway: gateways[gateway],
            },
            Self::ForgetScripts | Self::Lag | Self::CatchUp => return None,
            Self::Reload { gateway } => Fault::Reload {
                gateway: gateways[gateway],
                configuration: configuration.as_bytes().to_vec(),
            },
        })
    }

    /// The gateway that it happens to; none where it happens to Redis.
    #[must_use]
    pub fn gateway(&self) -> Option<usize> {
        match self {
            Self::Clock { gateway, .. }
            | Self::Crash { gateway, .. }
            | Self::Kill { gateway }
            | Self::Reload { gateway } => Some(*gateway),
            _ => None,
        }
    }

    /// Has it happen to another gateway.
    pub fn move_to(&mut self, other: usize) {
        match self {
            Self::Clock { gateway, .. }
            | Self::Crash { gateway, .. }
            | Self::Kill { gateway }
            | Self::Reload { gateway } => *gateway = other,
            _ => {}
        }
    }

    /// Whether Redis forgets what it was told.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Wiped | Self::Failover { .. } | Self::Evicted { .. }
        )
    }
}

/// How far the gateways' clocks are off from the start, in nanoseconds.
pub fn skews(rng: &mut Rng, gateways: usize) -> Vec<i64> {
    let skew = |rng: &mut Rng| match rng.bool() {
        true => 0,
        false => rng.i64(-5_000_000_000..=5_000_000_000),
    };
    (0..gateways).map(|_| skew(rng)).collect()
}

/// The emulator's plan. `slow`: Redis takes up to so many microseconds each way.
#[must_use]
pub fn plan(interruption: f64, calls: (&CalloutFaults, &StreamFaults), slow: Option<u64>) -> Plan {
    let mut plan = Plan::calm();
    if let Some(most) = slow {
        plan.latency.callout = Span::micros(20, most);
    }
    plan.interruption = Interruption {
        probability: interruption,
        length: Span::micros(0, 200),
    };
    plan.callouts = calls.0.clone();
    plan.streams = calls.1.clone();
    plan
}

/// A time for a fault.
pub fn moment(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.u64(1_000..LAST))
}

/// What goes wrong with calls to Redis by chance.
pub fn calls(rng: &mut Rng) -> (CalloutFaults, StreamFaults) {
    let mut often = || {
        if rng.u8(..3) == 0 {
            rng.f64() * 0.15
        } else {
            0.0
        }
    };
    let callouts = CalloutFaults {
        refused: often(),
        unavailable: often(),
        reset: often(),
        lost_reply: often(),
        late_request: often(),
        late_reply: often(),
        truncated: often(),
        garbage: often(),
    };
    let streams = StreamFaults {
        refused: often(),
        unavailable: often(),
        reset: often(),
        lost_reply: often(),
        frozen: often(),
        pieces: often() * 4.0,
    };
    (callouts, streams)
}

/// A time without Redis: how it begins, and how it ends.
pub fn outage(rng: &mut Rng) -> [(Duration, Event); 2] {
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
    [(begins, begin), (begins + lasts, end)]
}

/// How Redis loses what it was told.
pub fn loss(rng: &mut Rng) -> (Duration, Event) {
    let event = match rng.u8(..3) {
        0 => Event::Wiped,
        1 => Event::Failover {
            lost: rng.usize(1..20),
        },
        _ => Event::Evicted {
            percent: rng.u32(10..=100),
        },
    };
    (moment(rng), event)
}

/// Whether calls to Redis fail by chance, the whole run long.
#[must_use]
pub fn by_chance(callouts: &CalloutFaults, streams: &StreamFaults) -> bool {
    let CalloutFaults {
        refused,
        unavailable,
        reset,
        lost_reply,
        late_request,
        late_reply,
        truncated,
        garbage,
    } = callouts;
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
