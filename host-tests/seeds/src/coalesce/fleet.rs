//! Gateways that share flights by Redis, as far as seeds draw how.

use fastrand::Rng;
use serde_json::{Value, json};

/// The gateway's cluster that leads to Redis.
pub const REDIS: &str = "redis";

#[derive(Debug, Clone)]
pub struct Fleet {
    pub stream: bool,
    pub timeout_ms: u64,
    /// The longest body that is handed over, where the policy says so.
    pub max_body: Option<usize>,
    /// Answers of one user are shared in the fleet as well as everybody's.
    pub mine: bool,
    pub prefix: &'static str,
    pub database: u32,
    pub breaker_failures: u64,
    pub breaker_open_ms: u64,
    pub max_commands: u64,
    pub max_bytes: usize,
    pub in_flight: u64,
}

impl Fleet {
    /// Draws one of gateways that store bodies of so many bytes.
    #[must_use]
    pub fn draw(rng: &mut Rng, max_body: usize) -> Self {
        Self {
            stream: rng.bool(),
            timeout_ms: [50, 100, 300][rng.usize(..3)],
            max_body: (rng.u8(..3) == 0).then(|| rng.usize(..=max_body)),
            mine: rng.u8(..4) > 0,
            prefix: ["sluice", "shop:1"][rng.usize(..2)],
            database: rng.u32(..3),
            breaker_failures: rng.u64(1..=6),
            breaker_open_ms: [50, 200, 1_000][rng.usize(..3)],
            max_commands: [1, 3, 128][rng.usize(..3)],
            max_bytes: [1 << 10, 1 << 20][rng.usize(..2)],
            in_flight: rng.u64(1..=3),
        }
    }

    /// What a route's `flight` says of it.
    #[must_use]
    pub fn of_flight(&self) -> Value {
        match self.max_body {
            Some(most) => json!({"max_body": format!("{most}B")}),
            None => json!({}),
        }
    }

    /// The policy's `redis`.
    #[must_use]
    pub fn redis(&self) -> Value {
        json!({
            "cluster": REDIS,
            "transport": if self.stream { "stream" } else { "callout" },
            "timeout": format!("{}ms", self.timeout_ms),
            "key_prefix": self.prefix,
            "database": self.database,
            "breaker": {
                "failures": self.breaker_failures,
                "open_for": format!("{}ms", self.breaker_open_ms),
            },
            "batch": {
                "max_commands": self.max_commands,
                "max_bytes": format!("{}B", self.max_bytes),
                "in_flight": self.in_flight,
            },
        })
    }
}
