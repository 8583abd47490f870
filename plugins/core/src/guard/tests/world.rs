//! A Redis, gateways with workers, and whoever builds filters.

use std::collections::VecDeque;

use sluice_model_redis::Server;

use crate::bloom::{Filter, Shape};
use crate::gcra::{PS_PER_US, Ps};
use crate::guard::scripts::{self, Keys};
use crate::guard::{EVENTS, Event, Guards, KEPT, MAX_ADDED, Tag, Why, written};
use crate::headers::Headers;
use crate::policy::coalesce::Coalesce;
use crate::redis::line::Line;
use crate::redis::pipe::Login;
use crate::redis::resp::{self, Reply};
use crate::redis::trouble::Trouble;
use crate::selector::testing::Fake;
use crate::slots::tests::FakeShared;

pub const SECOND: u64 = 1_000_000;
pub const START: u64 = 1_790_000_000 * SECOND;

pub const POLICY: &str = r#"{
    "redis": {"cluster": "r", "breaker": {"failures": 5, "open_for": "1s"}},
    "routes": [{"name": "a"}],
    "guards": [{"name": "items", "match": {"path": {"template": "/items/{id}"}}, "id": [{"path": "id"}],
        "refresh": "1s", "max_age": "10s", "max_size": "1MiB", "learn": {}}]
}"#;

pub struct World {
    pub server: Server,
    /// Microseconds.
    pub now: u64,
    pub keys: Keys,
    pub workers: Vec<Worker>,
    builds: u64,
}

pub struct Worker {
    pub guards: Guards<FakeShared>,
    pub line: Line<Tag>,
    /// Batches on their way.
    pub sent: VecDeque<(u32, Vec<u8>)>,
    tokens: u32,
    counts: [u64; EVENTS.len()],
}

/// A build that has begun.
pub struct Build {
    ids: Vec<u64>,
    capacity: u64,
    header: Vec<u8>,
    last: String,
    began: u64,
}

impl World {
    /// Gateways with so many workers each.
    pub fn new(policy: &str, gateways: &[usize]) -> Self {
        let mut world = Self {
            server: Server::new(sluice_model_redis::Settings::default()),
            now: START,
            keys: Keys::new("sluice", "items"),
            workers: Vec::new(),
            builds: 0,
        };
        for workers in gateways {
            let shared = FakeShared::default();
            for _ in 0..*workers {
                let worker = Worker::new(policy, &shared, world.now());
                world.workers.push(worker);
            }
        }
        world
    }

    pub fn now(&self) -> Ps {
        Ps::from(self.now) * PS_PER_US
    }

    pub fn run(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        resp::encode(&mut bytes, words);
        self.feed(&bytes)
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut connection = self.server.connect();
        self.server.feed(&mut connection, bytes, self.now)
    }

    fn bulk(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let reply = self.run(words);
        match resp::decode(&reply).unwrap().0 {
            Reply::Bulk(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    pub fn add(&mut self, id: u64) {
        let (most, id) = (MAX_ADDED.to_string(), name(id));
        let key = self.keys.added.clone();
        let text = scripts::ADD_TEXT.as_bytes();
        let reply = self.run(&[b"EVAL", text, b"1", key.as_bytes(), most.as_bytes(), &id]);
        assert!(reply.starts_with(b":"), "{reply:?}");
    }

    pub fn begin_build(&mut self, ids: &[u64], capacity: u64) -> Build {
        let (filter, added) = (self.keys.filter.clone(), self.keys.added.clone());
        let header = self.bulk(&[b"GETRANGE", filter.as_bytes(), b"0", b"55"]);
        let last = self.run(&[b"ZRANGE", added.as_bytes(), b"-1", b"-1", b"WITHSCORES"]);
        let last = match resp::decode(&last).unwrap().0 {
            Reply::Array(parts) => match parts.as_slice() {
                [_, Reply::Bulk(last)] => String::from_utf8(last.to_vec()).unwrap(),
                _ => "0".to_owned(),
            },
            other => panic!("{other:?}"),
        };
        Build {
            ids: ids.to_vec(),
            capacity,
            header,
            last,
            began: self.now / 1_000,
        }
    }

    /// Whether it took the place of the old one.
    pub fn end_build(&mut self, build: &Build) -> bool {
        self.builds += 1;
        let shape = Shape::of(build.capacity, 0.001).unwrap();
        let mut filter = Filter::new(shape, self.builds, build.began);
        build.ids.iter().for_each(|id| filter.insert(&name(*id)));
        let (old, added) = (self.keys.filter.clone(), self.keys.added.clone());
        let came = self.run(&[b"ZRANGE", added.as_bytes(), b"0", b"-1"]);
        let Reply::Array(came) = resp::decode(&came).unwrap().0 else {
            panic!("{came:?}")
        };
        for id in came {
            let Reply::Bulk(id) = id else {
                panic!("{id:?}")
            };
            filter.insert(id);
        }
        let new = format!("{old}:new");
        self.run(&[b"SET", new.as_bytes(), &filter.to_blob()]);
        let reply = self.run(&[
            b"EVAL",
            scripts::SWITCH_TEXT.as_bytes(),
            b"3",
            old.as_bytes(),
            added.as_bytes(),
            new.as_bytes(),
            &build.header,
            build.last.as_bytes(),
            KEPT.to_string().as_bytes(),
            MAX_ADDED.to_string().as_bytes(),
        ]);
        match reply.as_slice() {
            b":1\r\n" => true,
            b":0\r\n" => false,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }

    pub fn build(&mut self, ids: &[u64]) {
        let build = self.begin_build(ids, 1_000);
        assert!(self.end_build(&build));
    }

    pub fn blob(&mut self) -> Vec<u8> {
        let key = self.keys.filter.clone();
        self.bulk(&[b"GET", key.as_bytes()])
    }

    pub fn set_blob(&mut self, blob: &[u8]) {
        let key = self.keys.filter.clone();
        self.run(&[b"SET", key.as_bytes(), blob]);
    }

    pub fn tick(&mut self, worker: usize) {
        let now = self.now();
        self.workers[worker].tick(now);
    }

    /// The oldest batch of a worker is carried out and answered; false when there is none.
    pub fn deliver(&mut self, worker: usize) -> bool {
        let Some((token, body)) = self.workers[worker].sent.pop_front() else {
            return false;
        };
        let reply = self.feed(&body);
        let now = self.now();
        self.workers[worker].replied(token, Ok(&reply), now);
        true
    }

    /// Its reply is lost; `run`: it was carried out all the same.
    pub fn lose(&mut self, worker: usize, run: bool) {
        if let Some((token, body)) = self.workers[worker].sent.pop_front() {
            if run {
                self.feed(&body);
            }
            let now = self.now();
            self.workers[worker].replied(token, Err(Trouble::Timeout), now);
        }
    }

    /// So many microseconds in which everything works.
    pub fn pass(&mut self, micros: u64) {
        let end = self.now + micros;
        while self.now < end {
            self.now = end.min(self.now + SECOND / 4);
            for worker in 0..self.workers.len() {
                self.tick(worker);
                while self.deliver(worker) {}
            }
        }
    }

    /// Whether a request for an id passes, and why.
    pub fn ask(&mut self, worker: usize, id: u64) -> Event {
        let now = self.now();
        self.workers[worker].ask(&format!("/items/{id}"), now)
    }

    /// A client creates something at a worker.
    pub fn create(&mut self, worker: usize, id: u64) {
        let now = self.now();
        let request = Fake::new(&[(":method", "POST"), (":path", "/items")]);
        let guards = &mut self.workers[worker].guards;
        assert!(guards.awaits(&request));
        let location = format!("/items/{id}");
        let answer = Headers::from_pairs(&[(":status", "201"), ("location", &location)]);
        guards.answered(&request, &answer, now);
    }

    pub fn open(&mut self, worker: usize) -> Option<Why> {
        let now = self.now();
        self.workers[worker].open(now)
    }
}

impl Worker {
    pub fn new(policy: &str, shared: &FakeShared, now: Ps) -> Self {
        let policy = Coalesce::load(policy.as_bytes()).unwrap();
        let redis = policy.redis.clone().unwrap();
        Self {
            guards: Guards::new(policy.guards, policy.client_ip, &redis, shared, now),
            line: Line::new(&redis, &Login::default(), scripts::all()),
            sent: VecDeque::new(),
            tokens: 0,
            counts: [0; EVENTS.len()],
        }
    }

    fn tick(&mut self, now: Ps) {
        self.guards.tick(&mut self.line, now);
        self.send(now);
    }

    fn send(&mut self, now: Ps) {
        let Self {
            line,
            guards,
            sent,
            tokens,
            ..
        } = self;
        let failed = line.send(now, |_, batch| {
            *tokens += 1;
            sent.push_back((*tokens, batch.body.clone()));
            Ok(*tokens)
        });
        for (tag, _) in failed {
            guards.not_sent(tag, now);
        }
    }

    fn replied(&mut self, token: u32, reply: Result<&[u8], Trouble>, now: Ps) {
        let Self { line, guards, .. } = self;
        line.replied(token, reply, now, |tag, reply| {
            guards.replied(tag, reply, now)
        });
        guards.heard(reply.is_ok(), line, now);
        self.send(now);
    }

    fn publish(&mut self, now: Ps) -> Option<Why> {
        let (counts, open) = self.guards.take_counts(now).next().unwrap();
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum += count;
        }
        open
    }

    fn open(&mut self, now: Ps) -> Option<Why> {
        self.publish(now)
    }

    pub fn count(&mut self, event: Event) -> u64 {
        self.publish(0);
        self.counts[event as usize]
    }

    /// The one event that a request is counted as.
    pub fn ask(&mut self, path: &str, now: Ps) -> Event {
        self.publish(now);
        let before = self.counts;
        let refused = self.guards.check(&Fake::path(path), now).is_some();
        self.publish(now);
        let counted: Vec<Event> = EVENTS
            .iter()
            .zip(self.counts.iter().zip(before))
            .filter(|(_, (now, before))| *now != before)
            .map(|((event, _), _)| *event)
            .collect();
        let [event] = counted.as_slice() else {
            panic!("{counted:?}")
        };
        assert_eq!(refused, *event == Event::Refused);
        *event
    }
}

pub fn name(id: u64) -> Vec<u8> {
    written(id.to_string().as_bytes()).unwrap()
}
