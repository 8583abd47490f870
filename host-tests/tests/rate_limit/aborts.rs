//! Clients that leave while their requests wait for Redis leave nothing behind.

use std::io::Write;
use std::net::TcpStream;

use host_tests::fake_redis::{FakeRedis, Script};
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::limits::{assert_sound, policy_with_redis, transport, with};
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::{Value, json};

const CROWD: u64 = 200;

fn policy(route: Route, mode: &str) -> Value {
    policy_with_redis(
        with(
            json!({"timeout": "3s", "on_error": "deny", "breaker": {"failures": 1000}}),
            transport(route),
        ),
        json!([
            {"name": "l", "key": [{"header": "x-key"}], "rate": "1000/hour", "mode": mode},
            {"name": "local", "key": ["client_ip"], "rate": "100000/hour"},
        ]),
    )
}

/// A crowd asks, and is gone before there is an answer.
fn come_and_go(gateway: &Gateway) {
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|number| {
            let mut stream = TcpStream::connect(gateway.address()).unwrap();
            let request = format!("GET / HTTP/1.1\r\nhost: g\r\nx-key: {}\r\n\r\n", number % 7);
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let active = || gateway.envoy().stat("http.gateway.downstream_rq_active");
    wait::until("every request to wait", || active() == CROWD);
    drop(crowd);
    wait::until("every request to be gone", || active() == 0);
}

fn builder(route: Route, mode: &str) -> Builder {
    Gateway::builder()
        .workers(2)
        .route(route)
        .policy(policy(route, mode))
}

#[test]
fn a_crowd_that_leaves_while_redis_is_frozen_leaves_nothing() {
    for (route, mode) in [
        (Route::Direct, "strict"),
        (Route::Pooled, "leased"),
        (Route::Stream, "strict"),
    ] {
        let redis = Redis::start();
        let gateway = builder(route, mode).redis(&redis).start();
        assert_eq!(gateway.get("/", &[("x-key", "1")]).status, 200);
        redis.pause();
        come_and_go(&gateway);
        redis.resume();
        // What the crowd had asked for may still be answered, and holds nobody up.
        wait::until("later requests to be served", || {
            gateway.get("/", &[("x-key", "1")]).status == 200
        });
        assert_sound(&gateway);
    }
}

#[test]
fn a_crowd_that_leaves_a_redis_that_never_answers_leaves_nothing() {
    let redis = FakeRedis::start(Script::hang());
    let gateway = builder(Route::Direct, "strict")
        .redis_at(&[redis.address()])
        .start();
    come_and_go(&gateway);
    come_and_go(&gateway);
    assert_eq!(gateway.get("/", &[("x-key", "1")]).status, 503);
    let pending = "cluster.sluice-redis.upstream_rq_active";
    wait::until("no call to be left", || gateway.envoy().stat(pending) == 0);
    assert_sound(&gateway);
}
