//! A real etcd keeps what every store promises, by the same tests as all others.

#[path = "../../../plugins/core/src/idempotency/store_tests/suite.rs"]
mod suite;

use std::time::Duration;

use host_tests::etcd::Etcd;
use serde_json::{Value, json};
use sluice_core::gcra::{PS_PER_S, Ps};
use sluice_core::idempotency::etcd::{EtcdStore, Reply, Request};
use sluice_core::idempotency::settings::{Settings, Store as StoreSettings};
use sluice_core::idempotency::store::{Operation, Outcome, Store};
use sluice_core::idempotency::{fingerprint, scope, store};
use sluice_core::policy::idempotency::Idempotency;
use sluice_core::redis::trouble::{self, Trouble};
use suite::{Stage, claim};

const START: Ps = 1_790_000_000 * PS_PER_S;

/// Time passes for the store as the test says; the leases whose time is over then are ended.
struct Real {
    etcd: Etcd,
    store: EtcdStore,
    now: Ps,
    id: u64,
    /// By number, when each ends.
    leases: Vec<(String, Ps)>,
}

impl Real {
    fn new(etcd: Etcd, credentials: &Value) -> Self {
        let settings = settings(credentials);
        let StoreSettings::Etcd(how) = &settings.store else {
            panic!("etcd")
        };
        Self {
            store: EtcdStore::new(&settings, how),
            etcd,
            now: PS_PER_S,
            id: 0,
            leases: Vec::new(),
        }
    }

    fn carry(&mut self, request: &Request) -> (u16, Vec<u8>) {
        let token = request.authorization.as_deref();
        let fields: Vec<_> = token
            .map(|token| ("authorization", token))
            .into_iter()
            .collect();
        let answer = self.etcd.send(request.path, &fields, &request.body);
        if request.path == "/v3/lease/grant" && answer.status == 200 {
            let granted: Value = serde_json::from_slice(&answer.body).unwrap();
            let seconds: u64 = granted["TTL"].as_str().unwrap().parse().unwrap();
            let end = self.now + Ps::from(seconds) * PS_PER_S;
            let id = granted["ID"].as_str().unwrap().to_owned();
            self.leases.push((id, end));
        }
        (answer.status, answer.body)
    }
}

fn settings(credentials: &Value) -> Settings {
    let mut policy = json!({
        "etcd": {"cluster": "etcd", "key_prefix": "t"},
        "routes": [{"name": "pay", "scope": ["consumer"]}],
    });
    for (name, value) in credentials.as_object().into_iter().flatten() {
        policy["etcd"][name] = value.clone();
    }
    let policy = Idempotency::load(policy.to_string().as_bytes()).unwrap();
    policy.settings(|_| None).unwrap()
}

impl Stage for Real {
    fn ask(&mut self, operation: &Operation) -> Result<Outcome, Trouble> {
        self.id += 1;
        let (now, id) = (self.now, self.id);
        self.store.start(id, operation, now + PS_PER_S, now)?;
        let mut token = 0;
        loop {
            let mut sent = Vec::new();
            self.store.send(now, START + now, |request| {
                token += 1;
                sent.push((token, request.clone()));
                Ok(token)
            });
            if sent.is_empty() {
                break;
            }
            for (token, request) in sent {
                let (status, body) = self.carry(&request);
                let reply = Reply {
                    status,
                    body: &body,
                };
                self.store.replied(token, Ok(reply), now);
            }
        }
        let mut answered = self.store.answered();
        assert_eq!(answered.len(), 1, "answered once");
        answered.remove(0).1
    }

    fn advance(&mut self, time: Duration) {
        self.now += time.as_nanos() * 1_000;
        let now = self.now;
        let (over, left) = self.leases.drain(..).partition(|(_, end)| *end <= now);
        self.leases = left;
        let over: Vec<(String, Ps)> = over;
        for (id, _) in over {
            let _ = self.etcd.ask("/v3/kv/lease/revoke", &json!({"ID": id}));
        }
    }
}

#[test]
fn a_real_etcd_keeps_every_promise_of_a_store() {
    for promise in suite::ALL {
        promise(&mut Real::new(Etcd::start(), &json!({})));
    }
}

#[test]
fn what_a_commit_finds_gone_or_done_is_the_same_on_a_real_etcd() {
    let mut real = Real::new(Etcd::start(), &json!({}));
    let mine = claim("k", 1);
    let made = suite::commit(&mine, b"made\n\0");
    let committed = |how| Ok(Outcome::Commit(how));
    // There was never a record.
    assert_eq!(real.ask(&made), committed(store::Committed::Restored));
    assert_eq!(real.ask(&made), committed(store::Committed::Yes));
    let release = Operation::Release(claim("none", 1));
    let absent = Ok(Outcome::Release(store::Released::Absent));
    assert_eq!(real.ask(&release), absent);
    let records = real.etcd.keys("t:idem:");
    assert_eq!(records.len(), 1);
    assert_ne!(records[0].lease, 0, "it ends by itself");
    let line = records[0]
        .value
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap();
    let line: Value = serde_json::from_slice(line).unwrap();
    assert_eq!(line["state"], "answer");
    assert!(records[0].value.ends_with(b"\nmade\n\0"));
}

#[test]
fn a_lease_that_a_real_etcd_has_lost_is_replaced() {
    let mut real = Real::new(Etcd::start(), &json!({}));
    let yours = |outcome| matches!(outcome, Ok(Outcome::Acquire(store::Acquired::Yours { .. })));
    assert!(yours(real.ask(&Operation::Acquire(claim("a", 1)))));
    let (id, _) = real.leases[0].clone();
    let _ = real.etcd.ask("/v3/kv/lease/revoke", &json!({"ID": id}));
    assert!(yours(real.ask(&Operation::Acquire(claim("b", 1)))));
    assert_eq!(real.leases.len(), 2);
    assert_eq!(
        real.etcd.keys("t:idem:").len(),
        1,
        "the other ended with its lease"
    );
}

/// With authentication on, and a user who may touch records only.
#[test]
fn who_has_to_log_in_does_so_at_a_real_etcd() {
    let etcd = Etcd::start();
    etcd.require_login(("sluice", "secret"), "t:idem:");
    let yours = |outcome| matches!(outcome, Ok(Outcome::Acquire(store::Acquired::Yours { .. })));
    let mut real = Real::new(etcd, &json!({"username": "sluice", "password": "secret"}));
    assert!(yours(real.ask(&Operation::Acquire(claim("a", 1)))));
    // Its tokens do not outlive it.
    real.etcd.restart();
    assert!(yours(real.ask(&Operation::Acquire(claim("b", 1)))));
    for credentials in [
        json!({"username": "sluice", "password": "wrong"}),
        json!({}),
    ] {
        let mut other = Real::new(real.etcd, &credentials);
        let refused = other.ask(&Operation::Acquire(claim("c", 1)));
        assert_eq!(refused, Err(Trouble::Auth), "{credentials}");
        real = other;
    }
}
