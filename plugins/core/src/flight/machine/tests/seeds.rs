//! Drawn interleavings of four workers: whatever aborts, nobody is left waiting, each answer is of its own key, and a key
//! costs one request for each time that it expires, and for each leader that was lost.

use super::*;

const WORKERS: usize = 4;
const KEYS: usize = 3;
const LIFETIME: Millis = 1_000;

#[derive(Clone, Copy)]
struct Faults {
    leave: bool,
    fail: bool,
    unshared: bool,
    time: bool,
}

const NONE: Faults = Faults {
    leave: false,
    fail: false,
    unshared: false,
    time: false,
};

struct Run {
    world: World,
    draw: Box<dyn FnMut() -> u64>,
    faults: Faults,
    keys: Vec<usize>,
    asked: [usize; KEYS],
    lost: [usize; KEYS],
    /// Heads that have come, whose bodies have not ended.
    bodies: Vec<usize>,
}

impl Run {
    fn new(seed: u64, faults: Faults) -> Self {
        let route = r#""early_refresh": 0, "hit_for_miss": "1s", "stale_if_error": "0s", "flight": {"wait": "5m", "lease": "10s", "max_time": "1m"}"#;
        Self {
            world: World::new(WORKERS, route),
            draw: Box::new(numbers(seed)),
            faults,
            keys: Vec::new(),
            asked: [0; KEYS],
            lost: [0; KEYS],
            bodies: Vec::new(),
        }
    }

    fn below(&mut self, most: usize) -> usize {
        ((self.draw)() % most as u64) as usize
    }

    fn pick(&mut self, from: &[usize]) -> Option<usize> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }

    fn step(&mut self) {
        match self.below(12) {
            0..4 => {
                let (worker, key) = (self.below(WORKERS), self.below(KEYS));
                let client = self.world.get(worker, &format!("/{key}"));
                self.keys.push(key);
                self.sent(client);
            }
            4..7 => {
                let worker = self.below(WORKERS);
                self.deliver(worker);
            }
            7 => {
                let upstream = self.world.upstream();
                if let Some(client) = self.pick(&upstream) {
                    self.head(client);
                }
            }
            8 | 9 => {
                let bodies = self.bodies.clone();
                if let Some(client) = self.pick(&bodies) {
                    let key = self.keys[client];
                    let end = self.below(3) == 0;
                    let piece = if end { key.to_string() } else { String::new() };
                    self.world.origin_body(client, &piece, end);
                    if end {
                        self.bodies.retain(|other| *other != client);
                    }
                }
            }
            10 if self.faults.leave => {
                let clients = 0..self.world.clients.len();
                let bodies = &self.bodies;
                let there = clients.filter(|client| match self.world.got(*client) {
                    Got::Waits | Got::Upstream(_) => true,
                    _ => bodies.contains(client),
                });
                let there: Vec<usize> = there.collect();
                if let Some(client) = self.pick(&there) {
                    if *self.world.got(client) != Got::Waits {
                        self.lost[self.keys[client]] += 1;
                    }
                    self.bodies.retain(|other| *other != client);
                    self.world.leave(client);
                }
            }
            11 if self.faults.time => {
                self.world.now += self.below(300) as Millis;
                let worker = self.below(WORKERS);
                let now = self.world.now;
                let before = self.world.upstream();
                self.world.workers[worker].tick(now);
                self.world.release(worker);
                self.newly_sent(&before);
            }
            _ => {}
        }
    }

    fn deliver(&mut self, worker: usize) -> bool {
        let before = self.world.upstream();
        let some = self.world.deliver(worker);
        self.newly_sent(&before);
        some
    }

    fn newly_sent(&mut self, before: &[usize]) {
        for client in self.world.upstream() {
            if !before.contains(&client) {
                self.sent(client);
            }
        }
    }

    fn sent(&mut self, client: usize) {
        if self.world.got(client).is_upstream() {
            self.asked[self.keys[client]] += 1;
        }
    }

    fn head(&mut self, client: usize) {
        let kind = self.below(10);
        let fields: &[(&str, &str)] = match kind {
            0 if self.faults.fail => &[(":status", "502")],
            1 if self.faults.unshared => &[(":status", "200"), ("set-cookie", "a=b")],
            _ => &[(":status", "200"), ("cache-control", "max-age=1")],
        };
        if fields[0].1 == "502" {
            self.lost[self.keys[client]] += 1;
        }
        if self.world.origin_head(client, fields, false) {
            self.bodies.push(client);
        }
    }

    /// What is under way comes to its end.
    fn end(&mut self) {
        for _ in 0..10_000 {
            while let Some(client) = self.bodies.pop() {
                let key = self.keys[client].to_string();
                self.world.origin_body(client, &key, true);
            }
            let mut some = false;
            for worker in 0..WORKERS {
                some |= self.deliver(worker);
            }
            for client in self.world.upstream() {
                some = true;
                self.head(client);
            }
            if !some {
                break;
            }
        }
        self.world.assert_over();
        for (client, key) in self.keys.iter().enumerate() {
            if let Got::Answer { body, cache, .. } = self.world.got(client)
                && cache.contains("hit") | cache.contains("collapsed")
            {
                assert_eq!(*body, key.to_string().into_bytes(), "client {client}");
            }
        }
    }
}

fn runs(seeds: u64, faults: Faults, check: impl Fn(u64, &Run)) {
    for seed in 0..seeds {
        let mut run = Run::new(seed, faults);
        for _ in 0..150 {
            run.step();
        }
        run.end();
        check(seed, &run);
    }
}

#[test]
fn a_key_costs_one_request_whatever_the_order() {
    runs(3_000, NONE, |seed, run| {
        assert!(
            run.asked.iter().all(|asked| *asked <= 1),
            "seed {seed}: {:?}",
            run.asked
        );
        assert!(run.asked.iter().sum::<usize>() > 0);
    });
}

#[test]
fn a_key_costs_one_request_for_each_expiry() {
    let faults = Faults { time: true, ..NONE };
    runs(2_000, faults, |seed, run| {
        let passed = run.world.now - START;
        let most = 1 + (passed / LIFETIME) as usize;
        assert!(
            run.asked.iter().all(|asked| *asked <= most),
            "seed {seed}: {:?} in {passed} ms",
            run.asked
        );
    });
}

#[test]
fn a_leader_that_leaves_costs_one_more_request_and_leaves_nobody_waiting() {
    let faults = Faults {
        leave: true,
        ..NONE
    };
    runs(3_000, faults, |seed, run| {
        for (asked, lost) in run.asked.iter().zip(run.lost) {
            assert!(
                *asked <= 1 + lost,
                "seed {seed}: {:?} {:?}",
                run.asked,
                run.lost
            );
        }
    });
}

#[test]
fn whatever_happens_nobody_is_left_waiting() {
    let faults = Faults {
        leave: true,
        fail: true,
        unshared: true,
        time: true,
    };
    runs(5_000, faults, |_, _| {});
}
