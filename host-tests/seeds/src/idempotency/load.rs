//! What clients send: on few keys, at once and again, some with another body than before, some that leave.

use super::policy::{FENCE_HEADER, Policy, ROUTES, TENANT_HEADER};
use fastrand::Rng;
use sluice_emulator::{Client, Request};
use std::time::Duration;

/// Whose key it is: requests with the same are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    pub tenant: usize,
    pub route: usize,
    pub key: usize,
}

/// A request, when and where it is sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Duration,
    pub gateway: usize,
    pub post: bool,
    /// Of the request: one without has no tenant, or no key.
    pub tenant: Option<usize>,
    pub key: Option<usize>,
    pub route: usize,
    pub query: usize,
    pub body: String,
    /// Where the body is cut into pieces.
    pub cuts: Vec<usize>,
    pub trailers: bool,
    /// How long the origin is to take, in milliseconds.
    pub takes_ms: Option<u64>,
    /// The client says a fence of its own.
    pub forged: bool,
    pub client: Client,
}

/// The fence that some clients say.
pub const FORGED: &str = "9000000000000000";

/// The key of requests that take longer than their records are kept.
const OUTLIVED: usize = 9;

/// The header that tells the origin how long to take.
pub const TAKES_HEADER: &str = "x-takes";

/// How much is sent at most.
const REQUESTS: usize = 36;
/// When the load ends at the latest.
const END: Duration = Duration::from_secs(6);

#[derive(Debug, Clone)]
pub struct Load {
    pub sent: Vec<Sent>,
}

impl Load {
    #[must_use]
    pub fn draw(rng: &mut Rng, policy: &Policy, gateways: usize, leavers: bool) -> Self {
        let (tenants, keys) = (rng.usize(1..=2), rng.usize(1..=4));
        let changed = [0, 10, 4][rng.usize(..3)];
        let mut sent = Vec::new();
        let mut at = Duration::from_millis(1);
        let most = rng.usize(4..=REQUESTS);
        while sent.len() < most && at < END {
            let (tenant, key) = (rng.usize(..tenants), rng.usize(..keys));
            let route = usize::from(rng.u8(..6) == 0);
            let pace = [1, 20, 300, 3000, 20_000][rng.usize(..5)];
            for _ in 0..rng.usize(1..=5) {
                at += Duration::from_nanos(rng.u64(..=pace * 1000));
                let other = |rng: &mut Rng| changed > 0 && rng.u8(..changed) == 0;
                let body = match rng.u8(..40) {
                    0 => "x".repeat(policy.max_request_body + 1),
                    1 => String::new(),
                    _ if other(rng) => format!("pay {} to {key}", rng.u8(2..4)),
                    _ => format!("pay 1 to {key}"),
                };
                let cuts = (0..rng.usize(..3)).map(|_| rng.usize(..=body.len()));
                let mut cuts: Vec<usize> = cuts.collect();
                cuts.sort_unstable();
                let patience = match rng.u8(..3) {
                    0 => rng.u64(..1_000_000),
                    _ => rng.u64(..8000),
                };
                sent.push(Sent {
                    at,
                    gateway: rng.usize(..gateways),
                    post: rng.u8(..30) > 0,
                    tenant: (rng.u8(..60) > 0).then_some(tenant),
                    key: (rng.u8(..40) > 0).then_some(key),
                    route,
                    query: usize::from(changed > 0 && rng.u8(..30) == 0),
                    body,
                    cuts,
                    trailers: rng.u8(..20) == 0,
                    takes_ms: None,
                    forged: rng.u8(..12) == 0,
                    client: if leavers && rng.u8(..4) == 0 {
                        Client::LeavesAfter(Duration::from_micros(patience))
                    } else {
                        Client::Patient
                    },
                });
            }
            at += gap(rng, policy);
        }
        let mut load = Self { sent };
        if rng.bool() {
            load.outlive(rng, policy, gateways);
        }
        load
    }

    /// A request that takes longer than its record is kept, one that has its key when it is answered, and one that asks
    /// whose answer is kept. Nothing renews a record for longer than half its retention.
    fn outlive(&mut self, rng: &mut Rng, policy: &Policy, gateways: usize) {
        let retention = policy.retention_ms;
        if retention * 22 / 10 > policy.upstream_timeout_ms {
            return;
        }
        let begin = self.end() + Duration::from_millis(50);
        let takes = retention * rng.u64(18..=22) / 10;
        for (percent, takes_ms) in [(0, takes), (160, rng.u64(..=retention)), (300, 0)] {
            self.sent.push(Sent {
                at: begin + Duration::from_millis(retention * percent / 100),
                gateway: rng.usize(..gateways),
                post: true,
                tenant: Some(0),
                key: Some(OUTLIVED),
                route: 0,
                query: 0,
                body: "pay".to_owned(),
                cuts: Vec::new(),
                trailers: false,
                takes_ms: Some(takes_ms),
                forged: false,
                client: Client::Patient,
            });
        }
    }

    #[must_use]
    pub fn end(&self) -> Duration {
        self.sent.last().map_or(Duration::ZERO, |last| last.at)
    }
}

/// So long that an answer is there, that a lease has ended, or that a record has.
fn gap(rng: &mut Rng, policy: &Policy) -> Duration {
    let most = match rng.u8(..6) {
        0..=1 => 8_000,
        2..=3 => 100_000,
        4 => policy.lease_ms * 1_500,
        _ => policy.retention_ms.min(4_000) * 1_100,
    };
    Duration::from_micros(rng.u64(..=most))
}

impl Sent {
    /// Whose key it is, if the filter has anything to do with it.
    #[must_use]
    pub fn scope(&self) -> Option<Scope> {
        let (true, Some(tenant), Some(key)) = (self.post, self.tenant, self.key) else {
            return None;
        };
        Some(Scope {
            tenant,
            route: self.route,
            key,
        })
    }

    /// What a retry has to be like, as far as the policy compares it.
    #[must_use]
    pub fn fingerprint(&self, policy: &Policy) -> (usize, &str) {
        let body = if policy.before_headers {
            self.body.as_str()
        } else {
            ""
        };
        (self.query, body)
    }

    /// As the client sends it.
    #[must_use]
    pub fn request(&self) -> Request {
        let path = match self.query {
            0 => format!("/{}", ROUTES[self.route]),
            query => format!("/{}?q={query}", ROUTES[self.route]),
        };
        let mut request = Request::new(if self.post { "POST" } else { "GET" }, &path);
        if let Some(tenant) = self.tenant {
            request = request.header(TENANT_HEADER, format!("t{tenant}"));
        }
        if let Some(key) = self.key {
            request = request.header("idempotency-key", format!("\"key-{key}\""));
        }
        if let Some(takes) = self.takes_ms {
            request = request.header(TAKES_HEADER, takes.to_string());
        }
        if self.forged {
            request = request.header(FENCE_HEADER, FORGED);
        }
        let mut from = 0;
        for to in self.cuts.iter().copied().chain([self.body.len()]) {
            if to > from {
                request = request.piece(&self.body[from..to]);
            }
            from = to;
        }
        if self.trailers {
            request = request.trailer("x-trailer", "1");
        }
        request
    }
}
