//! What the tests of guards share: filters in Redis, a gateway with a guard of items, and what it has counted.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sluice_core::bloom::{Filter, Shape};
use sluice_core::guard::scripts::Keys;
use sluice_core::guard::written;

use crate::coalesce;
use crate::gateway::{Builder, Gateway, Route};
use crate::limits;
use crate::redis::Redis;
use crate::wait;

/// A filter of these ids, made for so many at a rate of one in a thousand.
///
/// # Panics
/// When an id is none, or there are too many.
#[must_use]
pub fn filter<I: ToString>(ids: impl IntoIterator<Item = I>, capacity: u64) -> Filter {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let shape = Shape::of(capacity, 0.001).expect("a filter");
    let salt = u64::try_from(now.as_nanos() % (1 << 60)).expect("a number");
    let built_at = u64::try_from(now.as_millis()).expect("a time");
    let mut filter = Filter::new(shape, salt, built_at);
    for id in ids {
        filter.insert(&written(id.to_string().as_bytes()).expect("an id"));
    }
    filter
}

/// Puts a filter of these ids into Redis.
pub fn build<I: ToString>(redis: &Redis, key: &str, ids: impl IntoIterator<Item = I>) {
    // Room for far more: not one in the tests is taken for one of them.
    put(redis, key, &filter(ids, 10_000).to_blob());
}

/// Puts any bytes there.
///
/// # Panics
/// When Redis is not there.
pub fn put(redis: &Redis, key: &str, bytes: &[u8]) {
    let key = Keys::new("sluice", key).filter;
    let mut set = redis::cmd("SET");
    set.arg(key).arg(bytes);
    set.exec(&mut redis.connect()).expect("Redis answers");
}

/// A policy with a guard of `/items/{id}` that learns; `guard` is set in it. Redis is looked at often.
#[must_use]
pub fn policy(guard: Value) -> Value {
    let items = json!({
        "name": "items",
        "match": {"path": {"template": "/items/{id}"}},
        "id": [{"path": "id"}],
        "refresh": "200ms",
        "learn": {},
    });
    json!({
        "redis": {"cluster": "sluice-redis", "timeout": "5s"},
        "guards": [limits::with(items, guard)],
        "routes": [{"name": "all"}],
    })
}

/// A gateway with the guard in front of `service`, to be started.
#[must_use]
pub fn gateway(service: SocketAddr, redis: &Redis, policy: &Value) -> Builder {
    Gateway::builder()
        .route(Route::CoalesceBloom)
        .redis(redis)
        .policy(policy)
        .edit(move |config| config.endpoints("origin", &[service]))
}

/// What the guard has counted so far; it tells by the tick.
#[must_use]
pub fn count(gateway: &Gateway, event: &str) -> u64 {
    let name = format!("wasmcustom.sluice_coalesce.guard.items.event.{event}");
    gateway.envoy().stat(&name)
}

/// In how many workers everything passes.
#[must_use]
pub fn open(gateway: &Gateway) -> u64 {
    let name = "wasmcustom.sluice_coalesce.guard.items.open";
    gateway.envoy().stat(name)
}

/// Waits until every worker has loaded so many filters, and lets nothing pass unseen.
///
/// # Panics
/// When it does not.
pub fn until_loaded(gateway: &Gateway, workers: usize, filters: u64) {
    let mut last = (0, 0);
    let reached = wait::poll(wait::PATIENCE, || {
        last = (count(gateway, "loaded"), open(gateway));
        (last.0 >= filters * workers as u64 && last.1 == 0).then_some(())
    });
    assert!(
        reached.is_some(),
        "loaded, open: {last:?}\n{}",
        gateway.envoy().log()
    );
}

/// GET of an item on a connection of its own: the status.
#[must_use]
pub fn status(gateway: &Gateway, id: &str) -> u16 {
    coalesce::get(gateway, &format!("/items/{id}"), "").status
}
