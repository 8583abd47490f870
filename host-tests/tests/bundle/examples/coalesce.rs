//! The examples of coalescing, with a guard, for a fleet and without either, and their alternatives.

use host_tests::bloom;
use host_tests::coalesce;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::idempotency::Service;
use host_tests::redis::{Redis, speaks_tls};
use serde_json::json;

use super::{nothing_to_complain_about, patiently};

/// What one request brought answers the next ones.
fn shares_answers(builder: Builder) {
    let service = Service::start(|_, _, stream| coalesce::answer(stream, coalesce::FRESH, b"ok"));
    let origin = service.address();
    let gateway = builder
        .edit(move |config| config.endpoints("origin", &[origin]))
        .workers(2)
        .start();
    for _ in 0..10 {
        assert_eq!(gateway.get("/a", &[]).text(), "ok");
    }
    assert_eq!(service.count(), 1);
    coalesce::until_event(&gateway, "hit", 9);
    coalesce::assert_sound(&gateway);
    nothing_to_complain_about(&gateway);
}

/// What exists is shared as well, and what does not is refused.
fn guards(builder: Builder, redis: &Redis) {
    bloom::build(redis, "items", 1..=9);
    let service = Service::start(|_, _, stream| coalesce::answer(stream, coalesce::FRESH, b"ok"));
    let origin = service.address();
    let gateway = builder
        .route(Route::CoalesceBloom)
        .edit(patiently)
        .edit(move |config| config.endpoints("origin", &[origin]))
        .workers(2)
        .start();
    bloom::until_loaded(&gateway, 2, 1);
    for _ in 0..10 {
        assert_eq!(gateway.get("/items/7/reviews", &[]).text(), "ok");
        assert_eq!(gateway.get("/items/77/reviews", &[]).status, 404);
    }
    assert_eq!(service.count(), 1);
    coalesce::assert_sound(&gateway);
    nothing_to_complain_about(&gateway);
}

#[test]
fn the_coalescing_example_serves_with_its_alternative_too() {
    shares_answers(Gateway::builder().route(Route::Coalesce));
    let policy = json!({
        "purge": {"path": "/.purge", "token": {"env": "PURGE_TOKEN"}},
        "routes": [{"name": "all"}],
    });
    shares_answers(
        Gateway::builder()
            .route(Route::Coalesce)
            .alternative("purge")
            .env("PURGE_TOKEN", "secret")
            .policy(policy),
    );
}

#[test]
fn the_example_with_a_guard_serves_with_its_alternatives_too() {
    let redis = Redis::start();
    guards(Gateway::builder().redis(&redis), &redis);
    let redis = Redis::builder().password("secret").start();
    let builder = Gateway::builder().redis(&redis).alternative("auth");
    let builder = builder.env("REDIS_PASSWORD", "secret");
    let builder =
        builder.edit(|config| config.redis_policy("password", json!({"env": "REDIS_PASSWORD"})));
    guards(builder, &redis);
    if !speaks_tls() {
        eprintln!("skipped: this redis-server is built without TLS");
        return;
    }
    let redis = Redis::builder().tls().start();
    guards(Gateway::builder().redis_tls(&redis), &redis);
}

/// What one gateway has brought answers at another.
fn shares_with_others(builders: [Builder; 2]) {
    let service = Service::start(|_, _, stream| coalesce::answer(stream, coalesce::FRESH, b"ok"));
    let origin = service.address();
    for builder in builders {
        let gateway = builder
            .route(Route::CoalesceFleet)
            .edit(patiently)
            .edit(move |config| config.endpoints("origin", &[origin]))
            .workers(2)
            .start();
        for _ in 0..5 {
            assert_eq!(gateway.get("/a", &[]).text(), "ok");
        }
        coalesce::assert_sound(&gateway);
        nothing_to_complain_about(&gateway);
    }
    assert_eq!(service.count(), 1);
}

#[test]
fn the_example_of_a_fleet_serves_with_its_alternatives_too() {
    let redis = Redis::start();
    shares_with_others([(); 2].map(|()| Gateway::builder().redis(&redis)));
    let redis = Redis::builder().password("secret").start();
    shares_with_others([(); 2].map(|()| {
        let builder = Gateway::builder().redis(&redis).alternative("auth");
        let builder = builder.env("REDIS_PASSWORD", "secret");
        builder.edit(|config| config.redis_policy("password", json!({"env": "REDIS_PASSWORD"})))
    }));
    if !speaks_tls() {
        eprintln!("skipped: this redis-server is built without TLS");
        return;
    }
    let redis = Redis::builder().tls().start();
    shares_with_others([(); 2].map(|()| Gateway::builder().redis_tls(&redis)));
}
