//! Workers over one shared data, with an origin and clients that do what a test says.

mod answers;
mod fleet;
mod fleet_answers;
mod fleet_seeds;
mod fleet_world;
mod flights;
mod many;
mod nested;
mod seeds;
mod stale;

use super::*;
use crate::selector::testing::Fake;
use crate::slots::tests::FakeShared;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

type Queue = VecDeque<Vec<u8>>;

/// The workers' queues, by token.
#[derive(Clone, Default)]
struct Queues(Rc<RefCell<BTreeMap<u32, Queue>>>);

impl Posts for Queues {
    fn post(&self, token: u32, bytes: &[u8]) -> bool {
        let mut queues = self.0.borrow_mut();
        queues.entry(token).or_default().push_back(bytes.to_vec());
        true
    }
}

/// What became of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Waits,
    /// It is upstream, with the fields that it set or removed there.
    Upstream(Changes),
    Answer {
        status: u16,
        body: Vec<u8>,
        cache: String,
        age: Option<u64>,
    },
    Left,
}

impl Got {
    fn body(&self) -> String {
        match self {
            Self::Answer { body, .. } => String::from_utf8_lossy(body).into_owned(),
            other => format!("{other:?}"),
        }
    }

    fn cache(&self) -> &str {
        match self {
            Self::Answer { cache, .. } => cache,
            _ => "",
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::Answer { status, .. } => *status,
            _ => 0,
        }
    }

    fn is_upstream(&self) -> bool {
        matches!(self, Self::Upstream(_))
    }
}

struct World {
    policy: Coalesce,
    /// Of the workers' numbers that look random.
    seed: u64,
    store: FakeShared,
    queues: Queues,
    workers: Vec<Machine<FakeShared, Queues>>,
    now: Millis,
    clients: Vec<(usize, Got)>,
    calls: Vec<(usize, Call)>,
}

const START: Millis = 1_800_000_000_000;

/// A policy of one route for everything.
fn policy(route: &str) -> Coalesce {
    let json = format!(
        r#"{{"cache_status": {{"name": "c"}}, "purge": {{"path": "/.purge", "token": "t"}},
            "routes": [{{"name": "r", "jitter": 0, {route}}}]}}"#
    );
    Coalesce::load(json.as_bytes()).unwrap()
}

/// A sequence of numbers that looks random.
fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl World {
    fn new(workers: usize, route: &str) -> Self {
        Self::of(workers, policy(route), 0)
    }

    fn of(workers: usize, policy: Coalesce, seed: u64) -> Self {
        let mut world = Self {
            policy,
            seed,
            store: FakeShared::default(),
            queues: Queues::default(),
            workers: Vec::new(),
            now: START,
            clients: Vec::new(),
            calls: Vec::new(),
        };
        for _ in 0..workers {
            world.start();
        }
        world
    }

    /// One more worker.
    fn start(&mut self) {
        let token = Some("t".to_owned());
        let secret = [1, 2, 3, 4 + self.seed];
        let settings = Settings::new(self.policy.clone(), token, secret, b"policy");
        let number = self.workers.len();
        let random = Box::new(numbers(self.seed << 20 | number as u64));
        let (store, queues) = (self.store.clone(), self.queues.clone());
        let machine = Machine::new(settings, store, queues, number as u32, random, self.now);
        self.workers.push(machine);
    }

    /// A client's request; its number.
    fn get(&mut self, worker: usize, path: &str) -> usize {
        self.ask(worker, "GET", path, &[])
    }

    fn ask(&mut self, worker: usize, method: &str, path: &str, fields: &[(&str, &str)]) -> usize {
        let id = self.clients.len();
        let mut all = vec![
            (":method", method),
            (":scheme", "http"),
            (":authority", "shop"),
            (":path", path),
        ];
        all.extend_from_slice(fields);
        let request = Fake::new(&all);
        let step = self.workers[worker].request(id as u32, &request, true, self.now);
        let got = match step {
            Step::Pass => Got::Upstream(Changes::new()),
            Step::Send(changes) => Got::Upstream(changes),
            Step::Hold => Got::Waits,
            Step::Answer(reply) => answer(&reply, method == "HEAD"),
        };
        self.clients.push((worker, got));
        id
    }

    fn got(&self, client: usize) -> &Got {
        &self.clients[client].1
    }

    /// The origin's whole answer to a client's request; what the client then has.
    fn origin(&mut self, client: usize, fields: &[(&str, &str)], body: &str) -> Got {
        if self.origin_head(client, fields, body.is_empty()) && !body.is_empty() {
            self.origin_body(client, body, true);
        }
        if let Got::Answer { body: got, .. } = &mut self.clients[client].1
            && got.is_empty()
        {
            *got = body.into();
        }
        self.got(client).clone()
    }

    /// False when something else goes in its place.
    fn origin_head(&mut self, client: usize, fields: &[(&str, &str)], ends: bool) -> bool {
        let worker = self.clients[client].0;
        assert!(self.got(client).is_upstream(), "{:?}", self.got(client));
        let headers = Headers::from_pairs(fields);
        let step = self.workers[worker].response_head(client as u32, &headers, ends, self.now);
        let (passes, got) = match step {
            HeadStep::Pass(status) => {
                let answer = Got::Answer {
                    status: fields[0].1.parse().unwrap(),
                    body: Vec::new(),
                    cache: status.unwrap_or_default(),
                    age: None,
                };
                (true, answer)
            }
            HeadStep::Replace(reply) => (false, answer(&reply, false)),
        };
        self.clients[client].1 = got;
        passes
    }

    fn origin_body(&mut self, client: usize, piece: &str, end: bool) {
        let worker = self.clients[client].0;
        self.workers[worker].response_body(client as u32, piece.as_bytes(), end, self.now);
    }

    fn leave(&mut self, client: usize) {
        let worker = self.clients[client].0;
        self.workers[worker].ended(client as u32, false, self.now);
        self.clients[client].1 = Got::Left;
    }

    /// The upstream breaks off.
    fn cut(&mut self, client: usize) {
        let worker = self.clients[client].0;
        self.workers[worker].ended(client as u32, true, self.now);
    }

    /// Takes one message of a worker's queue. False when it is empty.
    fn deliver(&mut self, worker: usize) -> bool {
        let message = self
            .queues
            .0
            .borrow_mut()
            .get_mut(&(worker as u32))
            .and_then(VecDeque::pop_front);
        let Some(message) = message else {
            return false;
        };
        self.workers[worker].message(&message, self.now);
        self.release(worker);
        true
    }

    fn release(&mut self, worker: usize) {
        for (id, release) in self.workers[worker].take_released() {
            let got = &mut self.clients[id as usize].1;
            assert_eq!(*got, Got::Waits, "client {id} is released once");
            *got = match release {
                Release::Send(changes) => Got::Upstream(changes),
                Release::Answer(reply) => answer(&reply, false),
            };
        }
        for call in self.workers[worker].take_calls() {
            self.calls.push((worker, call));
        }
    }

    /// All messages, until there are none.
    fn settle(&mut self) {
        while (0..self.workers.len()).any(|worker| self.deliver(worker)) {}
    }

    /// Time passes, in steps of 50 ms.
    fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + 50).min(end);
            for worker in 0..self.workers.len() {
                self.workers[worker].tick(self.now);
                self.release(worker);
            }
            self.settle();
        }
    }

    fn upstream(&self) -> Vec<usize> {
        let clients = self.clients.iter().enumerate();
        clients
            .filter_map(|(id, (_, got))| got.is_upstream().then_some(id))
            .collect()
    }

    fn waiting(&self) -> usize {
        let clients = self.clients.iter();
        clients.filter(|(_, got)| *got == Got::Waits).count()
    }

    /// Nobody and nothing is left behind.
    fn assert_over(&self) {
        assert_eq!((self.waiting(), self.upstream()), (0, vec![]));
        for worker in &self.workers {
            assert_eq!(worker.waiting(), 0);
            assert_eq!(worker.streams(), 0);
            assert!(worker.groups.is_empty() && worker.fetches.is_empty());
            assert!(worker.asks.is_empty() && worker.left.is_empty());
            assert!(worker.commands.is_empty());
            assert_eq!(worker.copying.get(), 0);
        }
    }
}

fn answer(reply: &Reply, head: bool) -> Got {
    let field = |name: &str| {
        let mut fields = reply.fields.iter();
        let found = fields.find(|(other, _)| other == name.as_bytes())?;
        Some(String::from_utf8(found.1.clone()).unwrap())
    };
    Got::Answer {
        status: reply.status,
        body: if head {
            Vec::new()
        } else {
            reply.body.to_vec()
        },
        cache: field("cache-status").unwrap_or_default(),
        age: field("age").map(|age| age.parse().unwrap()),
    }
}

const FRESH: &[(&str, &str)] = &[(":status", "200"), ("cache-control", "max-age=60")];
