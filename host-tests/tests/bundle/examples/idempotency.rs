//! The examples of idempotency keys, and their alternatives.

use host_tests::etcd::Etcd;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::idempotency;
use host_tests::limits::assert_sound;
use host_tests::redis::{Redis, speaks_tls};
use host_tests::wait;
use serde_json::json;

use super::{nothing_to_complain_about, patiently};

/// A request with a key goes through once and its retry gets the first answer.
fn keeps_answers(builder: Builder) {
    let gateway = builder.edit(patiently).workers(2).start();
    let key = [("idempotency-key", "\"k\""), ("x-consumer-id", "ann")];
    let pay = || {
        gateway
            .client()
            .send("POST", "/payments", &key, b"a=1")
            .unwrap()
    };
    let (first, replay) = (pay(), pay());
    assert_eq!((first.status, replay.status), (200, 200));
    assert_eq!(replay.body, first.body);
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(
        replay.header("idempotency-replayed").as_deref(),
        Some("true")
    );
    assert_eq!(gateway.origin().hits("/payments"), 1);
    wait::until("the filter's counts", || {
        idempotency::count(&gateway, "route.payments.event.committed") == 1
    });
    assert_sound(&gateway);
    nothing_to_complain_about(&gateway);
}

#[test]
fn every_example_serves() {
    let redis = Redis::start();
    keeps_answers(Gateway::builder().route(Route::Idempotency).redis(&redis));
    let redis = Redis::start();
    let stream = Gateway::builder().route(Route::IdempotencyStream);
    keeps_answers(stream.redis(&redis));
    let three = [Redis::start(), Redis::start(), Redis::start()];
    let addresses = three.each_ref().map(Redis::address);
    keeps_answers(
        Gateway::builder()
            .route(Route::Redlock)
            .redis_at(&addresses),
    );
    keeps_answers(Gateway::builder().etcd(&Etcd::start()));
}

#[test]
fn every_alternative_with_redis_serves() {
    for route in [Route::Idempotency, Route::IdempotencyStream] {
        let redis = Redis::builder().password("secret").start();
        let builder = Gateway::builder().route(route).redis(&redis);
        keeps_answers(
            builder
                .alternative("auth")
                .env("REDIS_PASSWORD", "secret")
                .edit(|config| config.redis_policy("password", json!({"env": "REDIS_PASSWORD"}))),
        );
        if !speaks_tls() {
            eprintln!("skipped: this redis-server is built without TLS");
            return;
        }
        let redis = Redis::builder().tls().start();
        keeps_answers(Gateway::builder().route(route).redis_tls(&redis));
    }
}

#[test]
fn every_alternative_with_etcd_serves() {
    let etcd = Etcd::start();
    etcd.require_login(("sluice", "secret"), "sluice:idem:");
    let builder = Gateway::builder().etcd(&etcd).alternative("auth");
    keeps_answers(builder.env("ETCD_PASSWORD", "secret").edit(|config| {
        config.store_policy("etcd", "username", "sluice".into());
        config.store_policy("etcd", "password", json!({"env": "ETCD_PASSWORD"}));
    }));
    keeps_answers(Gateway::builder().etcd(&Etcd::start_tls()));
}
