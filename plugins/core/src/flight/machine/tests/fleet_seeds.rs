//! Drawn orders of three gateways with two workers each: whatever aborts, nobody is left waiting, each answer is of its own
//! key, a key costs the fleet one request for each time that it expires and each leader that was lost, and no gateway gets
//! back what it has invalidated.

use super::fleet_world::{Client, Fleet};
use super::*;

const GATEWAYS: usize = 3;
const WORKERS: usize = 2;
const KEYS: usize = 2;

#[derive(Clone, Copy)]
struct Faults {
    leave: bool,
    fail: bool,
    unshared: bool,
    time: bool,
    /// Replies of Redis that are lost.
    redis: bool,
    invalidate: bool,
    /// Redis answers before time goes on.
    prompt: bool,
}

const NONE: Faults = Faults {
    leave: false,
    fail: false,
    unshared: false,
    time: false,
    redis: false,
    invalidate: false,
    prompt: false,
};

struct Run {
    fleet: Fleet,
    draw: Box<dyn FnMut() -> u64>,
    faults: Faults,
    keys: BTreeMap<Client, usize>,
    /// What the origin has of each key: it changes with each invalidation.
    versions: [u64; KEYS],
    /// The oldest version that a client may get, by what its gateway had invalidated when it came.
    least: BTreeMap<Client, u64>,
    invalidated: BTreeMap<(usize, usize), u64>,
    asked: [usize; KEYS],
    lost: [usize; KEYS],
    /// Heads that have come, whose bodies have not ended, and the version.
    bodies: BTreeMap<Client, u64>,
    /// The version that each request upstream gets.
    gets: BTreeMap<Client, u64>,
}

impl Run {
    fn new(seed: u64, faults: Faults) -> Self {
        let route = r#""early_refresh": 0, "hit_for_miss": "1s", "stale_if_error": "0s", "flight": {"wait": "5m", "lease": "10s", "max_time": "1m", "fleet": {}}"#;
        Self {
            fleet: Fleet::seeded(GATEWAYS, WORKERS, route, seed + 1),
            draw: Box::new(numbers(seed)),
            faults,
            keys: BTreeMap::new(),
            versions: [0; KEYS],
            least: BTreeMap::new(),
            invalidated: BTreeMap::new(),
            asked: [0; KEYS],
            lost: [0; KEYS],
            bodies: BTreeMap::new(),
            gets: BTreeMap::new(),
        }
    }

    fn below(&mut self, most: usize) -> usize {
        ((self.draw)() % most as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }

    fn place(&mut self) -> (usize, usize) {
        (self.below(GATEWAYS), self.below(WORKERS))
    }

    fn step(&mut self) {
        let place = self.place();
        match self.below(16) {
            0..4 => {
                let key = self.below(KEYS);
                let client = self.fleet.get(place, &format!("/{key}"));
                self.keys.insert(client, key);
                let least = self.invalidated.get(&(place.0, key)).copied();
                self.least.insert(client, least.unwrap_or(0));
            }
            4..7 => {
                self.fleet.deliver(place);
            }
            7..10 => {
                let lost = self.faults.redis && self.below(6) == 0;
                self.lose(place, lost);
            }
            10 => {
                let upstream = self.fleet.upstream();
                if let Some(client) = self.pick(&upstream) {
                    self.head(client);
                }
            }
            11 | 12 => {
                let bodies: Vec<Client> = self.bodies.keys().copied().collect();
                if let Some(client) = self.pick(&bodies) {
                    self.body(client);
                }
            }
            13 if self.faults.leave => {
                let there: Vec<Client> = self.keys.keys().copied().collect();
                let waits = |got: &Got| *got == Got::Waits || got.is_upstream();
                let there: Vec<Client> = there
                    .into_iter()
                    .filter(|client| {
                        waits(self.fleet.got(*client)) || self.bodies.contains_key(client)
                    })
                    .collect();
                if let Some(client) = self.pick(&there) {
                    if *self.fleet.got(client) != Got::Waits {
                        self.lost[self.keys[&client]] += 1;
                    }
                    self.bodies.remove(&client);
                    self.fleet.leave(client);
                }
            }
            14 if self.faults.time => {
                let time = self.below(300) as Millis;
                for place in self.fleet.workers() {
                    while self.faults.prompt && self.fleet.reply(place, false) {}
                }
                self.fleet.later(time);
                self.fleet.tick(place);
            }
            15 if self.faults.invalidate && self.below(4) == 0 => {
                let key = self.below(KEYS);
                self.versions[key] += 1;
                let post = self.fleet.ask(place, "POST", &format!("/{key}"), &[]);
                self.fleet.origin(post, &[(":status", "204")], "");
                // The other worker of this gateway hears of it a moment later.
                for worker in 0..WORKERS {
                    while self.fleet.deliver((place.0, worker)) {}
                }
                self.invalidated.insert((place.0, key), self.versions[key]);
                // What is under way may have to be asked for again, by each gateway.
                self.lost[key] += GATEWAYS + 1;
            }
            _ => self.fleet.tick(place),
        }
        self.newly_sent();
    }

    fn lose(&mut self, place: (usize, usize), lost: bool) {
        if self.fleet.reply(place, lost) && lost {
            // That gateway does without the fleet, and what it gets is not told to others.
            for count in &mut self.lost {
                *count += GATEWAYS;
            }
        }
    }

    fn newly_sent(&mut self) {
        for client in self.fleet.upstream() {
            let key = self.keys.get(&client).copied();
            if let Some(key) = key
                && !self.gets.contains_key(&client)
            {
                self.asked[key] += 1;
                self.gets.insert(client, self.versions[key]);
            }
        }
    }

    fn head(&mut self, client: Client) {
        let kind = self.below(10);
        let fields: &[(&str, &str)] = match kind {
            0 if self.faults.fail => &[(":status", "502")],
            1 if self.faults.unshared => &[(":status", "200"), ("set-cookie", "a=b")],
            _ => &[(":status", "200"), ("cache-control", "max-age=1")],
        };
        let key = self.keys[&client];
        if fields[0].1 == "502" {
            self.lost[key] += 1;
        }
        if self.fleet.gateways[client.0].origin_head(client.1, fields, false) {
            self.bodies.insert(client, self.gets[&client]);
        }
        self.fleet.collect();
    }

    fn body(&mut self, client: Client) {
        let Some(version) = self.bodies.remove(&client) else {
            return;
        };
        let text = format!("{} {version}", self.keys[&client]);
        self.fleet.gateways[client.0].origin_body(client.1, &text, true);
        self.fleet.collect();
    }

    /// What is under way comes to its end.
    fn end(&mut self) {
        for _ in 0..2_000 {
            let bodies: Vec<Client> = self.bodies.keys().copied().collect();
            bodies.into_iter().for_each(|client| self.body(client));
            self.fleet.pass(50);
            self.newly_sent();
            let upstream = self.fleet.upstream();
            let waiting: usize = self.fleet.gateways.iter().map(World::waiting).sum();
            for client in &upstream {
                self.head(*client);
            }
            if upstream.is_empty() && self.bodies.is_empty() && waiting == 0 {
                break;
            }
        }
        self.fleet.pass(50);
        self.fleet.assert_over();
        for (client, key) in &self.keys {
            if let Got::Answer { body, cache, .. } = self.fleet.got(*client)
                && cache.contains("hit") | cache.contains("collapsed")
            {
                let text = String::from_utf8_lossy(body);
                let (of, version) = text.split_once(' ').unwrap();
                assert_eq!(of, key.to_string(), "client {client:?}");
                let version: u64 = version.parse().unwrap();
                assert!(
                    version >= self.least[client],
                    "client {client:?} got {text}, not {}",
                    self.least[client]
                );
            }
        }
    }
}

fn runs(seeds: u64, faults: Faults, check: impl Fn(u64, &Run)) {
    for seed in 0..seeds {
        let mut run = Run::new(seed, faults);
        for _ in 0..200 {
            run.step();
        }
        run.end();
        check(seed, &run);
    }
}

#[test]
fn a_key_costs_the_fleet_one_request_whatever_the_order() {
    runs(600, NONE, |seed, run| {
        // The end of a run takes less than the answers last.
        assert!(
            run.asked.iter().all(|asked| *asked <= 1),
            "seed {seed}: {:?}",
            run.asked
        );
        assert!(run.asked.iter().sum::<usize>() > 0);
    });
}

#[test]
fn a_key_costs_the_fleet_one_request_for_each_expiry_and_each_leader_lost() {
    let faults = Faults {
        time: true,
        leave: true,
        prompt: true,
        ..NONE
    };
    runs(600, faults, |seed, run| {
        assert!(!run.gets.is_empty());
        for (asked, lost) in run.asked.iter().zip(run.lost) {
            // Whoever takes another gateway's answer takes it for a millisecond older.
            let expiries = 1 + (run.fleet.now - START - 31 * 86_400_000) / 999;
            assert!(
                *asked <= expiries as usize + lost,
                "seed {seed}: {:?}, {expiries} expiries, {:?} lost",
                run.asked,
                run.lost
            );
        }
    });
}

#[test]
fn what_a_gateway_has_invalidated_never_comes_back_whatever_the_order() {
    let faults = Faults {
        invalidate: true,
        leave: true,
        time: true,
        ..NONE
    };
    runs(1_000, faults, |_, _| {});
}

#[test]
fn whatever_happens_nobody_is_left_waiting_at_any_gateway() {
    let faults = Faults {
        leave: true,
        fail: true,
        unshared: true,
        time: true,
        redis: true,
        invalidate: true,
        prompt: false,
    };
    runs(1_000, faults, |_, _| {});
}
