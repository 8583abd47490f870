//! The examples of rate limits, and their alternatives.

use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::redis::{Redis, speaks_tls};
use host_tests::redis_cluster::RedisCluster;
use host_tests::wait;
use serde_json::json;

use super::{RATE_LIMITS, nothing_to_complain_about, patiently};

const WITH_REDIS: [Route; 3] = [Route::Direct, Route::Stream, Route::Pooled];

/// One request goes through, a flood is cut to the limit of 100 a minute, and Envoy has nothing to complain about.
fn serves(builder: Builder) {
    let gateway = builder.edit(patiently).workers(2).start();
    assert_eq!(gateway.get("/", &[]).status, 200);
    assert_eq!(gateway.origin().hits("/"), 1);
    let passed = gateway
        .blast(4, 50, "/flood", &[])
        .iter()
        .filter(|status| **status == 200)
        .count();
    // A token comes back every 600 ms, so a slow machine sees a few more than the burst.
    assert!((99..=120).contains(&passed), "{passed} passed");
    // The filter adds up its counts for a moment before it tells Envoy.
    let allowed = "wasmcustom.sluice_rate_limit.limit.per-client.outcome.allowed";
    wait::until("the filter's counts", || {
        gateway.envoy().stat(allowed) == passed as u64 + 1
    });
    let troubled = gateway
        .envoy()
        .stats()
        .into_iter()
        .find(|(name, count)| name.contains("redis.error") && *count > 0);
    assert_eq!(troubled, None);
    nothing_to_complain_about(&gateway);
}

#[test]
fn every_example_serves() {
    for route in RATE_LIMITS {
        let redis = Redis::start();
        serves(Gateway::builder().route(route).redis(&redis));
    }
}

#[test]
fn every_alternative_serves() {
    let cluster = RedisCluster::start();
    serves(
        Gateway::builder()
            .route(Route::Pooled)
            .redis_cluster(&cluster)
            .edit(|config| config.redis_policy("hash_slots", true.into())),
    );

    let redis = Redis::builder().password("secret").start();
    for route in WITH_REDIS {
        let _ = redis.cmd(&["FLUSHALL"]);
        let builder = Gateway::builder().route(route).redis(&redis);
        let builder = builder.alternative("auth").env("REDIS_PASSWORD", "secret");
        serves(if route == Route::Pooled {
            builder
        } else {
            builder.edit(|config| config.redis_policy("password", json!({"env": "REDIS_PASSWORD"})))
        });
    }

    if !speaks_tls() {
        eprintln!("skipped: this redis-server is built without TLS");
        return;
    }
    let redis = Redis::builder().tls().start();
    for route in WITH_REDIS {
        let _ = redis.cmd(&["FLUSHALL"]);
        serves(Gateway::builder().route(route).redis_tls(&redis));
    }
}
