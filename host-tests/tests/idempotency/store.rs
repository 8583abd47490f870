//! Whatever becomes of the store, a request with a key runs once, or nobody is told that it may run again. Rows of the
//! failure matrix (docs/idempotency.md) by their numbers.

use std::net::SocketAddr;
use std::thread;

use host_tests::client::{Response, send_and_leave};
use host_tests::gateway::{Gateway, Route};
use host_tests::idempotency::{
    LEASE, Service, assert_replay, assert_unknown, brisk, count, event, gateway, hasty, pay,
    policy, records, request, told, until_answered, until_event,
};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use host_tests::{ports, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

fn refused(problem: &str) -> (u16, String) {
    (503, problem.to_owned())
}

fn charge(number: usize) -> (u16, String) {
    (201, format!("charge {number}\n"))
}

/// Rows 1 and 21.
#[test]
fn without_its_store_a_gateway_sends_nothing() {
    let service = Service::counting();
    let mut redis = Redis::start();
    let gateway = gateway(service.address(), policy(hasty(), json!({})))
        .redis(&redis)
        .start();
    redis.kill();
    let answer = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&answer), refused("store-unavailable"));
    assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
    assert_eq!(service.count(), 0);
    redis.restart();
    assert_eq!(told(&pay(&gateway, "k", b"").unwrap()), charge(1));
    assert_eq!(service.count(), 1);
    until_event(&gateway, "store_unavailable", 1);
    assert_sound(&gateway);
}

/// Row 1, where the way to Redis is a connection that stays, until Redis closes it.
#[test]
fn a_connection_that_redis_closes_is_made_anew() {
    let service = Service::counting();
    let redis = Redis::start();
    let stream = json!({"transport": "stream", "timeout": "2s"});
    let gateway = gateway(service.address(), policy(stream, json!({})))
        .route(Route::IdempotencyStream)
        .redis(&redis)
        .start();
    for number in 1..4 {
        let key = format!("k{number}");
        // One that comes before the gateway knows is refused, and may be sent again.
        wait::until("a charge", || {
            let answer = pay(&gateway, &key, b"").unwrap();
            let told = told(&answer);
            assert!(told == charge(number) || told == refused("store-unavailable"));
            told == charge(number)
        });
        assert_eq!(service.count(), number);
        let _: i64 = redis.query(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    assert_sound(&gateway);
}

/// Row 21, where the policy says that it may.
#[test]
fn a_route_that_is_open_sends_without_the_promise() {
    let service = Service::counting();
    let nowhere: SocketAddr = ([127, 0, 0, 1], ports::free()).into();
    let gateway = gateway(
        service.address(),
        policy(hasty(), json!({"on_store_error": "allow"})),
    )
    .redis_at(&[nowhere])
    .start();
    let answer = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&answer), charge(1));
    assert_eq!(
        answer.header("idempotency-status").as_deref(),
        Some("unrecorded")
    );
    assert_eq!(told(&pay(&gateway, "k", b"").unwrap()), charge(2));
    let fence = |seen: usize| service.executions()[seen].header("idempotency-fence");
    assert_eq!((fence(0), fence(1)), (None, None));
    until_event(&gateway, "unprotected", 2);
    assert_sound(&gateway);
}

#[test]
fn a_store_that_wants_another_password_is_none() {
    let service = Service::counting();
    let redis = Redis::builder().password("secret").start();
    let start = |password: &str| {
        gateway(service.address(), policy(hasty(), json!({})))
            .redis(&redis)
            .alternative("auth")
            .env("REDIS_PASSWORD", password)
            .edit(|config| config.redis_policy("password", json!({"env": "REDIS_PASSWORD"})))
            .start()
    };
    let (wrong, right) = (start("wrong"), start("secret"));
    let answer = pay(&wrong, "k", b"").unwrap();
    assert_eq!(told(&answer), refused("store-unavailable"));
    assert_eq!(service.count(), 0);
    assert_eq!(told(&pay(&right, "k", b"").unwrap()), charge(1));
}

/// Row 2.
#[test]
fn a_key_taken_by_an_acquire_whose_reply_was_lost_is_freed() {
    let service = Service::counting();
    let redis = Redis::start();
    let gateway = gateway(service.address(), policy(hasty(), json!({})))
        .redis(&redis)
        .start();
    assert_eq!(told(&pay(&gateway, "before", b"").unwrap()), charge(1));
    let calls = || {
        let stats: String = redis.query(&["INFO", "commandstats"]);
        let acquire = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_hmget:calls="));
        acquire.map_or(0, |rest| {
            rest.split(',').next().unwrap().parse::<u64>().unwrap()
        })
    };
    let before = calls();
    redis.pause();
    let answer = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&answer), refused("store-unavailable"));
    redis.resume();
    // What the frozen Redis was sent it carries out now: the acquire, and the release of what it took.
    wait::until("the release", || calls() > before);
    assert_eq!(told(&pay(&gateway, "k", b"").unwrap()), charge(2));
    assert_eq!(service.count(), 2);
    assert_eq!(event(&gateway, "not_freed"), 0);
    assert_sound(&gateway);
}

/// Row 7: what the gateway knew dies with it.
#[test]
fn a_gateway_killed_between_the_answer_and_its_record_leaves_unknown() {
    let (service, gate) = Service::gated();
    let mut redis = Redis::builder()
        .option("appendonly", "yes")
        .option("appendfsync", "always")
        .start();
    let mut gateway = gateway(service.address(), policy(brisk(), json!({"lease": LEASE})))
        .redis(&redis)
        .start();
    thread::scope(|scope| {
        let first = scope.spawn({
            let gateway = &gateway;
            move || pay(gateway, "k", b"a=1")
        });
        wait::until("the first to run", || service.count() == 1);
        redis.kill();
        gate.open();
        until_answered(&gateway, 201);
        gateway.envoy().running().signal(Signal::KILL);
        assert!(first.join().unwrap().is_err());
    });
    redis.restart();
    gateway.envoy_mut().restart();
    assert_unknown(&gateway, "k", b"a=1");
    let other = pay(&gateway, "k", b"a=2").unwrap();
    assert_eq!(told(&other), (422, "key-reused".to_owned()));
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// Row 8: the answer is stored once, and its event is there once.
#[test]
fn a_commit_whose_reply_was_lost_is_repeated_without_effect() {
    let (service, gate) = Service::gated();
    let redis = Redis::start();
    let outbox = json!({"outbox": {"trim": "nothing"}});
    let gateway = gateway(service.address(), policy(brisk(), outbox))
        .redis(&redis)
        .start();
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        redis.pause();
        gate.open();
        wait::until("a commit without a reply", || {
            count(&gateway, "redis.error.timeout") > 0
        });
        redis.resume();
        first.join().unwrap()
    });
    assert_eq!(told(&first), charge(1));
    assert_replay(&pay(&gateway, "k", b"").unwrap(), &first);
    assert_eq!(redis.query::<i64>(&["XLEN", &outboxes(&redis)[0]]), 1);
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

fn outboxes(redis: &Redis) -> Vec<String> {
    redis.query(&["KEYS", "*:outbox"])
}

/// The answer to a request whose record cannot be written when the service has done its work.
fn uncommitted(route: Value, trouble: impl Fn(&Redis, bool)) -> Response {
    let (service, gate) = Service::gated();
    let redis = Redis::start();
    let gateway = gateway(service.address(), policy(brisk(), route))
        .redis(&redis)
        .start();
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        trouble(&redis, true);
        gate.open();
        first.join().unwrap()
    });
    // What is not executed yet is refused now.
    let other = pay(&gateway, "other", b"").unwrap();
    assert_eq!(told(&other), refused("store-unavailable"));
    until_event(&gateway, "not_recorded", 1);
    trouble(&redis, false);
    // It has been kept meanwhile.
    until_event(&gateway, "recorded_late", 1);
    assert_eq!(told(&pay(&gateway, "k", b"").unwrap()), charge(1));
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
    first
}

fn out_of_memory(redis: &Redis, on: bool) {
    let bytes = if on { "1" } else { "0" };
    let _ = redis.cmd(&["CONFIG", "SET", "maxmemory", bytes]);
}

fn read_only(redis: &Redis, on: bool) {
    let primary = if on {
        ["127.0.0.1".to_owned(), ports::free().to_string()]
    } else {
        ["NO".to_owned(), "ONE".to_owned()]
    };
    let _ = redis.cmd(&["REPLICAOF", &primary[0], &primary[1]]);
}

/// Row 9.
#[test]
fn an_answer_that_cannot_be_stored_is_not_given_and_its_key_stays_taken() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let first = uncommitted(json!({}), out_of_memory);
            assert_eq!(told(&first), refused("not-recorded"));
        });
        scope.spawn(|| {
            let first = uncommitted(json!({}), read_only);
            assert_eq!(told(&first), refused("not-recorded"));
        });
    });
}

/// Row 9, where the policy says so.
#[test]
fn an_answer_that_cannot_be_stored_may_be_given_with_a_flag() {
    let first = uncommitted(json!({"on_commit_error": "deliver"}), out_of_memory);
    assert_eq!(told(&first), charge(1));
    let status = first.header("idempotency-status");
    assert_eq!(status.as_deref(), Some("unrecorded"));
}

/// Row 27.
#[test]
fn a_record_that_cannot_be_read_lets_nothing_run() {
    let service = Service::counting();
    let redis = Redis::start();
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    let first = pay(&gateway, "k", b"").unwrap();
    let record = records(&redis).remove(0);
    let copy: Vec<u8> = redis.query(&["HGET", &record, "answer"]);
    let corrupt = (500, "record-corrupt".to_owned());
    for damage in [
        vec!["HSET", &record, "answer", "SI"],
        vec!["HSET", &record, "answer", ""],
        vec!["HSET", &record, "state", "done"],
        vec!["HSET", &record, "v", "2"],
        vec!["HDEL", &record, "fp"],
        vec!["SET", &record, "text"],
    ] {
        let _ = redis.cmd(&damage);
        assert_eq!(
            told(&pay(&gateway, "k", b"").unwrap()),
            corrupt,
            "{damage:?}"
        );
    }
    assert!(copy.starts_with(b"SI"));
    let _ = redis.cmd(&["DEL", &record]);
    assert_eq!(told(&pay(&gateway, "k", b"").unwrap()), charge(2));
    assert_eq!(told(&first), charge(1));
    until_event(&gateway, "corrupt", 6);
    assert_sound(&gateway);
}

/// Row 11: the client leaves before its request is sent.
#[test]
fn who_leaves_before_the_key_is_taken_leaves_it_free() {
    let service = Service::counting();
    let redis = Redis::start();
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    redis.pause();
    send_and_leave(gateway.address(), &request("k", b"")).unwrap();
    wait::until("the client to have left", || left(&gateway) == 1);
    redis.resume();
    let answer = host_tests::idempotency::until_settled(&gateway, "k", b"");
    assert_eq!(told(&answer), charge(1));
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

fn left(gateway: &Gateway) -> u64 {
    gateway
        .envoy()
        .stat("http.gateway.downstream_cx_destroy_remote_active_rq")
}
