//! Many requests that wait for Redis and hear of it at once. Envoy carries out inside each other what a filter asked for in
//! one callback, so that too many answers at once overflow the VM's stack.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use host_tests::config::Config;
use host_tests::fake_redis::{FakeRedis, Script};
use host_tests::gateway::{Gateway, Route};
use host_tests::idempotency::{self, Service, assert_replay, gateway, pay, until_event};
use host_tests::limits::{assert_sound, policy_with_redis, tally, transport, with};
use host_tests::redis::Redis;
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
