//! Policies that seeds draw.

use fastrand::Rng;
use serde_json::{Value, json};

/// The header that tells tenants apart, and the one with the fence.
pub const TENANT_HEADER: &str = "x-tenant";
pub const FENCE_HEADER: &str = "idempotency-fence";
/// Which execution the origin's answer is of.
pub const EXECUTION_HEADER: &str = "x-execution";

/// The variable with the secret of encrypted answers, and the secret.
pub const SECRET: (&str, &str) = ("SECRET", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");

/// The routes, alike but for their names, and where they are.
pub const ROUTES: [&str; 2] = ["one", "two"];

/// What a replay repeats of the origin's header fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    All,
    Allow(&'static [&'static str]),
    Deny(&'static [&'static str]),
}

#[derive(Debug, Clone)]
pub struct Policy {
    pub stream: bool,
    pub hash_slots: bool,
    pub timeout_ms: u64,
    pub breaker_failures: u64,
    pub breaker_open_ms: u64,
    pub max_commands: u64,
    pub in_flight: u64,
    pub retention_ms: u64,
    pub lease_ms: u64,
    pub execution_ms: u64,
    pub wait_ms: u64,
    /// Answers are held until they are stored; else only their ends.
    pub before_headers: bool,
    pub max_request_body: usize,
    pub max_response_body: usize,
    /// Statuses that are not stored: 402 and 409.
    pub picky: bool,
    pub stores_timeouts: bool,
    pub delivers_unrecorded: bool,
    pub required: bool,
    pub replayed: Replayed,
    pub outbox: bool,
    /// How answers lie in Redis.
    pub compressed: bool,
    pub encrypted: bool,
    /// The replica must have what is written.
    pub durable: bool,
    pub max_open: usize,
    /// How long a worker replays what it remembers without asking.
    pub trusted_ms: u64,
    /// How long the gateway waits for the origin.
    pub upstream_timeout_ms: u64,
}

impl Policy {
    /// How often what Redis has not answered, and what is due, is looked at.
    #[must_use]
    pub fn tick_ms(&self) -> u64 {
        (self.timeout_ms / 4).clamp(5, 100)
    }

    /// One question to Redis, at most.
    #[must_use]
    pub fn question_ms(&self) -> u64 {
        self.timeout_ms + 2 * self.tick_ms()
    }

    /// Whether an answer of the origin with this status is stored.
    #[must_use]
    pub fn stores(&self, status: u16) -> bool {
        !self.picky || !matches!(status, 402 | 409)
    }

    /// Whether a replay repeats this field of the origin's.
    #[must_use]
    pub fn repeats(&self, name: &str) -> bool {
        let never = [
            "set-cookie",
            "date",
            "connection",
            "x-hop",
            "content-length",
        ];
        !never.contains(&name)
            && match self.replayed {
                Replayed::All => true,
                Replayed::Allow(names) => names.contains(&name),
                Replayed::Deny(names) => !names.contains(&name),
            }
    }

    #[must_use]
    pub fn json(&self) -> Value {
        let ms = |ms: u64| format!("{ms}ms");
        let route = |name: &str| {
            let mut route = json!({
                "name": name,
                "match": {"path": {"prefix": format!("/{name}")}},
                "scope": [{"header": TENANT_HEADER}],
                "required": self.required,
                "retention": ms(self.retention_ms),
                "lease": ms(self.lease_ms),
                "execution": ms(self.execution_ms),
                "wait": ms(self.wait_ms),
                "max_request_body": self.max_request_body.to_string() + "B",
                "max_response_body": self.max_response_body.to_string() + "B",
                "on_timeout": if self.stores_timeouts { "store" } else { "unknown" },
                "on_commit_error": if self.delivers_unrecorded { "deliver" } else { "strict" },
            });
            if self.picky {
                route["store_statuses"] = json!(["2xx", 404, "5xx"]);
            }
            match self.replayed {
                Replayed::All => {}
                Replayed::Allow(names) => route["replay_headers"] = json!({"allow": names}),
                Replayed::Deny(names) => route["replay_headers"] = json!({"deny": names}),
            }
            if self.outbox {
                route["outbox"] = json!({"trim": "nothing", "headers": [EXECUTION_HEADER]});
            }
            route
        };
        let mut policy = json!({
            "redis": {
                "cluster": "redis",
                "transport": if self.stream { "stream" } else { "callout" },
                "timeout": ms(self.timeout_ms),
                "hash_slots": self.hash_slots,
                "breaker": {"failures": self.breaker_failures, "open_for": ms(self.breaker_open_ms)},
                "batch": {"max_commands": self.max_commands, "in_flight": self.in_flight},
            },
            "commit_order": if self.before_headers { "before_headers" } else { "before_end" },
            "worker": {"max_open": self.max_open, "trust_remembered": ms(self.trusted_ms)},
            "routes": ROUTES.map(route),
        });
        if self.compressed {
            policy["at_rest"]["compress_from"] = json!("10B");
        }
        if self.durable {
            policy["redis"]["durability"] = json!({"replicas": 1});
        }
        if self.encrypted {
            policy["at_rest"]["keys"] = json!([{"id": "one", "env": SECRET.0}]);
        }
        policy
    }

    /// Draws one.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let timeout_ms = [20, 25, 50, 100][rng.usize(..4)];
        // A lease is at least four timeouts, and at most a tenth of the retention.
        let least = (timeout_ms * 4).max(100);
        let retention_ms = match rng.u8(..4) {
            0 => least * 10,
            1 => least * 10 * rng.u64(1..=3),
            _ => 3_600_000,
        };
        let lease_ms = rng.u64(least..=(retention_ms / 10).min(least * 3));
        let execution_ms = match rng.u8(..3) {
            0 => lease_ms,
            _ => rng.u64(lease_ms..=(retention_ms / 2).min(4000)),
        };
        let stream = rng.bool();
        Self {
            stream,
            hash_slots: rng.u8(..3) == 0,
            timeout_ms,
            breaker_failures: rng.u64(1..=6),
            breaker_open_ms: [50, 200, 1000][rng.usize(..3)],
            max_commands: [1, 3, 16, 128][rng.usize(..4)],
            in_flight: rng.u64(1..=3),
            retention_ms,
            lease_ms,
            execution_ms,
            wait_ms: [0, 0, 30, 200, 1500][rng.usize(..5)],
            before_headers: rng.u8(..5) > 0,
            max_request_body: 200,
            max_response_body: [rng.usize(60..=300), 20_000][usize::from(rng.bool())],
            picky: rng.u8(..4) == 0,
            stores_timeouts: rng.u8(..4) == 0,
            delivers_unrecorded: rng.u8(..4) == 0,
            required: rng.bool(),
            replayed: match rng.u8(..4) {
                0 => Replayed::Allow(&[EXECUTION_HEADER, "content-type"]),
                1 => Replayed::Deny(&["x-order"]),
                _ => Replayed::All,
            },
            outbox: rng.bool(),
            compressed: rng.u8(..4) == 0,
            encrypted: rng.u8(..4) == 0,
            // The connection of a callout does not wait for replicas.
            durable: rng.bool() && stream,
            max_open: if rng.u8(..10) == 0 {
                rng.usize(1..=3)
            } else {
                4096
            },
            trusted_ms: [0, 50, 10_000][rng.usize(..3)],
            upstream_timeout_ms: [150, 400, 1000, 3000][rng.usize(..4)],
        }
    }
}
