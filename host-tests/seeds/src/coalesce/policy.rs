//! Policies that seeds draw.

use super::fleet::Fleet;
use fastrand::Rng;
use serde_json::{Value, json};
use std::time::Duration;

/// The header that says whose answer it is, on the route that has a key.
pub const USER_HEADER: &str = "x-user";
/// Whose it is where the policy says so of those who do not.
pub const NOBODY: &str = "guest";
/// The cookie that changes nothing.
pub const COOKIE: &str = "_ga";
/// Where answers are forgotten on demand, and what is to be known for it.
pub const PURGE: (&str, &str) = ("/.purge", "secret");
/// The gateway's cluster that leads to the origin.
pub const CLUSTER: &str = "shop";

/// The routes: everybody's answers, and those of one user.
pub const ROUTES: [&str; 2] = ["items", "mine"];

/// A deadline is kept to so much.
pub const TICK_MS: u64 = 50;

#[derive(Debug, Clone)]
pub struct Policy {
    pub wait_ms: u64,
    pub lease_ms: u64,
    pub max_time_ms: u64,
    pub max_followers: usize,
    pub max_waiting: usize,
    pub max_body: usize,
    pub jitter: u64,
    pub early_refresh: u64,
    pub stale_while_revalidate_ms: u64,
    pub stale_if_error_ms: u64,
    pub share_server_errors: bool,
    /// Answers are fetched without a client; how long that may take.
    pub refresh_ms: Option<u64>,
    pub finish: bool,
    pub hit_for_miss_ms: u64,
    pub max_variants: usize,
    /// Requests with `Authorization` share what allows it.
    pub authorization: bool,
    /// What clients say of caching counts.
    pub honors: bool,
    /// How long 200 and 404 are fresh that do not say.
    pub ttl_ms: Option<u64>,
    pub max_ttl_ms: Option<u64>,
    /// The parameter `utm` changes nothing.
    pub drops: bool,
    /// Who does not say whose answer it is gets that of nobody in particular.
    pub defaults: bool,
    pub hidden: bool,
    pub store_worker: usize,
    pub store_shared: usize,
    /// How long the gateway waits for the origin.
    pub upstream_timeout_ms: u64,
    /// There are other gateways with this policy.
    pub fleet: Option<Fleet>,
}

impl Policy {
    /// Draws one. `wide`: its store is as small as can be.
    #[must_use]
    pub fn draw(rng: &mut Rng, wide: bool) -> Self {
        let max_time_ms = [100, 400, 5_000][rng.usize(..3)];
        let often = |rng: &mut Rng, of: u8| rng.u8(..of) == 0;
        let refresh_ms = often(rng, 3).then(|| [100, 500, 5_000][rng.usize(..3)]);
        Self {
            wait_ms: [20, 200, 2_000, 5_000][rng.usize(..4)],
            lease_ms: rng.u64(100..=max_time_ms.min(3_000)),
            max_time_ms,
            max_followers: if often(rng, 8) {
                rng.usize(1..=3)
            } else {
                4096
            },
            max_waiting: if often(rng, 8) {
                rng.usize(1..=3)
            } else {
                16384
            },
            max_body: match (wide, rng.u8(..3)) {
                (true, _) => 32 << 10,
                (false, 0) => 100,
                (false, _) => 5_000,
            },
            jitter: [0, 0, 10, 90][rng.usize(..4)],
            early_refresh: [0, 0, 1, 5][rng.usize(..4)],
            stale_while_revalidate_ms: [0, 0, 700, 5_000][rng.usize(..4)],
            stale_if_error_ms: [0, 0, 700, 5_000][rng.usize(..4)],
            share_server_errors: often(rng, 4),
            refresh_ms,
            finish: refresh_ms.is_some() && rng.bool(),
            hit_for_miss_ms: [0, 40, 1_000, 10_000][rng.usize(..4)],
            max_variants: if often(rng, 6) { rng.usize(1..=2) } else { 8 },
            authorization: rng.bool(),
            honors: !often(rng, 3),
            ttl_ms: rng.bool().then(|| rng.u64(50..2_000)),
            max_ttl_ms: often(rng, 5).then(|| rng.u64(50..1_500)),
            drops: rng.bool(),
            defaults: rng.bool(),
            hidden: often(rng, 5),
            store_worker: [0, 2_000, 16 << 20][rng.usize(..3)],
            store_shared: if wide { 1 << 20 } else { 64 << 20 },
            upstream_timeout_ms: [300, 3_000][rng.usize(..2)],
            fleet: None,
        }
    }

    /// The longest body that goes from gateway to gateway on this route. None: its flights are not the fleet's.
    #[must_use]
    pub fn fleet_body(&self, route: usize) -> Option<usize> {
        let fleet = self.fleet.as_ref()?;
        let most = fleet.max_body.unwrap_or(self.max_body);
        (route == 0 || fleet.mine).then_some(most)
    }

    /// How long a question to Redis may keep a request.
    #[must_use]
    pub fn question(&self) -> Duration {
        let question = |fleet: &Fleet| Duration::from_millis(fleet.timeout_ms + TICK_MS);
        self.fleet.as_ref().map_or(Duration::ZERO, question)
    }

    /// How much later another gateway hears what has come of a flight: it asks from time to time.
    #[must_use]
    pub fn hearsay(&self) -> Duration {
        let hearsay = self.fleet.is_some().then_some(TICK_MS + 10);
        Duration::from_millis(hearsay.unwrap_or(0))
    }

    /// How long answers of a status are fresh that do not say.
    #[must_use]
    pub fn ttl(&self, status: u16) -> Option<u64> {
        self.ttl_ms.filter(|_| matches!(status, 200 | 404))
    }

    #[must_use]
    pub fn json(&self) -> Value {
        let ms = |ms: u64| format!("{ms}ms");
        let bytes = |bytes: usize| format!("{bytes}B");
        let mut route = json!({
            "cookies": [COOKIE],
            "authorization": if self.authorization { "if_allowed" } else { "bypass" },
            "client_directives": if self.honors { "honor" } else { "ignore" },
            "jitter": self.jitter,
            "early_refresh": self.early_refresh,
            "stale_while_revalidate": ms(self.stale_while_revalidate_ms),
            "stale_if_error": ms(self.stale_if_error_ms),
            "share_server_errors": self.share_server_errors,
            "hit_for_miss": ms(self.hit_for_miss_ms),
            "max_variants": self.max_variants,
            "flight": {
                "wait": ms(self.wait_ms),
                "max_followers": self.max_followers,
                "max_body": bytes(self.max_body),
                "max_time": ms(self.max_time_ms),
                "lease": ms(self.lease_ms),
                "on_leader_gone": if self.finish { "finish" } else { "promote" },
            },
        });
        if let Some(ttl) = self.ttl_ms {
            route["ttl"] = json!([{"statuses": [200, 404], "for": ms(ttl)}]);
        }
        if let Some(most) = self.max_ttl_ms {
            route["max_ttl"] = json!(ms(most));
        }
        if let Some(timeout) = self.refresh_ms {
            route["refresh"] = json!({"cluster": CLUSTER, "timeout": ms(timeout)});
        }
        if self.drops {
            route["query"] = json!({"drop": ["utm"]});
        }
        let routes = [0, 1].map(|place| {
            let name = ROUTES[place];
            let mut route = route.clone();
            if let (Some(fleet), Some(_)) = (&self.fleet, self.fleet_body(place)) {
                route["flight"]["fleet"] = fleet.of_flight();
            }
            route["name"] = json!(name);
            route["match"] = json!({"path": {"prefix": format!("/{name}")}});
            if name == "mine" {
                route["key"] = json!([{"header": USER_HEADER}]);
                if self.defaults {
                    route["on_missing_key"] = json!({"default": NOBODY});
                }
            }
            route
        });
        let mut policy = json!({
            "routes": routes,
            "store": {"shared": bytes(self.store_shared), "worker": bytes(self.store_worker)},
            "worker": {"max_waiting": self.max_waiting},
            "purge": {"path": PURGE.0, "token": PURGE.1},
            "cache_status": if self.hidden { json!("hidden") } else { json!({"name": "c"}) },
        });
        if let Some(fleet) = &self.fleet {
            policy["redis"] = fleet.redis();
        }
        policy
    }
}
