//! A policy is changed while the gateway runs: the new one takes effect, what clients have used stays used, and one
//! with a mistake changes nothing.

use host_tests::gateway::{Gateway, Route};
use host_tests::limits::{assert_sound, policy_with_redis};
use host_tests::redis::Redis;
use host_tests::reload::Listener;
use host_tests::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

fn limit(name: &str, rate: &str, mode: &str) -> Value {
    json!({"name": name, "key": ["client_ip"], "rate": rate, "mode": mode, "cost": {"header": "x-cost", "max": 3}})
}

fn policy(limits: Value) -> Value {
    policy_with_redis(json!({}), limits)
}

/// What the response fields say is left, without taking any.
fn peek(gateway: &Gateway) -> String {
    let response = gateway.get("/", &[("x-cost", "0")]);
    assert_eq!(response.status, 200);
    let state = response.header("ratelimit").unwrap_or_default();
    let entries = state
        .split(", ")
        .map(|entry| entry.split(";t=").next().unwrap());
    entries.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_new_policy_takes_effect_and_what_was_used_stays_used() {
    let folder = TempDir::new().unwrap();
    let listener = Listener::new(folder.path());
    let redis = Redis::start();
    let theirs = listener.clone();
    let gateway = Gateway::builder()
        .workers(2)
        .route(Route::Direct)
        .redis(&redis)
        .policy(policy(json!([
            limit("kept", "5/day", "local"),
            limit("shared", "9/day", "strict"),
            limit("changed", "7/day", "local"),
        ])))
        .edit(move |config| theirs.take_from(config))
        .start();
    assert_eq!(gateway.get("/", &[("x-cost", "2")]).status, 200);
    assert_eq!(peek(&gateway), r#""kept";r=3 "shared";r=7 "changed";r=5"#);

    listener.change(&policy(json!([
        limit("kept", "5/day", "local"),
        limit("shared", "9/day", "strict"),
        limit("changed", "70/day", "local"),
        limit("new", "4/day", "local"),
    ])));
    wait::until("the new policy", || peek(&gateway).contains("new"));
    // Two of seven a day are two sevenths of the bucket, whatever its size: 20 of 70.
    assert_eq!(
        peek(&gateway),
        r#""kept";r=3 "shared";r=7 "changed";r=50 "new";r=4"#
    );
    assert_eq!(gateway.get("/", &[("x-cost", "3")]).status, 200);
    assert_eq!(gateway.get("/", &[]).status, 429);

    let rejected = || gateway.envoy().stat("listener_manager.lds.update_rejected");
    assert_eq!(rejected(), 0);
    listener.change(&policy(json!([limit("kept", "5/fortnight", "local")])));
    wait::until("the mistake to be refused", || rejected() == 1);
    assert!(
        gateway
            .envoy()
            .log()
            .contains("limits[0].rate: found string \"5/fortnight\"")
    );
    assert_eq!(
        peek(&gateway),
        r#""kept";r=0 "shared";r=4 "changed";r=47 "new";r=1"#
    );
    assert_eq!(gateway.get("/", &[]).status, 429);

    listener.change(&policy(json!([limit("shared", "9/day", "strict")])));
    wait::until("the last policy", || peek(&gateway) == r#""shared";r=4"#);
    assert_sound(&gateway);
}
