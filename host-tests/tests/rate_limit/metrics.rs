//! What the operator's Prometheus reads: labels instead of names, and values that agree with what was sent.

use std::collections::BTreeMap;

use host_tests::fake_redis::{FakeRedis, Script};
use host_tests::gateway::{Gateway, Route};
use host_tests::limits::{policy_with_redis, troubles};
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::json;

/// The samples of a metric: their labels, without Envoy's own quotes, and their values.
fn samples(gateway: &Gateway, metric: &str) -> BTreeMap<String, f64> {
    let text = gateway.envoy().prometheus();
    let start = format!("{metric}{{");
    text.lines()
        .filter_map(|line| line.strip_prefix(&start)?.split_once("} "))
        .map(|(labels, value)| (labels.to_owned(), value.parse().expect("a number")))
        .collect()
}

fn value(gateway: &Gateway, metric: &str, labels: &str) -> Option<f64> {
    samples(gateway, metric).get(labels).copied()
}

#[test]
fn outcomes_are_labelled_by_limit_and_agree_with_what_was_sent() {
    let redis = Redis::start();
    let gateway = Gateway::builder()
        .workers(2)
        .route(Route::Direct)
        .redis(&redis)
        .policy(policy_with_redis(
            json!({}),
            json!([
                {"name": "a.b-c_d", "key": ["client_ip"], "rate": "20/day"},
                {"name": "strict", "key": ["client_ip"], "rate": "7/day", "mode": "strict"},
                {"name": "shadow", "key": ["client_ip"], "rate": "3/day", "shadow": true},
            ]),
        ))
        .start();
    let _ = gateway.blast(4, 5, "/", &[]);
    const METRIC: &str = "sluice_rate_limit_limit_outcome";
    let label = |limit: &str, outcome: &str| {
        format!("sluice_limit=\"{limit}\",sluice_outcome=\"{outcome}\"")
    };
    let expected = [
        (label("a.b-c_d", "allowed"), 7.0),
        (label("a.b-c_d", "denied"), 0.0),
        (label("strict", "allowed"), 7.0),
        (label("strict", "denied"), 13.0),
        (label("shadow", "allowed"), 3.0),
    ];
    wait::until("the counts", || {
        expected
            .iter()
            .all(|(labels, expected)| value(&gateway, METRIC, labels) == Some(*expected))
    });
    let all = samples(&gateway, METRIC);
    assert!(all[&label("shadow", "shadow_denied")] >= 4.0, "{all:?}");
    assert_eq!(all.len(), 9, "three limits, three outcomes: {all:?}");

    // One command for each request that was not denied by what was known.
    let commands = value(&gateway, "sluice_rate_limit_redis_commands", "").unwrap();
    let callouts = value(&gateway, "sluice_rate_limit_redis_callouts", "").unwrap();
    assert!((8.0..=40.0).contains(&commands), "{commands}");
    assert!((1.0..=commands).contains(&callouts), "{callouts}");
}

#[test]
fn troubles_are_labelled_by_kind_and_the_breaker_is_a_gauge() {
    let redis = FakeRedis::start(Script::ErrorForEach("LOADING".to_owned()));
    let gateway = Gateway::builder()
        .route(Route::Direct)
        .redis_at(&[redis.address()])
        .policy(policy_with_redis(
            json!({"on_error": "allow", "breaker": {"failures": 3, "open_for": "1h"}}),
            json!([{"name": "strict", "key": ["client_ip"], "rate": "7/day", "mode": "strict"}]),
        ))
        .start();
    for _ in 0..10 {
        assert_eq!(gateway.get("/", &[]).status, 200);
    }
    const METRIC: &str = "sluice_rate_limit_redis_error";
    wait::until("the counts", || {
        value(&gateway, METRIC, "sluice_error=\"loading\"") == Some(3.0)
            && value(&gateway, METRIC, "sluice_error=\"breaker_open\"") == Some(7.0)
    });
    assert_eq!(troubles(&gateway).len(), 2);
    let open = value(&gateway, "sluice_rate_limit_redis_breaker_open", "");
    assert_eq!(open, Some(1.0));
    assert_eq!(redis.connections(), 3, "an open breaker leaves Redis alone");
    let degraded = |limit: &str| {
        let labels = format!("sluice_limit=\"{limit}\"");
        value(&gateway, "sluice_rate_limit_limit_degraded", &labels)
    };
    assert_eq!(degraded("strict"), Some(10.0));
}
