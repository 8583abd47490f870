//! Gateways with workers of their own, whose clocks differ, and one model Redis.

use super::*;
use crate::flight::fleet;
use crate::redis::resp;
use crate::redis::trouble::Trouble;
use sluice_model_redis::{Connection, Server};
use std::collections::VecDeque;

/// A worker: the number of its gateway, and its own there.
pub type Place = (usize, usize);
/// A client: the number of its gateway, and its own there.
pub type Client = (usize, usize);

pub struct Fleet {
    pub server: Server,
    connection: Connection,
    pub gateways: Vec<World>,
    /// Commands of each worker on their way.
    pub sent: BTreeMap<Place, VecDeque<(u64, Vec<u8>)>>,
    counts: BTreeMap<usize, [u64; EVENTS.len()]>,
    /// Redis's own clock.
    pub now: Millis,
}

/// So far are the clocks of two gateways apart.
const APART: Millis = 3_600_000;

impl Fleet {
    pub fn new(gateways: usize, workers: usize, route: &str) -> Self {
        Self::seeded(gateways, workers, route, 1)
    }

    pub fn seeded(gateways: usize, workers: usize, route: &str, seed: u64) -> Self {
        let json = format!(
            r#"{{"cache_status": {{"name": "c"}}, "purge": {{"path": "/.purge", "token": "t"}},
                "redis": {{"cluster": "r"}}, "routes": [{{"name": "r", "jitter": 0, {route}}}]}}"#
        );
        let policy = Coalesce::load(json.as_bytes()).unwrap();
        let mut server = Server::new(sluice_model_redis::Settings::default());
        let mut fleet = Self {
            connection: server.connect(),
            server,
            gateways: Vec::new(),
            sent: BTreeMap::new(),
            counts: BTreeMap::new(),
            now: START,
        };
        for gateway in 0..gateways as u64 {
            let mut world = World::of(0, policy.clone(), seed * 8 + gateway);
            world.now += APART * gateway;
            (0..workers).for_each(|_| world.start());
            fleet.gateways.push(world);
        }
        fleet
    }

    pub fn workers(&self) -> Vec<Place> {
        let gateways = self.gateways.iter().enumerate();
        gateways
            .flat_map(|(gateway, world)| {
                (0..world.workers.len()).map(move |worker| (gateway, worker))
            })
            .collect()
    }

    pub fn get(&mut self, (gateway, worker): Place, path: &str) -> Client {
        self.ask((gateway, worker), "GET", path, &[])
    }

    pub fn ask(
        &mut self,
        (gateway, worker): Place,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Client {
        let client = self.gateways[gateway].ask(worker, method, path, fields);
        self.collect();
        (gateway, client)
    }

    pub fn got(&self, (gateway, client): Client) -> &Got {
        self.gateways[gateway].got(client)
    }

    pub fn origin(
        &mut self,
        (gateway, client): Client,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Got {
        let got = self.gateways[gateway].origin(client, fields, body);
        self.collect();
        got
    }

    pub fn leave(&mut self, (gateway, client): Client) {
        self.gateways[gateway].leave(client);
        self.collect();
    }

    /// What the machines want asked is on its way.
    pub fn collect(&mut self) {
        let scripts = fleet::scripts();
        for (gateway, world) in self.gateways.iter_mut().enumerate() {
            for (number, worker) in world.workers.iter_mut().enumerate() {
                let sent = self.sent.entry((gateway, number)).or_default();
                for (token, command) in worker.take_commands() {
                    let mut bytes = Vec::new();
                    assert!(command.encode(&mut bytes, &scripts, true));
                    sent.push_back((token, bytes));
                }
            }
        }
    }

    /// Redis carries out the oldest command of a worker, whose reply comes, or is lost. False when there is none.
    pub fn reply(&mut self, place: Place, lost: bool) -> bool {
        let Some((token, bytes)) = self.sent.get_mut(&place).and_then(VecDeque::pop_front) else {
            return false;
        };
        let now = self.now * 1_000;
        let reply = self.server.feed(&mut self.connection, &bytes, now);
        let (reply, _) = resp::decode(&reply).unwrap();
        let reply = match reply {
            _ if lost => Err(Trouble::Timeout),
            resp::Reply::Error(text) => Err(Trouble::from_error_reply(text)),
            reply => Ok(reply),
        };
        self.told(place, token, reply);
        true
    }

    pub fn told(
        &mut self,
        (gateway, worker): Place,
        token: u64,
        reply: Result<resp::Reply<'_>, Trouble>,
    ) {
        let world = &mut self.gateways[gateway];
        let _ = world.workers[worker].told(token, reply, world.now);
        world.release(worker);
        self.collect();
    }

    /// Redis is not there.
    pub fn refuse(&mut self, place: Place) -> bool {
        let Some((token, _)) = self.sent.get_mut(&place).and_then(VecDeque::pop_front) else {
            return false;
        };
        self.told(place, token, Err(Trouble::Connect));
        true
    }

    pub fn deliver(&mut self, (gateway, worker): Place) -> bool {
        let some = self.gateways[gateway].deliver(worker);
        self.collect();
        some
    }

    /// All messages and replies, until there are none.
    pub fn settle(&mut self) {
        let workers = self.workers();
        while workers
            .iter()
            .any(|place| self.deliver(*place) || self.reply(*place, false))
        {}
    }

    pub fn tick(&mut self, (gateway, worker): Place) {
        let world = &mut self.gateways[gateway];
        world.workers[worker].tick(world.now);
        world.release(worker);
        self.collect();
    }

    /// The clocks go on.
    pub fn later(&mut self, time: Millis) {
        self.now += time;
        for world in &mut self.gateways {
            world.now += time;
        }
    }

    /// Time passes, in steps of 50 ms, in which everything works.
    pub fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        while self.now < end {
            self.later((end - self.now).min(50));
            for place in self.workers() {
                self.tick(place);
            }
            self.settle();
        }
    }

    /// The clients whose requests are upstream.
    pub fn upstream(&self) -> Vec<Client> {
        let gateways = self.gateways.iter().enumerate();
        gateways
            .flat_map(|(gateway, world)| world.upstream().into_iter().map(move |id| (gateway, id)))
            .collect()
    }

    /// The only one.
    pub fn leader(&self) -> Client {
        let upstream = self.upstream();
        let [leader] = upstream.as_slice() else {
            panic!("{upstream:?}")
        };
        *leader
    }

    pub fn count(&mut self, gateway: usize, event: Event) -> u64 {
        let counts = self.counts.entry(gateway).or_default();
        for worker in &mut self.gateways[gateway].workers {
            for (sum, count) in counts.iter_mut().zip(worker.take_counts()) {
                *sum += count;
            }
        }
        counts[event as usize]
    }

    pub fn run(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        resp::encode(&mut bytes, words);
        let now = self.now * 1_000;
        self.server.feed(&mut self.connection, &bytes, now)
    }

    /// The flights in Redis.
    pub fn flights(&mut self) -> Vec<Vec<u8>> {
        let reply = self.run(&[b"KEYS", b"sluice:flight:1:*"]);
        match resp::decode(&reply).unwrap().0 {
            resp::Reply::Array(names) => names
                .into_iter()
                .map(|name| match name {
                    resp::Reply::Bulk(name) => name.to_vec(),
                    other => panic!("{other:?}"),
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Nobody waits, and nothing is left behind, in Redis neither when all its times are over.
    pub fn assert_over(&mut self) {
        for world in &self.gateways {
            world.assert_over();
        }
        assert!(self.sent.values().all(VecDeque::is_empty));
        self.now += 31 * 86_400_000;
        assert_eq!(self.flights(), Vec::<Vec<u8>>::new());
    }
}
