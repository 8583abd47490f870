//! A Redis with records in it, as a gateway would have made them.

use std::sync::Arc;
use std::time::Duration;

use host_tests::redis::Redis;
use redis::{ConnectionLike, Value};
use sluice_core::idempotency::fingerprint::Hasher;
use sluice_core::idempotency::scope::{Scope, Token};
use sluice_core::idempotency::scripts::Keys;
use sluice_core::idempotency::store::{Claim, Commit, Event, Kind, Operation};
use sluice_core::policy::idempotency::Idempotency;

pub struct Store {
    pub redis: Redis,
    pub policy: Idempotency,
}

impl Store {
    pub fn start(policy: &str) -> Self {
        Self::on(Redis::start(), policy)
    }

    pub fn on(redis: Redis, policy: &str) -> Self {
        let policy = Idempotency::load(policy.as_bytes()).unwrap();
        Self { redis, policy }
    }

    pub fn scope(&self, account: &str, key: &str) -> Scope {
        self.policy
            .scope("pay", &[account.to_owned()], key)
            .unwrap()
    }

    pub fn claim(&self, account: &str, key: &str, token: u8, lease: Duration) -> Arc<Claim> {
        Arc::new(Claim {
            scope: self.scope(account, key),
            token: Token::new([token; 16]),
            fingerprint: Hasher::new(b"POST", b"/pay").finish(),
            lease,
            retention: Duration::from_secs(3_600),
            route: "pay".into(),
            key: key.as_bytes().to_vec(),
            max_answer: 0,
            at: 0,
        })
    }

    /// A gateway's operation; the first word of the reply, and what else there is.
    pub fn run(&self, operation: &Operation) -> (String, Vec<Value>) {
        let command = Keys::whole(&self.policy.keys().command(operation));
        let reply = self.redis.connect().req_packed_command(&command).unwrap();
        let Value::Array(mut parts) = reply else {
            panic!("{reply:?}")
        };
        let Value::BulkString(word) = parts.remove(0) else {
            panic!("{parts:?}")
        };
        (String::from_utf8(word).unwrap(), parts)
    }

    pub fn acquire(&self, claim: &Arc<Claim>) -> (String, Vec<Value>) {
        self.run(&Operation::Acquire(claim.clone()))
    }

    pub fn commit(
        &self,
        claim: &Arc<Claim>,
        kind: Kind,
        bytes: Vec<u8>,
        event: Option<Event>,
    ) -> String {
        let commit = Commit {
            claim: claim.clone(),
            fence: None,
            kind,
            bytes: bytes.into(),
            event,
        };
        self.run(&Operation::Commit(Arc::new(commit))).0
    }

    /// Acquired by a gateway that died; its lease is over.
    pub fn unknown(&self, account: &str, key: &str) -> Arc<Claim> {
        let claim = self.claim(account, key, 1, Duration::from_millis(1));
        assert_eq!(self.acquire(&claim).0, "acquired");
        host_tests::wait::until("the lease to end", || {
            self.acquire(&self.claim(account, key, 2, Duration::from_secs(60)))
                .0
                == "unknown"
        });
        claim
    }
}
