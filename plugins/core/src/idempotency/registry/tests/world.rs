//! What the tests run in.

pub use super::client::{Client, Stream, delivered, flagged, is_replay};
use super::policy::redis_store;
pub use super::policy::{LEASE, MS, TIMEOUT, route, settings};
use crate::gcra::{PS_PER_S, PS_PER_US, Ps};
use crate::headers::Headers;
use crate::idempotency::origin::Provenance;
use crate::idempotency::redis_store::RedisStore;
use crate::idempotency::registry::{Opening, Registry, ResponseHead, Settled, Step};
use crate::idempotency::settings::Settings;
use crate::redis::resp;
use crate::redis::trouble::Trouble;
use sluice_model_redis::{Server, Settings as RedisSettings};
use std::collections::BTreeMap;

const START: u64 = 1_790_000_000_000_000;
pub const VIA_UPSTREAM: Provenance<'static> = Provenance {
    flags: 0,
    details: b"via_upstream",
    attempts: Some(1),
};
pub const REFUSED: Provenance<'static> = Provenance {
    flags: 0x20,
    details: b"refused",
    attempts: Some(1),
};
pub const RESET: Provenance<'static> = Provenance {
    flags: 0x40,
    details: b"reset",
    attempts: Some(1),
};
pub const TIMED_OUT: Provenance<'static> = Provenance {
    flags: 0x04,
    details: b"response_timeout",
    attempts: Some(1),
};

const SCRIPTS: [&str; 4] = [
    include_str!("../../lua/acquire.lua"),
    include_str!("../../lua/renew.lua"),
    include_str!("../../lua/commit.lua"),
    include_str!("../../lua/release.lua"),
];

/// What becomes of a callout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// It never reaches Redis.
    RequestLost,
    /// Redis has done it, and nobody hears of it.
    ReplyLost,
    ReplyCut,
    /// The gateway gives it up, and Redis does it later: see [`World::catch_up`].
    Late,
    Garbage,
}

pub struct Gateway {
    pub registry: Registry<RedisStore>,
    callouts: Vec<(u32, Vec<u8>)>,
    pub streams: BTreeMap<u32, Stream>,
}

pub struct World {
    pub redis: Server,
    pub settings: Settings,
    pub now: Ps,
    /// Of the store's clock, in microseconds.
    pub jump: i64,
    pub gateways: Vec<Gateway>,
    /// Executions at the origin: the key and its fence, in order.
    pub ledger: Vec<(String, Option<u64>)>,
    late: Vec<Vec<u8>>,
    next: u32,
    /// The bytes of each record that is complete.
    completed: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl World {
    pub fn new(settings: Settings) -> Self {
        let mut world = Self {
            redis: Server::new(RedisSettings::default()),
            settings,
            now: PS_PER_S,
            jump: 0,
            gateways: Vec::new(),
            ledger: Vec::new(),
            late: Vec::new(),
            next: 0,
            completed: BTreeMap::new(),
        };
        // So that no command is sent twice; that it may be is a matter of its own.
        let mut load = Vec::new();
        for text in SCRIPTS {
            resp::encode(&mut load, &[b"SCRIPT", b"LOAD", text.as_bytes()]);
        }
        let replies = world.apply(&load);
        assert!(!replies.starts_with(b"-"));
        world.gateways = (0..2).map(|_| world.gateway()).collect();
        world
    }

    fn gateway(&self) -> Gateway {
        Gateway {
            registry: Registry::new(self.settings.clone(), redis_store(&self.settings)),
            callouts: Vec::new(),
            streams: BTreeMap::new(),
        }
    }

    fn micros(&self) -> u64 {
        (START + (self.now / PS_PER_US) as u64).saturating_add_signed(self.jump)
    }

    pub fn request(&mut self, gateway: usize, key: &str, body: &[u8]) -> u32 {
        self.next += 1;
        let stream = self.next;
        let mut token = [0; 16];
        token[..4].copy_from_slice(&stream.to_be_bytes());
        let opening = Opening {
            route: 0,
            subject: b"alice",
            key: key.as_bytes(),
            token,
            method: b"POST",
            target: b"/pay",
            end: false,
        };
        let new = Stream {
            key: key.to_owned(),
            client: Client::Waiting,
            said: None,
        };
        self.gateways[gateway].streams.insert(stream, new);
        let (now, registry) = (self.now, &mut self.gateways[gateway].registry);
        let mut step = registry.request(stream, &opening, now);
        if step == Step::Hold {
            step = registry.request_body(stream, body, true, now);
        }
        match step {
            Step::Hold => {}
            Step::Pass => self.settle(gateway, stream, Settled::Proceed(vec![])),
            Step::Now(settled) => self.settle(gateway, stream, settled),
        }
        self.collect(gateway);
        stream
    }

    fn settle(&mut self, gateway: usize, stream: u32, settled: Settled) {
        let Some(stream) = self.gateways[gateway].streams.get_mut(&stream) else {
            return;
        };
        assert_ne!(
            stream.client,
            Client::Gone,
            "{settled:?} for a stream that is gone"
        );
        stream.client = match settled {
            Settled::Proceed(fields) => {
                assert_eq!(stream.client, Client::Waiting);
                let fence = fields.iter().find(|(name, _)| name == b"idempotency-fence");
                let fence = fence.map(|(_, value)| String::from_utf8_lossy(value).parse().unwrap());
                Client::Sent { fence }
            }
            Settled::Answer(answer) => {
                assert!(
                    matches!(stream.client, Client::Waiting | Client::Held),
                    "{:?}",
                    stream.client
                );
                Client::Answered(answer)
            }
            Settled::Deliver(fields) => {
                let (status, body) = stream.said.clone().unwrap();
                Client::Delivered {
                    status,
                    body,
                    fields,
                }
            }
            Settled::Abort => Client::Aborted,
        };
    }

    /// Takes what the registry has for its streams.
    pub fn collect(&mut self, gateway: usize) {
        self.gateways[gateway].registry.answered(self.now);
        for (stream, settled) in self.gateways[gateway].registry.settled() {
            self.settle(gateway, stream, settled);
        }
    }

    /// Sends what is ready; how many callouts are on their way.
    pub fn send(&mut self, gateway: usize) -> usize {
        let Gateway {
            registry, callouts, ..
        } = &mut self.gateways[gateway];
        let next = &mut self.next;
        registry.store().send(self.now, |batch| {
            *next += 1;
            callouts.push((*next, batch.body.clone()));
            Ok(*next)
        });
        self.collect(gateway);
        self.gateways[gateway].callouts.len()
    }

    fn apply(&mut self, body: &[u8]) -> Vec<u8> {
        let mut connection = self.redis.connect();
        let reply = self.redis.feed(&mut connection, body, self.micros());
        self.check_records();
        reply
    }

    /// No record that is complete ever changes.
    fn check_records(&mut self) {
        let mut connection = self.redis.connect();
        for key in self
            .redis
            .keys()
            .into_iter()
            .filter(|key| key.kind == "hash")
        {
            let mut ask = Vec::new();
            resp::encode(&mut ask, &[b"HGET", &key.name, b"answer"]);
            let reply = self.redis.feed(&mut connection, &ask, self.micros());
            if !reply.starts_with(b"$-1") && !reply.starts_with(b"-") {
                let first = self
                    .completed
                    .entry(key.name)
                    .or_insert_with(|| reply.clone());
                assert_eq!(*first, reply, "a complete record was changed");
            }
        }
    }

    /// The callout at `index` comes to its end.
    pub fn deliver(&mut self, gateway: usize, index: usize, fate: Fate) {
        let (token, body) = self.gateways[gateway].callouts.remove(index);
        let reply = match fate {
            Fate::Done => Ok(self.apply(&body)),
            Fate::RequestLost => Err(Trouble::Connect),
            Fate::ReplyLost => {
                self.apply(&body);
                Err(Trouble::Reset)
            }
            Fate::ReplyCut => {
                let mut reply = self.apply(&body);
                reply.truncate(reply.len() / 2);
                Ok(reply)
            }
            Fate::Late => {
                self.late.push(body);
                Err(Trouble::Timeout)
            }
            Fate::Garbage => Ok(b"HTTP/1.1 502 Bad Gateway\r\n\r\n".to_vec()),
        };
        let store = self.gateways[gateway].registry.store();
        store.replied(token, reply.map(Into::into), self.now);
        self.collect(gateway);
    }

    /// Redis gets what was late.
    pub fn catch_up(&mut self, index: usize) {
        if index < self.late.len() {
            let body = self.late.remove(index);
            self.apply(&body);
        }
    }

    /// Everything the gateway sends has this fate until it sends nothing more.
    pub fn pump(&mut self, gateway: usize, fate: Fate) {
        while self.send(gateway) > 0 {
            self.deliver(gateway, 0, fate);
        }
    }

    pub fn callouts(&self, gateway: usize) -> usize {
        self.gateways[gateway].callouts.len()
    }

    pub fn advance(&mut self, time: Ps) {
        self.now += time;
        for gateway in 0..self.gateways.len() {
            self.gateways[gateway].registry.tick(self.now);
            self.collect(gateway);
        }
    }

    /// The origin carries out the request.
    pub fn execute(&mut self, gateway: usize, stream: u32) {
        let stream = &self.gateways[gateway].streams[&stream];
        let Client::Sent { fence } = stream.client else {
            panic!("{:?}", stream.client)
        };
        self.ledger.push((stream.key.clone(), fence));
    }

    /// A response of the origin, or of the gateway as `provenance` says.
    pub fn respond(
        &mut self,
        gateway: usize,
        id: u32,
        status: u16,
        body: &[u8],
        provenance: Provenance<'_>,
    ) {
        self.respond_with(
            gateway,
            id,
            status,
            &[("content-type", "text/plain")],
            body,
            provenance,
        );
    }

    pub fn respond_with(
        &mut self,
        gateway: usize,
        id: u32,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
        provenance: Provenance<'_>,
    ) {
        let headers = Headers::from_pairs(headers);
        let head = ResponseHead {
            status,
            headers: &headers,
            provenance,
            end: false,
        };
        let (
            now,
            Gateway {
                registry, streams, ..
            },
        ) = (self.now, &mut self.gateways[gateway]);
        let stream = streams.get_mut(&id).unwrap();
        stream.said = Some((status, body.to_vec()));
        let mut step = registry.response_head(id, &head, now);
        let (one, two) = body.split_at(body.len() / 2);
        for (piece, end) in [(one, false), (two, true)] {
            if !matches!(step, Step::Now(_)) {
                step = registry.response_body(id, piece, end, now);
            }
        }
        stream.client = Client::Held;
        match step {
            Step::Hold => {}
            Step::Pass => self.settle(gateway, id, Settled::Deliver(vec![])),
            Step::Now(settled) => self.settle(gateway, id, settled),
        }
        self.collect(gateway);
    }

    pub fn leave(&mut self, gateway: usize, id: u32) {
        let Gateway {
            registry, streams, ..
        } = &mut self.gateways[gateway];
        if let Some(stream) = streams.get_mut(&id) {
            stream.client = Client::Gone;
        }
        registry.stream_ended(id, self.now);
        self.collect(gateway);
    }

    /// The gateway dies and starts again. What it sent may still arrive.
    pub fn crash(&mut self, gateway: usize) {
        let fresh = self.gateway();
        let old = std::mem::replace(&mut self.gateways[gateway], fresh);
        self.late
            .extend(old.callouts.into_iter().map(|(_, body)| body));
    }

    pub fn client(&self, gateway: usize, stream: u32) -> &Client {
        &self.gateways[gateway].streams[&stream].client
    }

    /// The type of the problem a client got, and its status.
    pub fn problem(&self, gateway: usize, stream: u32) -> (u16, String) {
        let Client::Answered(answer) = self.client(gateway, stream) else {
            panic!("{:?}", self.client(gateway, stream));
        };
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let kind = json["type"]
            .as_str()
            .unwrap()
            .trim_start_matches("urn:sluice:problem:idempotency-");
        (answer.status, kind.to_owned())
    }

    /// A whole request, with nothing going wrong at the store.
    pub fn first(&mut self, gateway: usize, key: &str) -> u32 {
        let stream = self.request(gateway, key, b"body");
        self.pump(gateway, Fate::Done);
        stream
    }

    /// A command of the test's own, which may damage records: see [`World::forget_records`].
    pub fn redis_do(&mut self, command: &[&[u8]]) -> Vec<u8> {
        let mut ask = Vec::new();
        resp::encode(&mut ask, command);
        let (mut connection, micros) = (self.redis.connect(), self.micros());
        self.redis.feed(&mut connection, &ask, micros)
    }

    pub fn records(&self) -> Vec<Vec<u8>> {
        let hashes = self.redis.keys().into_iter();
        let hashes = hashes.filter(|key| key.kind == "hash");
        hashes.map(|key| key.name).collect()
    }

    /// A field of the only record.
    pub fn answer(&mut self, field: &str) -> Vec<u8> {
        let record = self.records().remove(0);
        let reply = self.redis_do(&[b"HGET", &record, field.as_bytes()]);
        match resp::decode(&reply) {
            Ok((resp::Reply::Bulk(bytes), [])) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// For tests that damage a record themselves.
    pub fn forget_records(&mut self) {
        self.completed.clear();
    }

    /// A request that the origin carries out and answers.
    pub fn complete(&mut self, gateway: usize, key: &str, answer: &[u8]) -> u32 {
        let stream = self.first(gateway, key);
        self.execute(gateway, stream);
        self.respond(gateway, stream, 201, answer, VIA_UPSTREAM);
        self.pump(gateway, Fate::Done);
        stream
    }
}
