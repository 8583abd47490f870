//! The answer to a request that is refused: problem details, or what the policy says; the origin never sees it.

use std::time::Instant;

use host_tests::client::Response;
use host_tests::config::Config;
use host_tests::fake_redis::{FakeRedis, Script};
use host_tests::gateway::{Gateway, Route};
use host_tests::limits::{GRACE, assert_sound, policy, policy_with_redis, troubles};
use host_tests::redis::Redis;
use serde_json::{Value, json};

const EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

fn problem(response: &Response) -> Value {
    assert_eq!(
        response.header("content-type").as_deref(),
        Some("application/problem+json")
    );
    let types = response
        .headers
        .iter()
        .filter(|(name, _)| name == "content-type");
    assert_eq!(types.count(), 1);
    serde_json::from_slice(&response.body).expect("the problem is JSON")
}

/// A limit on a path of its own.
fn on(path: &str, fields: Value) -> Value {
    let limit = json!({
        "name": path.trim_start_matches('/'), "match": {"path": {"exact": path}}, "key": [{"header": "x-key"}],
        "rate": "1/hour",
    });
    host_tests::limits::with(limit, fields)
}

#[test]
fn a_refusal_says_why_and_the_origin_never_sees_it() {
    let gateway = Gateway::builder()
        .policy(policy(json!([
            on("/plain", json!({})),
            on(
                "/costly",
                json!({"rate": "5/hour", "cost": {"header": "x-cost", "max": 9}})
            ),
            on("/nothing", json!({"rate": "0/s"})),
            on(
                "/banned",
                json!({"overrides": [{"key": ["mallory"], "deny": true}]})
            ),
            on("/keyed", json!({"on_missing_key": "deny"})),
        ])))
        .start();
    let key = ("x-key", "ann");
    assert_eq!(gateway.get("/plain", &[key]).status, 200);
    for (path, headers, status, kind, waits) in [
        ("/plain", &[key][..], 429, EXCEEDED, true),
        ("/costly", &[key, ("x-cost", "9")], 429, EXCEEDED, false),
        ("/nothing", &[key], 429, EXCEEDED, false),
        (
            "/banned",
            &[("x-key", "mallory")],
            403,
            "about:blank",
            false,
        ),
        ("/keyed", &[], 400, "about:blank", false),
        (
            "/keyed",
            &[key, ("x-key", "bob")],
            400,
            "about:blank",
            false,
        ),
        // Refused although a missing key is skipped: it is there twice.
        (
            "/plain",
            &[key, ("x-key", "bob")],
            400,
            "about:blank",
            false,
        ),
    ] {
        gateway.origin().forget();
        let response = gateway.get(path, headers);
        assert_eq!(response.status, status, "{path}");
        let problem = problem(&response);
        assert_eq!(problem["type"], kind, "{path}");
        assert_eq!(problem["status"], status, "{path}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{path}");
        assert_eq!(
            problem["violated-policies"],
            json!([path.trim_start_matches('/')])
        );
        assert_eq!(response.header("retry-after").is_some(), waits, "{path}");
        assert_eq!(gateway.origin().hits(path), 0, "{path}");
    }
    assert_eq!(
        gateway.get("/plain", &[]).status,
        200,
        "a missing key is skipped"
    );
    assert_sound(&gateway);
}

#[test]
fn the_answer_is_the_one_that_the_policy_has() {
    let redis = Redis::start();
    let answer = json!({
        "status": 503, "body": "{\"error\":\"slow ü down\"}", "content_type": "application/vnd.x+json",
        "headers": {"X-Limited-By": "sluice", "cache-control": "no-store"},
    });
    let gateway = Gateway::builder()
        .route(Route::Direct)
        .redis(&redis)
        .policy(policy_with_redis(
            json!({}),
            json!([
                on(
                    "/local",
                    json!({"response": answer, "on_missing_key": "deny"})
                ),
                on("/strict", json!({"response": answer, "mode": "strict"})),
                on("/text", json!({"response": {"body": "no"}})),
                on("/status", json!({"response": {"status": 420}})),
            ]),
        ))
        .start();
    for path in ["/local", "/strict"] {
        let status = || gateway.get(path, &[("x-key", "ann")]);
        assert_eq!(status().status, 200, "{path}");
        // The second comes from Redis, the third is known.
        for _ in 0..2 {
            let denied = status();
            assert_eq!(denied.status, 503, "{path}");
            assert_eq!(denied.text(), "{\"error\":\"slow ü down\"}", "{path}");
            let header = |name| denied.header(name).unwrap_or_default();
            assert_eq!(header("content-type"), "application/vnd.x+json", "{path}");
            assert_eq!(header("x-limited-by"), "sluice", "{path}");
            assert_eq!(header("cache-control"), "no-store", "{path}");
            assert!(denied.header("retry-after").is_some(), "{path}");
            assert!(denied.header("ratelimit").is_some(), "{path}");
        }
    }
    // That is for requests over a limit; a missing key is another matter.
    assert_eq!(problem(&gateway.get("/local", &[]))["status"], 400);

    let second = |path| {
        let _ = gateway.get(path, &[("x-key", "ann")]);
        gateway.get(path, &[("x-key", "ann")])
    };
    let text = second("/text");
    assert_eq!((text.status, text.text().as_str()), (429, "no"));
    assert_eq!(
        text.header("content-type").as_deref(),
        Some("text/plain; charset=utf-8")
    );
    let status = second("/status");
    assert_eq!(
        (status.status, &problem(&status)["status"]),
        (420, &json!(420))
    );
}

#[test]
fn without_redis_a_refusal_says_when_to_come_back() {
    let redis = FakeRedis::start(Script::close());
    let limit = on(
        "/strict",
        json!({"mode": "strict", "response": {"status": 420}}),
    );
    let gateway = Gateway::builder()
        .route(Route::Direct)
        .redis_at(&[redis.address()])
        .policy(policy_with_redis(
            json!({"on_error": "deny"}),
            json!([limit]),
        ))
        .start();
    let asked = Instant::now();
    let denied = gateway.get("/strict", &[("x-key", "ann")]);
    assert!(asked.elapsed() < GRACE, "{:?}", asked.elapsed());
    assert_eq!(denied.status, 503);
    assert_eq!(problem(&denied)["type"], "about:blank");
    assert_eq!(denied.header("retry-after").as_deref(), Some("1"));
    assert_eq!(gateway.origin().hits("/strict"), 0);
}

/// A request that waits for Redis loses nothing of its body, one that is refused leaves a connection that still works.
#[test]
fn bodies_arrive_whole_or_not_at_all() {
    bodies_are_held(|_| ());
}

/// With this flag the body's callbacks come although the headers are paused; then the filter has to hold the body.
#[test]
fn a_body_that_the_gateway_does_not_hold_back_is_held_by_the_filter() {
    bodies_are_held(|config| {
        let filter = config.filter();
        filter["allow_on_headers_stop_iteration"] = true.into();
        let vm = filter["vm_config"].as_object_mut().unwrap();
        vm.remove("capability_restriction_config");
    });
}

fn bodies_are_held(edit: fn(&mut Config)) {
    let redis = Redis::start();
    let gateway = Gateway::builder()
        .route(Route::Direct)
        .redis(&redis)
        .policy(policy_with_redis(
            json!({}),
            json!([on("/strict", json!({"mode": "strict", "rate": "2/hour"}))]),
        ))
        .edit(edit)
        .start();
    let body: Vec<u8> = (0..300_000_u32).map(|index| index as u8).collect();
    let mut client = gateway.client();
    let mut post = |size: usize| {
        client
            .send("POST", "/strict", &[("x-key", "ann")], &body[..size])
            .map(|response| response.status)
    };
    let statuses = [100, 300_000, 100, 200].map(|size| post(size).unwrap());
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(troubles(&gateway), [].into());
    let seen = gateway.origin().seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].body == body[..100] && seen[1].body == body[..]);

    let head = gateway
        .client()
        .send("HEAD", "/strict", &[("x-key", "ann")], b"")
        .unwrap();
    assert_eq!((head.status, head.body.len()), (429, 0));
    assert!(head.header("retry-after").is_some());
    assert_sound(&gateway);
}
