//! What the tests of the rate-limit filter share: policies, counts of statuses, and the filter's own counts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::{Gateway, Route};
use crate::wait;

/// Of the name of every statistic of the filter.
const PREFIX: &str = "wasmcustom.sluice_rate_limit";

/// How long a request may take beyond the policy's timeout when Redis does not answer: a tick, and a busy machine.
pub const GRACE: Duration = Duration::from_millis(500);

/// A policy of limits that need no Redis.
#[must_use]
pub fn policy(limits: Value) -> Value {
    json!({"limits": limits})
}

/// A policy with Redis. Where `redis` does not say, the timeout is one that a busy machine keeps: an exact count must
/// not hang on the speed of the day.
#[must_use]
pub fn policy_with_redis(redis: Value, limits: Value) -> Value {
    let mut whole = json!({"cluster": "sluice-redis", "timeout": "10s"});
    merge(&mut whole, redis);
    json!({"redis": whole, "limits": limits})
}

/// What the policy's `redis` says on this route beyond the defaults.
#[must_use]
pub fn transport(route: Route) -> Value {
    match route {
        Route::Stream | Route::IdempotencyStream => json!({"transport": "stream"}),
        Route::None
        | Route::Direct
        | Route::Pooled
        | Route::Idempotency
        | Route::Coalesce
        | Route::CoalesceBloom
        | Route::CoalesceFleet
        | Route::Redlock
        | Route::Etcd
        | Route::ShardRoute => json!({}),
    }
}

/// `limit` with more fields, or other ones.
#[must_use]
pub fn with(mut limit: Value, fields: Value) -> Value {
    merge(&mut limit, fields);
    limit
}

fn merge(into: &mut Value, fields: Value) {
    if let (Some(into), Value::Object(fields)) = (into.as_object_mut(), fields) {
        into.extend(fields);
    }
}

/// How often each status came.
#[must_use]
pub fn tally(statuses: &[u16]) -> BTreeMap<u16, usize> {
    let mut tally = BTreeMap::new();
    for status in statuses {
        *tally.entry(*status).or_default() += 1;
    }
    tally
}

/// The tally of so many requests that passed and so many that were over their limit.
#[must_use]
pub fn passed_and_denied(passed: usize, denied: usize) -> BTreeMap<u16, usize> {
    [(200, passed), (429, denied)]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// What the filter has counted for a limit so far; it tells by the tick.
#[must_use]
pub fn outcome(gateway: &Gateway, limit: &str, outcome: &str) -> u64 {
    gateway
        .envoy()
        .stat(&format!("{PREFIX}.limit.{limit}.outcome.{outcome}"))
}

/// How many of a limit's decisions were made without Redis.
#[must_use]
pub fn degraded(gateway: &Gateway, limit: &str) -> u64 {
    count(gateway, &format!("limit.{limit}.degraded"))
}

/// A count of the filter by the end of its name, for example `redis.callouts` or `local.overflow`.
#[must_use]
pub fn count(gateway: &Gateway, name: &str) -> u64 {
    gateway.envoy().stat(&format!("{PREFIX}.{name}"))
}

/// Every kind of trouble with Redis that the filter has counted.
#[must_use]
pub fn troubles(gateway: &Gateway) -> BTreeMap<String, u64> {
    let prefix = format!("{PREFIX}.redis.error.");
    gateway
        .envoy()
        .stats()
        .into_iter()
        .filter_map(|(name, count)| Some((name.strip_prefix(&prefix)?.to_owned(), count)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// Waits until the filter has counted what was sent.
///
/// # Panics
/// When it counts something else.
pub fn until_counted(gateway: &Gateway, limit: &str, name: &str, expected: u64) {
    wait::until(&format!("{limit} {name} {expected}"), || {
        outcome(gateway, limit, name) >= expected
    });
    assert_eq!(outcome(gateway, limit, name), expected, "{limit} {name}");
}

/// Waits until no request is in the gateway, and checks that no VM has crashed.
///
/// # Panics
/// When a stream stays, or a VM has crashed.
pub fn assert_sound(gateway: &Gateway) {
    wait::until("no request to be in the gateway", || {
        gateway.envoy().stat("http.gateway.downstream_rq_active") == 0
    });
    let log = gateway.envoy().log();
    for sign in [
        "panicked",
        "Function: proxy_on",
        "Proxy-Wasm plugin in-VM backtrace",
    ] {
        assert!(!log.contains(sign), "{log}");
    }
    for (name, count) in gateway.envoy().stats() {
        assert!(!name.contains("vm_reload") || count == 0, "{name}: {count}");
    }
}
