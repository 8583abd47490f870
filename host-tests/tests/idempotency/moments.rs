//! What falls between two steps: a gateway that dies, a record that ends, a clock that jumps. Rows of the failure matrix
//! (docs/idempotency.md) by their numbers.

use std::thread;

use host_tests::gateway::Gateway;
use host_tests::idempotency::{
    Service, assert_replay, assert_unknown, gateway, pay, policy, records, told, until_event,
    until_settled,
};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use host_tests::wait;
use rustix::process::Signal;
use serde_json::{Value, json};

fn start(redis: &Redis, service: &Service, timeout: &str, route: Value) -> Gateway {
    gateway(
        service.address(),
        policy(json!({"timeout": timeout}), route),
    )
    .redis(redis)
    .workers(2)
    .start()
}

fn charge(number: usize) -> (u16, String) {
    (201, format!("charge {number}\n"))
}

/// Row 3: Redis has taken the key, and who asked for it never hears so.
#[test]
fn a_gateway_that_dies_before_it_sends_leaves_unknown() {
    let service = Service::counting();
    let redis = Redis::start();
    let route = json!({"lease": "8s"});
    let gateways = [(); 2].map(|()| start(&redis, &service, "2s", route.clone()));
    // Redis knows the scripts.
    assert_eq!(told(&pay(&gateways[1], "before", b"").unwrap()), charge(1));
    redis.pause();
    thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateways[0], "k", b""));
        let asked = || {
            gateways[0]
                .envoy()
                .stat("cluster.redis.upstream_cx_tx_bytes_total")
        };
        wait::until("the key to be asked for", || asked() > 0);
        gateways[0].envoy().running().signal(Signal::KILL);
        assert!(first.join().unwrap().is_err());
    });
    redis.resume();
    wait::until("Redis to have done it", || records(&redis).len() == 2);
    let retry = pay(&gateways[1], "k", b"").unwrap();
    assert_eq!(told(&retry), (409, "in-flight".to_owned()));
    assert_unknown(&gateways[1], "k", b"");
    assert_eq!(service.count(), 1, "nothing was sent");
    assert_sound(&gateways[1]);
}

/// Row 15: whenever a record ends, of those that come then one is carried out, and the others get its answer.
#[test]
fn a_record_that_ends_under_many_requests_lets_one_through() {
    let service = Service::counting();
    let redis = Redis::start();
    let route = json!({"wait": "20s"});
    let gateways = [(); 2].map(|()| start(&redis, &service, "5s", route.clone()));
    assert_eq!(told(&pay(&gateways[0], "k", b"").unwrap()), charge(1));
    for round in 1..=20 {
        thread::scope(|scope| {
            for number in 0..6 {
                let gateway = &gateways[number % 2];
                scope.spawn(move || {
                    let (status, text) = told(&pay(gateway, "k", b"").unwrap());
                    assert_eq!(status, 201, "{text}");
                });
            }
            // It ends in the midst of them.
            for record in records(&redis) {
                let _ = redis.cmd(&["PEXPIRE", &record, "0"]);
            }
        });
        // It is complete again before it ends again.
        assert_eq!(pay(&gateways[0], "k", b"").unwrap().status, 201);
        assert_eq!(service.count(), 1 + round, "once for each end");
    }
    gateways.iter().for_each(assert_sound);
}

/// Row 24: what a clock of Redis that jumps does to a record is that its lease ends sooner or later.
#[test]
fn no_jump_of_the_clock_lets_a_request_run_again() {
    let (service, gate) = Service::gated();
    let redis = Redis::start();
    let gateway = start(&redis, &service, "1s", json!({"lease": "6s"}));
    let jump = |micros: &str| {
        let record = records(&redis).remove(0);
        let _ = redis.cmd(&["HINCRBY", &record, "lease", micros]);
    };
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        // An hour forward.
        jump("-3600000000");
        let retry = pay(&gateway, "k", b"").unwrap();
        assert_eq!(told(&retry), (409, "unknown".to_owned()));
        // Until the next sign of life.
        until_event(&gateway, "renewed", 1);
        let retry = pay(&gateway, "k", b"").unwrap();
        assert_eq!(told(&retry), (409, "in-flight".to_owned()));
        // And back.
        jump("3600000000");
        let retry = pay(&gateway, "k", b"").unwrap();
        assert_eq!(told(&retry), (409, "in-flight".to_owned()));
        gate.open();
        first.join().unwrap()
    });
    assert_eq!(told(&first), charge(1));
    assert_replay(&until_settled(&gateway, "k", b""), &first);
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}
