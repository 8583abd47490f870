//! The example of a consumer: each event has its effect once.

#[path = "../../examples/outbox.rs"]
mod consumer;

use std::fs;
use std::time::Duration;

use crate::common::Store;
use consumer::{Ledger, consume};
use sluice_core::idempotency::settings::Trim;
use sluice_core::idempotency::store::{Event, Kind};

const POLICY: &str = r#"{"redis": {"cluster": "redis"}, "partitions": 3,
    "routes": [{"name": "pay", "scope": [{"header": "x-account"}], "outbox": {"trim": "nothing"}}]}"#;

fn complete(store: &Store, key: &str, token: u8) {
    let claim = store.claim("ann", key, token, Duration::from_secs(60));
    store.acquire(&claim);
    let event = Event {
        status: 201,
        headers: vec![(b"x-charge".to_vec(), b"1".to_vec())],
        trim: Trim::Nothing,
    };
    assert_eq!(
        store.commit(&claim, Kind::Tombstone, b"x".to_vec(), Some(event)),
        "committed"
    );
}

#[test]
fn an_event_has_its_effect_once_however_often_it_comes() {
    let store = Store::start(POLICY);
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("events");
    let keys = store.policy.keys();
    let mut redis = store.redis.connect();
    for key in 0..20 {
        complete(&store, &format!("k{key}"), key);
    }
    let mut ledger = Ledger::open(&file).unwrap();
    assert_eq!(consume(&mut redis, &keys, &mut ledger).unwrap(), 20);
    assert_eq!(consume(&mut redis, &keys, &mut ledger).unwrap(), 0);

    // All that was delivered comes again: as new, to a consumer that starts again without Redis knowing of it.
    for stream in keys.outboxes() {
        let stream = String::from_utf8(stream).unwrap();
        let _ = store
            .redis
            .cmd(&["XGROUP", "DESTROY", &stream, "events-to-file"]);
    }
    complete(&store, "last", 99);
    let mut ledger = Ledger::open(&file).unwrap();
    assert_eq!(consume(&mut redis, &keys, &mut ledger).unwrap(), 1);
    let lines = fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count(), 21);
    assert!(
        lines
            .lines()
            .last()
            .unwrap()
            .ends_with("\tpay\t\"last\"\t201"),
        "{lines}"
    );
}

#[test]
fn what_was_delivered_and_not_done_is_done_after_a_crash() {
    let store = Store::start(POLICY);
    let folder = tempfile::TempDir::new().unwrap();
    let keys = store.policy.keys();
    complete(&store, "k", 1);
    // A consumer takes it and dies.
    for stream in keys.outboxes() {
        let stream = String::from_utf8(stream).unwrap();
        let _ = store.redis.cmd(&[
            "XGROUP",
            "CREATE",
            &stream,
            "events-to-file",
            "0",
            "MKSTREAM",
        ]);
        let read = [
            "XREADGROUP",
            "GROUP",
            "events-to-file",
            "only",
            "STREAMS",
            &stream,
            ">",
        ];
        let _ = store.redis.cmd(&read);
    }
    let mut ledger = Ledger::open(&folder.path().join("events")).unwrap();
    assert_eq!(
        consume(&mut store.redis.connect(), &keys, &mut ledger).unwrap(),
        1
    );
}
