//! Many clients at once, and what Redis says it was asked.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use host_tests::gateway::Gateway;
use host_tests::redis::Redis;

/// What the clients of a flood got.
#[derive(Debug, Default)]
pub struct Outcome {
    statuses: BTreeMap<u16, usize>,
    /// The longest that a client waited for an answer.
    pub slowest: Duration,
}

impl Outcome {
    pub fn passed(&self) -> usize {
        self.with_status(200)
    }

    pub fn with_status(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    /// Such as `100 x 200, 200 x 429`.
    pub fn summary(&self) -> String {
        let counts = self.statuses.iter().map(|(status, count)| match status {
            0 => format!("{count} without an answer"),
            _ => format!("{count} x {status}"),
        });
        counts.collect::<Vec<_>>().join(", ")
    }
}

/// `clients` connections to each gateway, all starting together, each asking `each` times for `path`.
pub fn flood(
    gateways: &[&Gateway],
    clients: usize,
    each: usize,
    path: &str,
    headers: &[(&str, &str)],
) -> Outcome {
    flood_with(gateways, clients, each, ("GET", path), headers, b"")
}

/// The same with another method, and a body.
pub fn flood_with(
    gateways: &[&Gateway],
    clients: usize,
    each: usize,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Outcome {
    let start = Barrier::new(gateways.len() * clients);
    thread::scope(|scope| {
        let crowd: Vec<_> = gateways
            .iter()
            .flat_map(|gateway| std::iter::repeat_n(gateway, clients))
            .map(|gateway| {
                let (mut client, start) = (gateway.client(), &start);
                scope.spawn(move || {
                    start.wait();
                    let ask = |_| {
                        let asked = Instant::now();
                        let answer = client.send(method, path, headers, body);
                        (answer.map_or(0, |answer| answer.status), asked.elapsed())
                    };
                    (0..each).map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut outcome = Outcome::default();
        for client in crowd {
            for (status, waited) in client.join().expect("a client does not panic") {
                *outcome.statuses.entry(status).or_default() += 1;
                outcome.slowest = outcome.slowest.max(waited);
            }
        }
        outcome
    })
}

/// How many scripts Redis was asked to run since its statistics were reset.
pub fn script_calls(redis: &Redis) -> u64 {
    let info: String = redis.query(&["INFO", "commandstats"]);
    let calls = |command: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(command)?.split(',').next()?.parse().ok())
            .unwrap_or(0)
    };
    calls("cmdstat_evalsha:calls=") + calls("cmdstat_eval:calls=")
}
