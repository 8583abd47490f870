//! Policies that seeds draw, and what they say of a request: written anew from the documentation, not taken from the
//! filter, so that a misreading there shows.

use fastrand::Rng;
use serde_json::{Value, json};

/// Picoseconds in a millisecond.
pub const PS_PER_MS: u128 = 1_000_000_000;

/// Headers that keys are made of.
pub const KEY_HEADERS: [&str; 2] = ["x-a", "x-b"];
/// The header that states a cost.
pub const COST_HEADER: &str = "x-cost";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Local,
    Strict,
    Leased,
}

/// A token bucket: `limit` tokens come back in `period_ms`, at most `burst` are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    pub limit: u64,
    pub period_ms: u64,
    pub burst: u64,
}

impl Bucket {
    /// T: the time in which a token comes back, in picoseconds, rounded up.
    #[must_use]
    pub fn interval(self) -> u128 {
        (u128::from(self.period_ms) * PS_PER_MS).div_ceil(u128::from(self.limit.max(1)))
    }

    /// D: the time in which all tokens come back.
    #[must_use]
    pub fn tolerance(self) -> u128 {
        self.interval() * u128::from(self.burst)
    }

    fn json(self) -> (Value, Value) {
        let rate = json!({"limit": self.limit, "period": format!("{}ms", self.period_ms)});
        (rate, json!(self.burst))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// All requests share it.
    Everyone,
    /// The header of this place in [`KEY_HEADERS`]; a request without it is not limited.
    Header(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    Constant(u64),
    Header { max: u64, default: u64 },
}

impl Cost {
    /// The most that a request costs.
    #[must_use]
    pub fn most(self) -> u64 {
        match self {
            Self::Constant(cost) => cost,
            Self::Header { max, .. } => max,
        }
    }
}

/// What one client has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exception {
    Rate(Bucket),
    Unlimited,
    Deny,
}

#[derive(Debug, Clone)]
pub struct Limit {
    pub name: String,
    pub key: Key,
    pub mode: Mode,
    pub bucket: Bucket,
    /// Tokens in a lease at most; 0 where nothing is leased.
    pub lease: u64,
    pub cost: Cost,
    pub shadow: bool,
    /// For POST only.
    pub posts_only: bool,
    /// By the client's name.
    pub exceptions: Vec<(String, Exception)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnError {
    Allow,
    Deny,
    Local { percent: u64 },
}

#[derive(Debug, Clone)]
pub struct Policy {
    pub limits: Vec<Limit>,
    pub stream: bool,
    pub hash_slots: bool,
    pub timeout_ms: u64,
    pub on_error: OnError,
    pub breaker_failures: u64,
    pub breaker_open_ms: u64,
    pub max_commands: u64,
    pub in_flight: u64,
    pub entries: u64,
    pub overflow_allows: bool,
    pub headers: &'static str,
}

/// What a limit wants of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub limit: usize,
    /// The client, as the limit's key names it.
    pub subject: String,
    pub cost: u64,
    /// None: it is denied whatever it has used.
    pub bucket: Option<Bucket>,
    /// Tokens in a lease of this client.
    pub lease: u64,
}

/// A request, as far as limits see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub post: bool,
    pub keys: [Option<String>; 2],
    pub cost: Option<String>,
}

impl Policy {
    #[must_use]
    pub fn uses_redis(&self) -> bool {
        self.limits.iter().any(|limit| limit.mode != Mode::Local)
    }

    /// How long a request waits at most, by the documentation: the timeout and a tick.
    #[must_use]
    pub fn longest_wait_ms(&self) -> u64 {
        self.timeout_ms + self.tick_ms()
    }

    #[must_use]
    pub fn tick_ms(&self) -> u64 {
        if self.uses_redis() {
            (self.timeout_ms / 4).clamp(5, 100)
        } else {
            100
        }
    }

    /// What each limit that applies wants.
    #[must_use]
    pub fn claims(&self, request: &Facts) -> Vec<Claim> {
        let limits = self.limits.iter().enumerate();
        limits
            .filter_map(|(place, limit)| limit.claim(place, request))
            .collect()
    }

    #[must_use]
    pub fn json(&self) -> Value {
        let limits: Vec<Value> = self.limits.iter().map(Limit::json).collect();
        let mut policy = json!({
            "limits": limits,
            "headers": self.headers,
            "local": {
                "entries": self.entries,
                "on_overflow": if self.overflow_allows { "allow" } else { "deny" },
            },
        });
        if self.uses_redis() {
            policy["redis"] = json!({
                "cluster": "redis",
                "transport": if self.stream { "stream" } else { "callout" },
                "timeout": format!("{}ms", self.timeout_ms),
                "hash_slots": self.hash_slots,
                "on_error": match self.on_error {
                    OnError::Allow => json!("allow"),
                    OnError::Deny => json!("deny"),
                    OnError::Local { percent } => json!({"local": {"fraction": percent as f64 / 100.0}}),
                },
                "breaker": {
                    "failures": self.breaker_failures,
                    "open_for": format!("{}ms", self.breaker_open_ms),
                },
                "batch": {"max_commands": self.max_commands, "in_flight": self.in_flight},
            });
        }
        policy
    }

    /// Draws a policy.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let count = if rng.u8(..10) < 4 {
            1
        } else {
            rng.usize(2..=3)
        };
        let limits = (0..count).map(|place| Limit::draw(rng, place)).collect();
        let on_error = match rng.u8(..8) {
            0 => OnError::Allow,
            1..=2 => OnError::Local {
                percent: rng.u64(1..=4) * 25,
            },
            _ => OnError::Deny,
        };
        let roomy = rng.u8(..3) > 0;
        Self {
            limits,
            stream: rng.bool(),
            hash_slots: rng.u8(..3) == 0,
            timeout_ms: [40, 100, 250][rng.usize(..3)],
            on_error,
            breaker_failures: rng.u64(1..=6),
            breaker_open_ms: [50, 200, 1000][rng.usize(..3)],
            max_commands: [1, 3, 16, 128][rng.usize(..4)],
            in_flight: rng.u64(1..=3),
            entries: if roomy { 4096 } else { rng.u64(1..=16) },
            overflow_allows: rng.u8(..4) == 0,
            headers: ["off", "off", "draft", "legacy"][rng.usize(..4)],
        }
    }
}

impl Limit {
    fn claim(&self, place: usize, request: &Facts) -> Option<Claim> {
        if self.posts_only && !request.post {
            return None;
        }
        let subject = match self.key {
            Key::Everyone => "all".to_owned(),
            Key::Header(header) => request.keys[header].clone()?,
        };
        let exception = self
            .exceptions
            .iter()
            .find(|(client, _)| *client == subject);
        let (bucket, lease) = match exception.map(|(_, exception)| *exception) {
            None => (Some(self.bucket), self.lease),
            Some(Exception::Unlimited) => return None,
            Some(Exception::Deny) => (None, 0),
            Some(Exception::Rate(own)) => (Some(own), self.lease.min(own.burst / 5)),
        };
        let cost = match self.cost {
            Cost::Constant(cost) => cost,
            Cost::Header { max, default } => {
                let stated = request.cost.as_ref().and_then(|text| text.parse().ok());
                stated.map_or(default, |stated: u64| stated.min(max))
            }
        };
        Some(Claim {
            limit: place,
            subject,
            cost,
            bucket,
            lease,
        })
    }

    fn json(&self) -> Value {
        let (rate, burst) = self.bucket.json();
        let mut limit = json!({
            "name": self.name,
            "key": [match self.key {
                Key::Everyone => json!({"const": "all"}),
                Key::Header(header) => json!({"header": KEY_HEADERS[header]}),
            }],
            "rate": rate,
            "burst": burst,
            "mode": match self.mode {
                Mode::Local => "local",
                Mode::Strict => "strict",
                Mode::Leased => "leased",
            },
            "cost": match self.cost {
                Cost::Constant(cost) => json!(cost),
                Cost::Header { max, default } => json!({"header": COST_HEADER, "max": max, "default": default}),
            },
            "shadow": self.shadow,
        });
        if self.posts_only {
            limit["match"] = json!({"methods": ["POST"]});
        }
        if self.lease > 0 {
            limit["lease"] = json!({"tokens": self.lease});
        }
        if !self.exceptions.is_empty() {
            let overrides = self
                .exceptions
                .iter()
                .map(|(client, exception)| match exception {
                    Exception::Unlimited => json!({"key": [client], "unlimited": true}),
                    Exception::Deny => json!({"key": [client], "deny": true}),
                    Exception::Rate(bucket) => {
                        let (rate, burst) = bucket.json();
                        json!({"key": [client], "rate": rate, "burst": burst})
                    }
                });
            limit["overrides"] = overrides.collect();
        }
        limit
    }

    fn draw(rng: &mut Rng, place: usize) -> Self {
        let mode = [
            Mode::Local,
            Mode::Strict,
            Mode::Strict,
            Mode::Leased,
            Mode::Leased,
        ][rng.usize(..5)];
        let bucket = Bucket::draw(rng, mode);
        let lease = match mode {
            Mode::Leased => rng.u64(1..=bucket.burst / 2),
            _ => 0,
        };
        let most = bucket.burst - lease;
        let cost = match rng.u8(..8) {
            0 => Cost::Constant(0),
            1 => Cost::Constant(rng.u64(1..=most.min(3))),
            2..=4 => {
                let max = rng.u64(1..=most.min(8));
                Cost::Header {
                    max,
                    default: rng.u64(..=max.min(1)),
                }
            }
            _ => Cost::Constant(1),
        };
        let key = match rng.u8(..4) {
            0 => Key::Everyone,
            1 => Key::Header(1),
            _ => Key::Header(0),
        };
        let mut exceptions = Vec::new();
        if key != Key::Everyone && rng.u8(..5) == 0 {
            let mut own = Bucket::draw(rng, mode);
            // A policy whose costs are above a burst less its lease is refused.
            own.burst += 2 * cost.most();
            exceptions.push(("c0".to_owned(), Exception::Rate(own)));
            exceptions.push((
                "c1".to_owned(),
                [Exception::Unlimited, Exception::Deny][rng.usize(..2)],
            ));
        }
        Self {
            name: format!("limit-{place}"),
            key,
            mode,
            bucket,
            lease,
            cost,
            shadow: rng.u8(..10) == 0,
            posts_only: rng.u8(..6) == 0,
            exceptions,
        }
    }
}

impl Bucket {
    /// Some never refill within a run, some refill faster than Redis answers, most are between.
    fn draw(rng: &mut Rng, mode: Mode) -> Self {
        let least = if mode == Mode::Leased { 5 } else { 1 };
        let most = if mode == Mode::Leased { 40 } else { 12 };
        let burst = rng.u64(least..=most);
        let (limit, period_ms) = match rng.u8(..6) {
            0..=1 => (rng.u64(1..=20), 86_400_000),
            2 => (1000, rng.u64(500..=3000)),
            3 => (rng.u64(1..=100), 1000),
            _ => (burst, rng.u64(200..=2000)),
        };
        // An empty bucket fills within a few seconds, or not at all.
        let burst = if period_ms / limit > 300 && period_ms < 86_400_000 {
            burst.min(least.max(8))
        } else {
            burst
        };
        Self {
            limit,
            period_ms,
            burst,
        }
    }
}
