//! Many requests that wait for Redis, a body or their turn, and hear of it at once. Envoy carries out inside each other what a filter asked for in
//! one callback, so that too many answers at once overflow the VM's stack.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use host_tests::config::Config;
use host_tests::fake_redis::{FakeRedis, Script};
use host_tests::gateway::{Gateway, Route};
use host_tests::idempotency::{self, Service, assert_replay, gateway, pay, until_event};
use host_tests::limits::{assert_sound, policy_with_redis, tally, transport, with};
use host_tests::message::Reader;
use host_tests::redis::Redis;
use host_tests::shard::{self, Shards, publish};
use host_tests::wait;
use rustix::process::Signal;
use serde_json::{Value, json};

/// As many as a process with 1,024 files can ask for at once.
const CROWD: usize = 900;

/// One crowd at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All who come are there before Redis is given up.
fn hung(on_error: &str) -> Value {
    json!({"timeout": "3s", "on_error": on_error, "breaker": {"failures": 1000}})
}

fn limits() -> Value {
    json!([{"name": "l", "key": [{"header": "x-key"}], "rate": "100000/hour", "mode": "strict"}])
}

fn all_get(gateway: &Gateway, status: u16) {
    let statuses = gateway.blast(CROWD, 1, "/", &[("x-key", "1")]);
    assert_eq!(tally(&statuses), [(status, CROWD)].into());
    assert_sound(gateway);
}

/// Envoy answers by itself, within the call that lets a request go on.
fn answered_by_the_gateway(config: &mut Config) {
    let hosts = config
        .listener("gateway")
        .pointer_mut("/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts");
    let routes = &mut hosts.expect("the listener's routes")[0]["routes"];
    *routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
}

#[test]
fn all_are_denied_when_redis_is_given_up() {
    let _alone = alone();
    for route in [Route::Direct, Route::Stream] {
        let redis = FakeRedis::start(Script::hang());
        let redis_policy = with(hung("deny"), transport(route));
        let gateway = Gateway::builder()
            .route(route)
            .policy(policy_with_redis(redis_policy, limits()))
            .redis_at(&[redis.address()])
            .start();
        all_get(&gateway, 503);
    }
}

#[test]
fn all_go_on_when_redis_is_given_up() {
    let _alone = alone();
    let redis = FakeRedis::start(Script::hang());
    let gateway = Gateway::builder()
        .route(Route::Direct)
        .policy(policy_with_redis(hung("allow"), limits()))
        .redis_at(&[redis.address()])
        .edit(answered_by_the_gateway)
        .start();
    all_get(&gateway, 200);
}

fn is_full(gateway: &Gateway) -> bool {
    gateway.envoy().stat("http.gateway.downstream_rq_active") == CROWD as u64
}

#[test]
fn all_go_on_when_redis_is_thawed() {
    let _alone = alone();
    let redis = Redis::start();
    let gateway = Gateway::builder()
        .route(Route::Direct)
        .policy(policy_with_redis(json!({"timeout": "20s"}), limits()))
        .redis(&redis)
        .edit(answered_by_the_gateway)
        .start();
    redis.pause();
    thread::scope(|scope| {
        let crowd = scope.spawn(|| all_get(&gateway, 200));
        wait::until("the crowd to be there", || is_full(&gateway));
        redis.resume();
        crowd.join().unwrap();
    });
}

/// A key of each one's own.
#[test]
fn all_are_refused_when_the_store_is_given_up() {
    let _alone = alone();
    let redis = FakeRedis::start(Script::hang());
    let service = Service::counting();
    let times = json!({"timeout": "10s", "breaker": {"failures": 1000}});
    let policy = idempotency::policy(times, json!({"lease": "60s"}));
    let gateway = gateway(service.address(), policy)
        .redis_at(&[redis.address()])
        .start();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let gateway = &gateway;
        let all: Vec<_> = (0..CROWD)
            .map(|number| scope.spawn(move || pay(gateway, &format!("k{number}"), b"a=1")))
            .collect();
        wait::until("the crowd to be there", || is_full(gateway));
        // The time of all is over when the gateway next looks.
        gateway.envoy().running().signal(Signal::STOP);
        thread::sleep(Duration::from_secs(10));
        gateway.envoy().running().signal(Signal::CONT);
        all.into_iter()
            .map(|one| one.join().unwrap().map_or(0, |answer| answer.status))
            .collect()
    });
    assert_eq!(tally(&statuses), [(503, CROWD)].into());
    assert_eq!(service.count(), 0);
    assert_sound(&gateway);
}

/// One key: the first is carried out, and all who waited for it get its answer.
#[test]
fn all_who_wait_get_the_first_ones_answer() {
    let _alone = alone();
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let policy = idempotency::policy(json!({}), json!({"wait": "25s"}));
    let gateway = gateway(service.address(), policy).redis(&redis).start();
    let answers: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..CROWD)
            .map(|_| scope.spawn(|| pay(&gateway, "k", b"a=1").unwrap()))
            .collect();
        until_event(&gateway, "waited", CROWD as u64 - 1);
        // Whoever asks while Redis is frozen hears of the answer when it is not.
        redis.pause();
        gate.open();
        wait::until("the answer to be there", || service.count() == 1);
        redis.resume();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let first = answers
        .iter()
        .find(|answer| answer.header("idempotency-replayed").is_none());
    let first = first.expect("the answer of whoever was carried out");
    assert_eq!(first.status, 201);
    let replays = answers
        .iter()
        .filter(|answer| answer.header("idempotency-replayed").is_some());
    assert_eq!(replays.clone().count(), CROWD - 1);
    replays.for_each(|replay| assert_replay(replay, first));
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// So many requests of this text, each on a connection of its own, when all are in the gateway.
fn come(gateway: &Gateway, size: usize, request: &str) -> Vec<TcpStream> {
    let before = gateway.envoy().stat("http.gateway.downstream_rq_active");
    let connect = |_| {
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let crowd = (0..size).map(connect).collect();
    wait::until("the crowd to be there", || {
        gateway.envoy().stat("http.gateway.downstream_rq_active") == before + size as u64
    });
    crowd
}

fn statuses(crowd: Vec<TcpStream>) -> BTreeMap<u16, usize> {
    let status = |stream: TcpStream| {
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).unwrap();
        let answer = Reader::new(stream).response(false);
        answer.map_or(0, |answer| answer.status)
    };
    tally(&crowd.into_iter().map(status).collect::<Vec<_>>())
}

/// Whose time ends within three seconds has none left when the gateway next looks.
fn oversleep(gateway: &Gateway) {
    gateway.envoy().running().signal(Signal::STOP);
    thread::sleep(Duration::from_secs(4));
    gateway.envoy().running().signal(Signal::CONT);
}

const QUEUED: &str = "GET /x HTTP/1.1\r\nhost: g\r\nx-user: 1\r\n\r\n";

/// A gateway whose only shard has let its one request in, and does not answer it.
fn full(service: &Service) -> (Gateway, TcpStream) {
    let in_flight = json!({"max": 1, "queue": {"max": CROWD, "wait": "3s"}});
    let policy = shard::policy(json!({"shards": ["s0"], "in_flight": in_flight}), json!({}));
    let gateway = shard::gateway(&[(service.address(), service.address())], &policy).start();
    let first = come(&gateway, 1, QUEUED).pop().expect("one");
    wait::until("the shard to be full", || service.count() == 1);
    (gateway, first)
}

#[test]
fn all_are_refused_whose_body_does_not_come() {
    let _alone = alone();
    let shards = Shards::start(1);
    let body = json!({"pointer": "/id", "wait": "3s"});
    let policy = shard::policy(json!({"shards": ["s0"]}), json!({"body": body}));
    let gateway = shards.gateway(&policy).alternative("body").start();
    let request = "POST /x HTTP/1.1\r\nhost: g\r\ncontent-length: 9\r\n\r\n";
    let crowd = come(&gateway, CROWD, request);
    oversleep(&gateway);
    assert_eq!(statuses(crowd), [(503, CROWD)].into());
    assert_eq!(gateway.get("/x", &[("x-user", "1")]).status, 200);
    assert_sound(&gateway);
}

#[test]
fn all_are_refused_whose_turn_does_not_come() {
    let _alone = alone();
    let (service, gate) = Service::gated();
    let (gateway, first) = full(&service);
    let crowd = come(&gateway, CROWD, QUEUED);
    oversleep(&gateway);
    assert_eq!(statuses(crowd), [(503, CROWD)].into());
    gate.open();
    assert_eq!(statuses(vec![first]), [(201, 1)].into());
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

#[test]
fn all_go_on_when_the_cap_is_raised() {
    let _alone = alone();
    let (service, gate) = Service::gated();
    let redis = Redis::start();
    let capped = |max: usize| {
        let in_flight = json!({"max": max, "queue": {"max": CROWD, "wait": "1m"}});
        json!({"shards": ["s0"], "in_flight": in_flight})
    };
    let mut policy = shard::refreshed(json!({}));
    policy["tables"]["users"] = capped(1);
    let gateway = shard::gateway(&[(service.address(), service.address())], &policy)
        .alternative("refresh")
        .redis(&redis)
        .env("SHARD_TABLES_SECRET", "none is needed")
        .edit(|config| {
            answered_by_the_gateway(config);
            let hosts = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts";
            let routes = config.listener("gateway").pointer_mut(hosts);
            let routes = routes.expect("the listener's routes")[0]["routes"].as_array_mut();
            let held = json!({"match": {"prefix": "/held"}, "route": {"cluster": "s0"}});
            routes.expect("a list").insert(0, held);
        })
        .start();
    wait::until("it to know", || {
        gateway.get("/", &[("x-user", "1")]).status == 200
    });
    let first = come(&gateway, 1, &QUEUED.replace("/x", "/held"));
    wait::until("the shard to be full", || service.count() == 1);
    let crowd = come(&gateway, CROWD, QUEUED);
    publish(
        &redis,
        2,
        &json!({"tables": {"users": capped(2 * CROWD)}}),
        None,
    );
    assert_eq!(statuses(crowd), [(200, CROWD)].into());
    gate.open();
    assert_eq!(statuses(first), [(201, 1)].into());
    assert_sound(&gateway);
}
