//! Three Redis that vote on each key: what becomes of requests when one of them is away, and when two are.

use std::thread;

use host_tests::gateway::{Gateway, Route};
use host_tests::idempotency::{
    Service, assert_replay, gateway, hasty, pay, policy, records, told, until_event, until_settled,
};
use host_tests::limits::{assert_sound, with};
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::json;

/// As they should be: what each was told it still has when it comes back.
fn three() -> [Redis; 3] {
    [(), (), ()].map(|()| {
        Redis::builder()
            .option("appendonly", "yes")
            .option("appendfsync", "always")
            .start()
    })
}

fn start(redis: &[Redis; 3], service: &Service, workers: usize) -> Gateway {
    let voters = json!({
        "cluster": "sluice-redis-a",
        "redlock": {"others": ["sluice-redis-b", "sluice-redis-c"]},
    });
    gateway(service.address(), policy(with(hasty(), voters), json!({})))
        .route(Route::Redlock)
        .redis_at(&redis.each_ref().map(Redis::address))
        .workers(workers)
        .start()
}

fn charge(number: usize) -> (u16, String) {
    (201, format!("charge {number}\n"))
}

fn refused() -> (u16, String) {
    (503, "store-unavailable".to_owned())
}

/// Of those that come at the same moment each may have some of the votes. Then nobody has the key, and all may ask again.
#[test]
fn of_many_at_once_one_is_carried_out_and_a_majority_knows() {
    let service = Service::counting();
    let redis = three();
    let gateways = [start(&redis, &service, 2), start(&redis, &service, 2)];
    thread::scope(|scope| {
        for number in 0..10 {
            let gateway = &gateways[number % 2];
            scope.spawn(move || assert_eq!(told(&until_settled(gateway, "k", b"")), charge(1)));
        }
    });
    assert_eq!(service.count(), 1);
    let known = || redis.iter().filter(|one| records(one).len() == 1).count();
    wait::until("a majority to have it", || known() >= 2);
    gateways.iter().for_each(assert_sound);
}

#[test]
fn what_one_gateway_has_taken_another_refuses() {
    let (service, gate) = Service::gated();
    let redis = three();
    let gateways = [start(&redis, &service, 1), start(&redis, &service, 1)];
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateways[0], "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        for gateway in &gateways {
            let other = pay(gateway, "k", b"").unwrap();
            assert_eq!(told(&other), (409, "in-flight".to_owned()));
            let changed = pay(gateway, "k", b"another").unwrap();
            assert_eq!(told(&changed), (422, "key-reused".to_owned()));
        }
        gate.open();
        first.join().unwrap()
    });
    assert_eq!(told(&first), charge(1));
    assert_replay(&pay(&gateways[1], "k", b"").unwrap(), &first);
    assert_eq!(service.count(), 1);
    gateways.iter().for_each(assert_sound);
}

/// Rows 21 and 22.
#[test]
fn one_may_be_away_but_not_two() {
    let service = Service::counting();
    let mut redis = three();
    let gateway = start(&redis, &service, 1);
    let first = pay(&gateway, "a", b"").unwrap();
    assert_eq!(told(&first), charge(1));

    redis[0].kill();
    assert_replay(&pay(&gateway, "a", b"").unwrap(), &first);
    let second = pay(&gateway, "b", b"").unwrap();
    assert_eq!(told(&second), charge(2));
    assert_replay(&pay(&gateway, "b", b"").unwrap(), &second);

    redis[1].kill();
    assert_eq!(told(&pay(&gateway, "c", b"").unwrap()), refused());
    assert_eq!(service.count(), 2, "nothing was sent");
    // What the third had given its vote to is given back.
    wait::until("the vote to be taken back", || {
        records(&redis[2]).len() == 2
    });
    until_event(&gateway, "store_unavailable", 1);

    redis[0].restart();
    redis[1].restart();
    assert_eq!(told(&pay(&gateway, "c", b"").unwrap()), charge(3));
    assert_replay(&pay(&gateway, "b", b"").unwrap(), &second);
    assert_eq!(service.count(), 3);
    assert_sound(&gateway);
}

/// One that does not answer is no vote, and costs no time.
#[test]
fn nobody_waits_for_the_slowest() {
    let service = Service::counting();
    let redis = three();
    let gateway = start(&redis, &service, 1);
    redis[1].pause();
    for number in 1..4 {
        let key = format!("k{number}");
        let first = pay(&gateway, &key, b"").unwrap();
        assert_eq!(told(&first), charge(number));
        assert_replay(&pay(&gateway, &key, b"").unwrap(), &first);
    }
    redis[1].resume();
    assert_eq!(service.count(), 3);
    assert_sound(&gateway);
}
