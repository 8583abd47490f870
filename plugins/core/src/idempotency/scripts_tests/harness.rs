//! A Redis to run the scripts on, and what they are called with.

use super::super::*;
use crate::idempotency::fingerprint::{Fingerprint, Hasher};
use crate::idempotency::scope::Token;
use crate::idempotency::store::Event;
use crate::redis::resp;
use bytes::Bytes;
use sluice_model_redis::{Connection, Server};
use std::sync::Arc;

pub const SECOND: u64 = 1_000_000;
pub const START: u64 = 1_790_000_000 * SECOND;

pub struct Redis {
    pub server: Server,
    connection: Connection,
    pub now: u64,
    pub keys: Keys,
}

impl Redis {
    pub fn new() -> Self {
        let mut server = Server::new(sluice_model_redis::Settings::default());
        Self {
            connection: server.connect(),
            server,
            now: START,
            keys: Keys {
                prefix: "sluice".into(),
                partitions: 1,
            },
        }
    }

    pub fn run<T>(&mut self, command: &Command, read: impl FnOnce(&Reply<'_>, &Bytes) -> T) -> T {
        let mut bytes = Vec::new();
        assert!(command.encode(&mut bytes, &all(), true));
        let body = Bytes::from(self.server.feed(&mut self.connection, &bytes, self.now));
        let (reply, rest) = resp::decode(&body).unwrap();
        assert!(rest.is_empty());
        read(&reply, &body)
    }

    pub fn ask(&mut self, operation: &Operation) -> Result<Outcome, String> {
        let command = self.keys.command(operation);
        self.run(&command, |reply, body| match reply {
            Reply::Error(text) => Err(String::from_utf8_lossy(text).into_owned()),
            reply => Ok(stored(reply, body).map_or_else(
                || outcome(Asked::from(operation), reply).unwrap(),
                |(found, _)| Outcome::Acquire(found.answer.unwrap()),
            )),
        })
    }

    /// What an acquire says of an answer, of which it returns at most so many bytes, and of the end of its record.
    pub fn stored(&mut self, claim: &Claim, most: usize) -> Option<(Found, Duration)> {
        let command = self.keys.acquire(claim, most);
        self.run(&command, stored)
    }

    pub fn read(&mut self, claim: &Claim) -> Result<Option<Found>, Trouble> {
        let command = self.keys.read(claim);
        self.run(&command, |reply, body| read(reply, claim, body))
    }

    pub fn acquire(&mut self, claim: &Arc<Claim>) -> Acquired {
        match self.ask(&Operation::Acquire(Arc::clone(claim))) {
            Ok(Outcome::Acquire(acquired)) => acquired,
            other => panic!("{other:?}"),
        }
    }

    pub fn fence(&mut self, claim: &Arc<Claim>) -> u64 {
        match self.acquire(claim) {
            Acquired::Yours { fence } => fence,
            other => panic!("{other:?}"),
        }
    }

    pub fn renew(&mut self, claim: &Arc<Claim>) -> Outcome {
        self.ask(&Operation::Renew(Arc::clone(claim))).unwrap()
    }

    pub fn release(&mut self, claim: &Arc<Claim>) -> Outcome {
        self.ask(&Operation::Release(Arc::clone(claim))).unwrap()
    }

    pub fn commit(&mut self, claim: &Arc<Claim>, bytes: &[u8], event: Option<Event>) -> Outcome {
        let commit = commit(claim, bytes, event);
        self.ask(&Operation::Commit(Arc::new(commit))).unwrap()
    }

    pub fn resolve(
        &mut self,
        claim: &Claim,
        fence: u64,
        force: bool,
        word: &Resolution,
    ) -> Resolved {
        let command = self.keys.resolve(&claim.scope, fence, force, word);
        self.run(&command, |reply, _| resolved(reply).unwrap())
    }

    pub fn plain(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        resp::encode(&mut bytes, words);
        self.server.feed(&mut self.connection, &bytes, self.now)
    }

    pub fn ttl(&mut self, claim: &Claim) -> i64 {
        let record = self.keys.record(&claim.scope);
        let reply = self.plain(&[b"PTTL", &record]);
        match resp::decode(&reply).unwrap().0 {
            Reply::Integer(left) => left,
            other => panic!("{other:?}"),
        }
    }
}

pub fn print(body: &[u8]) -> Fingerprint {
    let mut hasher = Hasher::new(b"POST", b"/pay");
    hasher.body(body);
    hasher.finish()
}

pub fn claim_of(token: u8, key: &[u8], body: &[u8]) -> Arc<Claim> {
    Arc::new(Claim {
        scope: Scope::new(b"alice", "pay", key),
        token: Token::new([token; 16]),
        fingerprint: print(body),
        lease: Duration::from_secs(30),
        retention: Duration::from_secs(3600),
        route: "pay".into(),
        key: key.to_vec(),
        max_answer: 0,
        at: 0,
    })
}

pub fn claim(token: u8) -> Arc<Claim> {
    claim_of(token, b"k", b"body")
}

pub fn commit(claim: &Arc<Claim>, bytes: &[u8], event: Option<Event>) -> Commit {
    Commit {
        claim: Arc::clone(claim),
        fence: Some(7),
        kind: Kind::Answer,
        bytes: bytes.to_vec().into(),
        event,
    }
}

pub fn answer(bytes: &[u8]) -> Acquired {
    Acquired::Completed {
        kind: Kind::Answer,
        bytes: bytes.to_vec().into(),
    }
}

pub const COMMITTED: Outcome = Outcome::Commit(Committed::Yes);
pub const SUPERSEDED: Outcome = Outcome::Commit(Committed::Superseded);
