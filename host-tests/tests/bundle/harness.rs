//! The harness itself: servers start, count, freeze and come back.

use host_tests::client::Client;
use host_tests::fake_redis::{FakeRedis, Script};
use host_tests::gateway::Gateway;
use host_tests::redis::Redis;
use host_tests::wait;

#[test]
fn a_request_goes_through_the_gateway_to_the_origin() {
    let gateway = Gateway::builder().wasm("noop").workers(2).start();
    let response = gateway.get("/echo?x=1", &[("x-test", "yes")]);
    assert_eq!(response.status, 200);
    assert!(
        response.text().contains("x-test: yes"),
        "{}",
        response.text()
    );
    assert_eq!(gateway.get("/a?status=503", &[]).status, 503);
    assert_eq!(gateway.origin().hits("/echo"), 1);
    assert_eq!(gateway.blast(4, 25, "/b", &[]), vec![200; 100]);
    assert_eq!(gateway.origin().hits("/b"), 100);
    wait::until("Envoy's count", || {
        gateway.envoy().stat("http.gateway.downstream_rq_2xx") == 101
    });
}

#[test]
fn an_envoy_that_was_killed_comes_back_on_its_port() {
    let mut gateway = Gateway::builder().wasm("noop").start();
    let mut client = gateway.client();
    assert_eq!(client.get::<&str>("/", &[]).unwrap().status, 200);
    gateway.envoy_mut().kill();
    assert!(client.get::<&str>("/", &[]).is_err());
    gateway.envoy_mut().restart();
    assert_eq!(gateway.get("/", &[]).status, 200);
}

#[test]
fn a_broken_configuration_is_refused_with_a_log() {
    let refused = Gateway::builder()
        .wasm("noop")
        .edit(|config| config.value_mut()["static_resources"]["nonsense"] = true.into())
        .try_start();
    assert!(refused.unwrap_err().contains("nonsense"));
}

#[test]
fn a_redis_that_was_killed_comes_back_empty_on_its_port() {
    let mut redis = Redis::builder().option("maxmemory", "64mb").start();
    let _ = redis.cmd(&["SET", "a", "1"]);
    assert_eq!(redis.query::<i64>(&["GET", "a"]), 1);
    redis.restart();
    assert_eq!(redis.query::<i64>(&["EXISTS", "a"]), 0);
    redis.pause();
    redis.resume();
    assert_eq!(redis.query::<String>(&["PING"]), "PONG");
}

#[test]
fn a_fake_redis_plays_its_script() {
    let fake = FakeRedis::start(Script::Say(b"HTTP/1.1 200 OK\r\n\r\nwell".to_vec()));
    let mut client = Client::new(fake.address());
    assert_eq!(client.get::<&str>("/", &[]).unwrap().body, b"well");
    fake.play(Script::Reset);
    assert!(Client::new(fake.address()).get::<&str>("/", &[]).is_err());
    assert_eq!(fake.connections(), 2);
}
