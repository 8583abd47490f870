//! How hostile a run is: how long things take, where calls are interrupted, and what goes wrong. A plan that says nothing
//! ([`Plan::calm`]) has latencies only.

use std::time::Duration;

/// A length of time between two bounds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The least.
    pub least: Duration,
    /// The most.
    pub most: Duration,
}

impl Span {
    /// From `least` to `most` microseconds.
    #[must_use]
    pub const fn micros(least: u64, most: u64) -> Self {
        Self {
            least: Duration::from_micros(least),
            most: Duration::from_micros(most),
        }
    }

    /// Always the same.
    #[must_use]
    pub const fn exactly(length: Duration) -> Self {
        Self {
            least: length,
            most: length,
        }
    }

    pub(crate) fn nanos(self) -> (u64, u64) {
        (nanos(self.least), nanos(self.most))
    }
}

/// Virtual time is counted in 64 bits of nanoseconds, which last for five centuries.
pub(crate) fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// What a run is like. Probabilities are from 0 (never) to 1 (always).
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long things take.
    pub latency: Latency,
    /// Interruptions of calls into a filter.
    pub interruption: Interruption,
    /// What happens to a callout by HTTP.
    pub callouts: CalloutFaults,
    /// What happens to a gRPC stream that carries Redis.
    pub streams: StreamFaults,
    /// What happens between a gateway and its origin.
    pub origin: OriginFaults,
    /// The probability that a client leaves before it has its answer, where the client's own plan says nothing.
    pub client_aborts: f64,
    /// When such a client leaves, counted from its request.
    pub client_patience: Span,
    /// What happens at a given time.
    pub timed: Vec<(Duration, Fault)>,
}

/// How long things take in virtual time.
#[derive(Debug, Clone)]
pub struct Latency {
    /// Between one piece of a client's request and the next.
    pub client: Span,
    /// Until there is a connection to an origin: nothing where one is free. A request that ends before is never sent.
    pub connect: Span,
    /// From a gateway to an origin, and back, for each piece.
    pub origin: Span,
    /// From a gateway to Redis or another callout's server, and back.
    pub callout: Span,
    /// Until another worker is woken by a queue.
    pub queue: Span,
}

/// Where the emulator lets other workers run in the middle of a call: on entering a host function on shared data or
/// queues.
#[derive(Debug, Clone, Copy)]
pub struct Interruption {
    /// Of each of these host functions.
    pub probability: f64,
    /// For how long the call stands still. Everything that is due meanwhile happens, except on the same worker.
    pub length: Span,
}

/// Probabilities of what may go wrong with one callout. At most one of them strikes.
#[derive(Debug, Clone, Default)]
pub struct CalloutFaults {
    /// The gateway refuses at once; there is no callback.
    pub refused: f64,
    /// No connection: answered 503, nothing was sent.
    pub unavailable: f64,
    /// The connection is reset before anything was executed: a callback without headers.
    pub reset: f64,
    /// It is executed, and the connection is reset: a callback without headers.
    pub lost_reply: f64,
    /// It arrives, and is executed, after the callout's timeout, which is answered 504.
    pub late_request: f64,
    /// It is executed in time, and the reply comes after the timeout, which is answered 504.
    pub late_reply: f64,
    /// The reply's body is cut short.
    pub truncated: f64,
    /// The reply's body is random bytes.
    pub garbage: f64,
}

/// Probabilities of what may go wrong with a stream to Redis.
#[derive(Debug, Clone, Default)]
pub struct StreamFaults {
    /// Opening it is refused at once.
    pub refused: f64,
    /// There is no connection: the stream is closed with status 14 (unavailable).
    pub unavailable: f64,
    /// With a message: the stream ends before Redis has read it.
    pub reset: f64,
    /// With a message: Redis executes it, and the stream ends before its replies are through.
    pub lost_reply: f64,
    /// With a message: it, and all after it, arrive so late that the filter will have given up.
    pub frozen: f64,
    /// Of a message: its replies come in pieces.
    pub pieces: f64,
}

/// Probabilities of what may go wrong between a gateway and its origin. At most one of them strikes a request.
#[derive(Debug, Clone, Default)]
pub struct OriginFaults {
    /// The connection is refused: flag UF, 503.
    pub refused: f64,
    /// No healthy host: flag UH, 503.
    pub no_host: f64,
    /// A reset after the request was sent and before the response began: flag UC, 503.
    pub reset_before: f64,
    /// A reset in the middle of the response.
    pub reset_during: f64,
    /// No response: flag UT, 504 after the route's timeout.
    pub silent: f64,
}

/// What can be made to happen at a given time.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Redis starts again: connections and loaded scripts are gone, and the data too if it isn't kept.
    RedisRestart {
        /// Whether the data is still there.
        keep_data: bool,
    },
    /// Redis can't be connected to, until [`Fault::RedisUp`].
    RedisDown,
    /// Redis can be connected to again.
    RedisUp,
    /// Redis stands still: connections stay, and what comes waits, until [`Fault::RedisThaw`].
    RedisFreeze,
    /// Redis goes on, with what has waited first.
    RedisThaw,
    /// Redis answers as in this mode.
    RedisMode(sluice_model_redis::Mode),
    /// A replica takes over that lacks the last writes.
    RedisFailover {
        /// How many.
        lost_writes: usize,
    },
    /// Redis drops a part of its keys, which the seed chooses.
    RedisEvict {
        /// From 0 to 1.
        fraction: f64,
    },
    /// The wall clock of a gateway jumps. The monotonic one does not.
    ClockJump {
        /// Whose.
        gateway: crate::GatewayId,
        /// By so many nanoseconds, back if negative.
        by: i64,
    },
    /// The wall clock of Redis jumps.
    RedisClockJump {
        /// By so many microseconds, back if negative.
        by: i64,
    },
    /// The VM of a worker crashes in the next call into it, at a point that is drawn from the seed.
    KillVm {
        /// Whose.
        gateway: crate::GatewayId,
        /// Which.
        worker: usize,
    },
    /// The process of a gateway is killed and started again at once: its connections are broken off, and shared data,
    /// queues, metrics and VMs are new. A worker that stands still in the middle of a call ends it first.
    KillGateway {
        /// Which.
        gateway: crate::GatewayId,
    },
    /// The gateway gets another configuration of its filter. Running requests end with the old one.
    Reload {
        /// Whose.
        gateway: crate::GatewayId,
        /// The new one.
        configuration: Vec<u8>,
    },
}

impl Plan {
    /// Nothing goes wrong, and no call is interrupted.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            latency: Latency {
                client: Span::micros(0, 300),
                connect: Span::micros(0, 100),
                origin: Span::micros(50, 2_000),
                callout: Span::micros(20, 500),
                queue: Span::micros(1, 20),
            },
            interruption: Interruption {
                probability: 0.0,
                length: Span::micros(0, 0),
            },
            callouts: CalloutFaults::default(),
            streams: StreamFaults::default(),
            origin: OriginFaults::default(),
            client_aborts: 0.0,
            client_patience: Span::micros(0, 5_000),
            timed: Vec::new(),
        }
    }

    /// Calls are interrupted, but nothing goes wrong.
    #[must_use]
    pub fn interleaved() -> Self {
        Self {
            interruption: Interruption {
                probability: 1.0 / 6.0,
                length: Span::micros(0, 200),
            },
            ..Self::calm()
        }
    }

    /// Calls are interrupted, and of everything that can go wrong a little does. Nothing is timed.
    #[must_use]
    pub fn hostile() -> Self {
        Self {
            callouts: CalloutFaults {
                refused: 0.02,
                unavailable: 0.02,
                reset: 0.02,
                lost_reply: 0.03,
                late_request: 0.02,
                late_reply: 0.02,
                truncated: 0.01,
                garbage: 0.01,
            },
            streams: StreamFaults {
                refused: 0.02,
                unavailable: 0.05,
                reset: 0.02,
                lost_reply: 0.02,
                frozen: 0.01,
                pieces: 0.2,
            },
            origin: OriginFaults {
                refused: 0.02,
                no_host: 0.02,
                reset_before: 0.02,
                reset_during: 0.02,
                silent: 0.01,
            },
            client_aborts: 0.05,
            ..Self::interleaved()
        }
    }

    /// The same, with something that happens at a given time.
    #[must_use]
    pub fn at(mut self, at: Duration, fault: Fault) -> Self {
        self.timed.push((at, fault));
        self
    }
}
