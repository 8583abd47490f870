//! Tables change while requests wait for their turn at a shard: they go by those that are in force when it comes.

use std::sync::Arc;
use std::thread;

use host_tests::gateway::Gateway;
use host_tests::idempotency::{Gate, Service};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use host_tests::shard::{self, count, publish, refreshed};
use host_tests::wait;
use serde_json::{Value, json};

/// All slots are at `s0` and on their way to `s1`, as far as `migration` says; one request at each at once.
fn table(migration: Value) -> Value {
    let to = json!({"shards": ["s0", "s1"], "fill": {"ranges": [{"from": 0, "to": 16383, "shard": "s1"}]}});
    let in_flight = json!({"max": 1, "queue": {"max": 9, "wait": "1m"}});
    let migration = host_tests::limits::with(json!({"to": to}), migration);
    json!({"shards": ["s0"], "in_flight": in_flight, "migration": migration})
}

/// `s0` is full.
struct Full {
    redis: Redis,
    old: Service,
    gate: Arc<Gate>,
    new: Service,
    gateway: Gateway,
}

impl Full {
    fn start() -> Self {
        let redis = Redis::start();
        let (old, gate) = Service::gated();
        let new = Service::counting();
        let mut policy = refreshed(json!({}));
        policy["tables"]["users"] = table(json!({}));
        let shards = [&old, &new].map(|shard| (shard.address(), shard.address()));
        let gateway = shard::gateway(&shards, &policy)
            .alternative("refresh")
            .redis(&redis)
            .env("SHARD_TABLES_SECRET", "none is needed")
            .start();
        wait::until("it to know", || gateway.get("/", &[]).status == 400);
        Self {
            redis,
            old,
            gate,
            new,
            gateway,
        }
    }

    fn active(&self) -> u64 {
        self.gateway
            .envoy()
            .stat("http.gateway.downstream_rq_active")
    }

    /// A write waits behind another, and then this table comes. Its answer's status and text.
    fn write(&self, table: &Value, seen: impl FnOnce()) -> (u16, String) {
        thread::scope(|scope| {
            let write = |path: &'static str| {
                let answer = self
                    .gateway
                    .client()
                    .send("POST", path, &[("x-user", "7")], b"");
                let answer = answer.expect("the gateway answers");
                (answer.status, answer.text())
            };
            let first = scope.spawn(move || write("/first"));
            wait::until("the shard to be full", || self.old.count() == 1);
            let second = scope.spawn(move || write("/second"));
            wait::until("both to be there", || self.active() == 2);
            publish(&self.redis, 2, &json!({"tables": {"users": table}}), None);
            seen();
            self.gate.open();
            assert_eq!(first.join().unwrap().0, 201);
            second.join().unwrap()
        })
    }

    /// Nothing is left behind.
    fn assert_empty(&self) {
        for shard in ["s0", "s1"] {
            let gauge = format!("table.users.shard.{shard}.in_flight");
            wait::until(&gauge, || count(&self.gateway, &gauge) == 0);
        }
        assert_sound(&self.gateway);
    }
}

#[test]
fn a_write_whose_slot_has_moved_while_it_waited_goes_to_the_new_shard() {
    let full = Full::start();
    // It does not wait for the old one any more.
    let (status, _) = full.write(&table(json!({"moved": "100%"})), || {
        wait::until("it to be there", || full.new.count() == 1);
    });
    assert_eq!((status, full.old.count()), (201, 1));
    let got = full.new.executions();
    assert_eq!(got[0].header("x-shard").as_deref(), Some("s1"));
    full.assert_empty();
}

#[test]
fn a_write_whose_slot_was_frozen_while_it_waited_is_told_so_at_once() {
    let full = Full::start();
    let (status, text) = full.write(&table(json!({"frozen": "100%"})), || {
        wait::until("the answer", || full.active() == 1);
    });
    assert_eq!(status, 503);
    assert!(text.contains("shard-route-frozen"), "{text}");
    assert_eq!((full.old.count(), full.new.count()), (1, 0));
    full.assert_empty();
}

#[test]
fn a_write_that_waited_is_told_to_write_twice() {
    let full = Full::start();
    let (status, _) = full.write(&table(json!({"dual_write": "100%"})), || {
        wait::until("the tables", || count(&full.gateway, "tables_version") == 2);
    });
    assert_eq!((status, full.new.count()), (201, 0));
    let got = full.old.executions();
    let told = |place: usize| got[place].header("x-shard-dual-write");
    assert_eq!((told(0), told(1).as_deref()), (None, Some("s1")));
    full.assert_empty();
}

#[test]
fn who_waited_for_a_shard_that_has_no_cap_any_more_goes_on() {
    let full = Full::start();
    let (status, _) = full.write(&json!({"shards": ["s0"]}), || {
        wait::until("both to be there", || full.old.count() == 2);
    });
    assert_eq!(status, 201);
    full.assert_empty();
}

/// Its headers are set when its body is long there.
#[test]
fn who_has_its_key_in_the_body_and_waits_goes_on_whole() {
    let (service, gate) = Service::gated();
    let policy = shard::policy(
        json!({"shards": ["s0"], "in_flight": {"max": 1, "queue": {"max": 9, "wait": "1m"}}}),
        json!({"body": {"pointer": "/id"}}),
    );
    let address = (service.address(), service.address());
    let gateway = shard::gateway(&[address], &policy)
        .alternative("body")
        .start();
    let active = || gateway.envoy().stat("http.gateway.downstream_rq_active");
    let body = br#"{"id": "7"}"#;
    thread::scope(|scope| {
        let first = scope.spawn(|| gateway.get("/first", &[("x-user", "7")]));
        wait::until("the shard to be full", || service.count() == 1);
        let send = || gateway.client().send::<&str>("POST", "/second", &[], body);
        let second = scope.spawn(send);
        wait::until("both to be there", || active() == 2);
        gate.open();
        assert_eq!(first.join().unwrap().status, 201);
        assert_eq!(second.join().unwrap().unwrap().status, 201);
    });
    let got = service.executions();
    assert_eq!(got[1].header("x-shard").as_deref(), Some("s0"));
    assert_eq!(got[1].body, body);
    assert_sound(&gateway);
}
