//! What clients send: bursts on few keys, gaps in which some or all tokens come back, all kinds of costs.

use crate::rate_limit::policy::{COST_HEADER, Facts, KEY_HEADERS, PS_PER_MS, Policy};
use fastrand::Rng;
use sluice_emulator::{Client, Request};
use std::time::Duration;

/// A request, when and where it is sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Duration,
    pub gateway: usize,
    pub facts: Facts,
    /// Pieces of its body.
    pub body: usize,
    pub client: Client,
}

/// How much is sent at most.
const REQUESTS: usize = 140;
/// When the load ends at the latest.
const END: Duration = Duration::from_secs(6);
/// No gap is longer.
const LONGEST_GAP: Duration = Duration::from_millis(2500);

/// Between requests that don't meet.
const PAUSE: Duration = Duration::from_millis(35);

#[derive(Debug, Clone)]
pub struct Load {
    pub sent: Vec<Sent>,
}

impl Load {
    #[must_use]
    pub fn draw(rng: &mut Rng, policy: &Policy, gateways: usize, leavers: bool) -> Self {
        let crowd = if policy.entries <= 16 {
            rng.usize(4..=24)
        } else {
            rng.usize(1..=4)
        };
        let mut sent = Vec::new();
        let mut at = Duration::from_millis(1);
        while sent.len() < REQUESTS && at < END {
            let count = rng.usize(1..=50);
            let pace = [1, 20, 300, 3000][rng.usize(..4)];
            let hot = rng.usize(..crowd);
            for _ in 0..count.min(REQUESTS - sent.len()) {
                at += Duration::from_nanos(rng.u64(..=pace * 1000));
                let client = if rng.u8(..4) > 0 {
                    hot
                } else {
                    rng.usize(..crowd)
                };
                let leaves = leavers && rng.u8(..8) == 0;
                let patience = Duration::from_micros(rng.u64(..8000));
                sent.push(Sent {
                    at,
                    gateway: rng.usize(..gateways),
                    facts: facts(rng, client),
                    body: if rng.u8(..4) == 0 {
                        rng.usize(1..=3)
                    } else {
                        0
                    },
                    client: if leaves {
                        Client::LeavesAfter(patience)
                    } else {
                        Client::Patient
                    },
                });
            }
            at += gap(rng, policy);
        }
        let mut load = Self { sent };
        if rng.u8(..3) == 0 {
            load.leases(rng, policy, gateways);
        }
        if rng.bool() {
            load.one_by_one(rng, gateways, crowd);
        }
        load
    }

    /// Every gateway draws leases for one client and leaves something of them; when all tokens should be back, the client
    /// takes all it can.
    fn leases(&mut self, rng: &mut Rng, policy: &Policy, gateways: usize) {
        let leased = policy.limits.iter().find(|limit| limit.lease > 0);
        let Some(bucket) = leased.map(|limit| limit.bucket) else {
            return;
        };
        let fills =
            Duration::from_nanos(u64::try_from(bucket.tolerance() / 1000).unwrap_or(u64::MAX));
        if fills > LONGEST_GAP {
            return;
        }
        let mut at = self.end() + fills;
        let tokens = usize::try_from(bucket.burst).unwrap_or(usize::MAX);
        for count in [tokens / 2, tokens * 2 / 3, tokens * 2] {
            for number in 0..count {
                at += Duration::from_micros(rng.u64(..1500));
                self.sent.push(Sent {
                    at,
                    gateway: number % gateways,
                    facts: Facts {
                        post: true,
                        keys: ["c2", "c2"].map(|name| Some(name.to_owned())),
                        cost: Some("1".to_owned()),
                    },
                    body: 0,
                    client: Client::Patient,
                });
            }
            at += fills + fills / 10;
        }
    }

    /// Requests that don't meet: what is denied now is denied for what was charged.
    fn one_by_one(&mut self, rng: &mut Rng, gateways: usize, crowd: usize) {
        let gateway = rng.usize(..gateways);
        // No worker remembers a denial by then.
        let mut at = self.end() + Duration::from_millis(1100);
        for _ in 0..rng.usize(5..=25) {
            at += PAUSE;
            let client = rng.usize(..crowd);
            self.sent.push(Sent {
                at,
                gateway,
                facts: facts(rng, client),
                body: 0,
                client: Client::Patient,
            });
        }
    }

    #[must_use]
    pub fn end(&self) -> Duration {
        self.sent.last().map_or(Duration::ZERO, |last| last.at)
    }
}

/// So long that nothing, a few tokens, or all tokens of some limit come back.
fn gap(rng: &mut Rng, policy: &Policy) -> Duration {
    let bucket = policy.limits[rng.usize(..policy.limits.len())].bucket;
    let picoseconds = match rng.u8(..5) {
        0 => PS_PER_MS * u128::from(rng.u64(..=2)),
        1 => PS_PER_MS * u128::from(rng.u64(30..=60)),
        2 => bucket.interval() * u128::from(rng.u64(1..=3)),
        _ => bucket.tolerance() * u128::from(rng.u64(40..=140)) / 100,
    };
    let nanos = u64::try_from(picoseconds / 1000).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos).min(LONGEST_GAP)
}

fn facts(rng: &mut Rng, client: usize) -> Facts {
    let named = |rng: &mut Rng, client: usize| (rng.u8(..30) > 0).then(|| format!("c{client}"));
    let first = named(rng, client);
    // Often both headers say the same, as a tenant and its only user would.
    let other = if rng.bool() { client } else { rng.usize(..3) };
    let second = named(rng, other);
    let cost = match rng.u8(..6) {
        0 => None,
        1 => Some("0".to_owned()),
        2 => Some("1000".to_owned()),
        3 => Some("much".to_owned()),
        _ => Some(rng.u64(1..=6).to_string()),
    };
    Facts {
        post: rng.bool(),
        keys: [first, second],
        cost,
    }
}

impl Sent {
    /// As the client sends it.
    #[must_use]
    pub fn request(&self) -> Request {
        let mut request = Request::new(if self.facts.post { "POST" } else { "GET" }, "/");
        for (name, value) in KEY_HEADERS.iter().zip(&self.facts.keys) {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if let Some(cost) = &self.facts.cost {
            request = request.header(COST_HEADER, cost);
        }
        if self.facts.post {
            for _ in 0..self.body {
                request = request.piece("a piece of a body");
            }
        }
        request
    }
}
