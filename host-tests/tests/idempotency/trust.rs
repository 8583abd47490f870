//! Replays of what a worker remembers: Redis is not asked for them, for a while.

use host_tests::gateway::Gateway;
use host_tests::idempotency::{
    Service, assert_replay, event, gateway, hasty, pay, policy, told, until_event,
};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::{Value, json};

fn start(redis: &Redis, service: &Service, time: &str, store: Value, route: Value) -> Gateway {
    let mut policy = policy(store, route);
    policy["worker"]["trust_remembered"] = json!(time);
    gateway(service.address(), policy).redis(redis).start()
}

fn refused() -> (u16, String) {
    (503, "store-unavailable".to_owned())
}

#[test]
fn who_has_stored_or_read_an_answer_replays_it_while_redis_is_away() {
    let service = Service::counting();
    let mut redis = Redis::start();
    for order in ["before_headers", "before_end"] {
        let [stored, read, neither] = [(); 3].map(|()| {
            let mut policy = policy(hasty(), json!({}));
            policy["worker"]["trust_remembered"] = json!("1m");
            policy["commit_order"] = json!(order);
            gateway(service.address(), policy).redis(&redis).start()
        });
        let first = pay(&stored, order, b"body").unwrap();
        assert_eq!(first.status, 201);
        assert_replay(&pay(&read, order, b"body").unwrap(), &first);
        redis.kill();
        for gateway in [&stored, &read] {
            for _ in 0..3 {
                assert_replay(&pay(gateway, order, b"body").unwrap(), &first);
            }
            assert_eq!(
                told(&pay(gateway, "another key", b"body").unwrap()),
                refused()
            );
        }
        assert_eq!(told(&pay(&neither, order, b"body").unwrap()), refused());
        if order == "before_headers" {
            assert_eq!(told(&pay(&stored, order, b"changed").unwrap()), refused());
        }
        redis.restart();
        [stored, read, neither].iter().for_each(assert_sound);
    }
    assert_eq!(service.count(), 2);
}

#[test]
fn another_request_with_a_remembered_key_is_refused_as_ever() {
    let service = Service::counting();
    let redis = Redis::start();
    let gateway = start(&redis, &service, "1m", json!({}), json!({}));
    let first = pay(&gateway, "k", b"body").unwrap();
    assert_replay(&pay(&gateway, "k", b"body").unwrap(), &first);
    let changed = pay(&gateway, "k", b"changed").unwrap();
    assert_eq!(told(&changed), (422, "key-reused".to_owned()));
    assert_replay(&pay(&gateway, "k", b"body").unwrap(), &first);
    until_event(&gateway, "replayed", 2);
    assert_eq!(event(&gateway, "remembered"), 2);
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

#[test]
fn after_a_while_redis_is_asked_again() {
    let service = Service::counting();
    let mut redis = Redis::start();
    let gateway = start(&redis, &service, "2s", hasty(), json!({}));
    let first = pay(&gateway, "k", b"").unwrap();
    assert_replay(&pay(&gateway, "k", b"").unwrap(), &first);
    redis.kill();
    let replays = || pay(&gateway, "k", b"").unwrap();
    wait::until("it to be trusted no more", || told(&replays()) == refused());
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

#[test]
fn a_record_is_not_outlived() {
    let service = Service::counting();
    let redis = Redis::start();
    let store = json!({"timeout": "100ms"});
    let route = json!({"retention": "5s", "lease": "500ms"});
    let gateways = [(); 2].map(|()| start(&redis, &service, "1m", store.clone(), route.clone()));
    let charge = |number| (201, format!("charge {number}\n"));
    let paid = |gateway: &Gateway| told(&pay(gateway, "k", b"").unwrap());
    wait::until("a charge", || {
        paid(&gateways[0]) == charge(service.count().max(1))
    });
    let number = service.count();
    wait::until("the record to end", || {
        paid(&gateways[0]) == charge(number + 1)
    });
    wait::until("the new answer elsewhere", || {
        paid(&gateways[1]) == charge(number + 1)
    });
    gateways.iter().for_each(assert_sound);
}
