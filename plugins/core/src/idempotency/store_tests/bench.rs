//! Clients of stores, which are models of Redis with the real scripts, and the way between them.

use super::suite::Stage;
use crate::gcra::{PS_PER_S, PS_PER_US, Ps};
use crate::idempotency::exchange::picoseconds;
use crate::idempotency::redis_store::RedisStore;
use crate::idempotency::redlock::Redlock;
use crate::idempotency::registry::testing;
use crate::idempotency::settings::Settings;
use crate::idempotency::store::{Acquired, Claim, Operation, Outcome, Store};
use crate::redis::trouble::Trouble;
use sluice_model_redis::{Server, Settings as RedisSettings};
use std::time::Duration;

const START: u64 = 1_790_000_000_000_000;
const TIMEOUT: Ps = PS_PER_S / 10;

fn settings() -> Settings {
    testing::settings(testing::route())
}

enum Client {
    Single(Box<RedisStore>),
    Several(Redlock<RedisStore>),
}

impl Client {
    fn store(&mut self) -> &mut dyn Store {
        match self {
            Self::Single(store) => store.as_mut(),
            Self::Several(stores) => stores,
        }
    }

    fn part(&mut self, index: usize) -> &mut RedisStore {
        match self {
            Self::Single(store) => store,
            Self::Several(stores) => &mut stores.stores()[index],
        }
    }
}

/// Batches on their way, by their tokens.
type Way = Vec<(u32, Vec<u8>)>;

pub struct Bench {
    clients: Vec<Client>,
    servers: Vec<Server>,
    away: Vec<bool>,
    /// By client and server.
    ways: Vec<Vec<Way>>,
    now: Ps,
    next: u32,
}

impl Bench {
    pub fn single() -> Self {
        let client = Client::Single(Box::new(testing::redis_store(&settings())));
        Self::of(vec![client], 1)
    }

    /// Another gateway.
    pub fn another(&mut self) -> usize {
        let store = testing::redis_store(&settings());
        self.clients.push(Client::Single(Box::new(store)));
        self.ways.push(vec![Vec::new(); self.servers.len()]);
        self.clients.len() - 1
    }

    pub fn redlock(stores: usize) -> Self {
        Self::redlocks(1, stores)
    }

    pub fn redlocks(clients: usize, stores: usize) -> Self {
        let client = |_| {
            let all = (0..stores)
                .map(|_| testing::redis_store(&settings()))
                .collect();
            Client::Several(Redlock::new(all, TIMEOUT))
        };
        Self::of((0..clients).map(client).collect(), stores)
    }

    fn of(clients: Vec<Client>, stores: usize) -> Self {
        Self {
            ways: vec![vec![Vec::new(); stores]; clients.len()],
            clients,
            servers: (0..stores)
                .map(|_| Server::new(RedisSettings::default()))
                .collect(),
            away: vec![false; stores],
            now: PS_PER_S,
            next: 0,
        }
    }

    /// The first client does, from now on.
    pub fn trust(&mut self, time: Duration) {
        let mut settings = settings();
        settings.memory.trusted_for = picoseconds(time);
        for index in 0..self.servers.len() {
            *self.clients[0].part(index) = testing::redis_store(&settings);
        }
    }

    /// What the first client knows without asking.
    pub fn known(&mut self, claim: &Claim) -> Option<Acquired> {
        let now = self.now;
        self.clients[0].store().known(claim, now)
    }

    /// One that is away neither gets what is sent nor answers.
    pub fn away(&mut self, index: usize, away: bool) {
        self.away[index] = away;
    }

    /// A store that comes back empty.
    pub fn forget(&mut self, index: usize) {
        self.servers[index] = Server::new(RedisSettings::default());
    }

    pub fn records(&self, index: usize) -> Vec<Vec<u8>> {
        let hashes = self.servers[index].keys().into_iter();
        let hashes = hashes.filter(|key| key.kind == "hash");
        hashes.map(|key| key.name).collect()
    }

    pub fn start(&mut self, client: usize, operation: &Operation) {
        self.next += 1;
        let (id, now) = (u64::from(self.next), self.now);
        let store = self.clients[client].store();
        store.start(id, operation, now + TIMEOUT, now).unwrap();
    }

    /// Sends what can be sent, and has more wait until there is room for nothing else.
    pub fn fill(&mut self, client: usize, operation: &Operation) {
        loop {
            let (sent, now) = (self.ways[client][0].len(), self.now);
            self.send(client, 0);
            let store = self.clients[client].store();
            let mut refused = None;
            while refused.is_none() {
                refused = store.start(0, operation, now + TIMEOUT, now).err();
            }
            assert_eq!(refused, Some(Trouble::Overloaded));
            if self.ways[client][0].len() == sent {
                return;
            }
        }
    }

    pub fn collect(&mut self, client: usize) -> Vec<Result<Outcome, Trouble>> {
        let answered = self.clients[client].store().answered();
        answered.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn send(&mut self, client: usize, index: usize) {
        let (now, next) = (self.now, &mut self.next);
        let way = &mut self.ways[client][index];
        self.clients[client].part(index).send(now, |batch| {
            *next += 1;
            way.push((*next, batch.body.clone()));
            Ok(*next)
        });
    }

    /// A batch reaches its store and is answered; false when there is none.
    pub fn deliver(&mut self, client: usize, index: usize) -> bool {
        self.send(client, index);
        if self.ways[client][index].is_empty() {
            return false;
        }
        let (token, body) = self.ways[client][index].remove(0);
        let micros = START + (self.now / PS_PER_US) as u64;
        let server = &mut self.servers[index];
        let mut connection = server.connect();
        let reply = server.feed(&mut connection, &body, micros);
        let now = self.now;
        self.clients[client]
            .part(index)
            .replied(token, Ok(reply.into()), now);
        true
    }

    /// An operation from its start to its end.
    pub fn run(&mut self, client: usize, operation: &Operation) -> Result<Outcome, Trouble> {
        self.start(client, operation);
        let mut answers = Vec::new();
        for _ in 0..5 {
            for index in 0..self.servers.len() {
                if self.away[index] {
                    self.lose(client, index);
                } else {
                    while self.deliver(client, index) {}
                }
            }
            answers.extend(self.collect(client));
        }
        assert_eq!(answers.len(), 1, "answered once");
        answers.remove(0)
    }

    /// A batch never reaches its store.
    pub fn lose(&mut self, client: usize, index: usize) {
        self.send(client, index);
        let now = self.now;
        for (token, _) in std::mem::take(&mut self.ways[client][index]) {
            self.clients[client]
                .part(index)
                .replied(token, Err(Trouble::Timeout), now);
        }
    }

    /// Whatever is under way comes to nothing; what is told of it.
    pub fn expire_all(&mut self) -> Vec<Result<Outcome, Trouble>> {
        let mut answers = Vec::new();
        for client in 0..self.clients.len() {
            for _ in 0..5 {
                (0..self.servers.len()).for_each(|index| self.lose(client, index));
                answers.extend(self.collect(client));
            }
        }
        answers
    }

    /// Operations that are not over, of all clients.
    pub fn open(&self) -> usize {
        let open = |client: &Client| match client {
            Client::Single(_) => 0,
            Client::Several(stores) => stores.open(),
        };
        self.clients.iter().map(open).sum()
    }
}

impl Stage for Bench {
    /// The first client's.
    fn ask(&mut self, operation: &Operation) -> Result<Outcome, Trouble> {
        self.run(0, operation)
    }
    fn advance(&mut self, time: Duration) {
        self.now += picoseconds(time);
    }
}
