//! `redis.durability` with a primary and a replica: what only the primary has does not count.

use std::sync::Arc;
use std::thread;

use host_tests::gateway::{Gateway, Route};
use host_tests::idempotency::{
    Service, assert_replay, count, event, gateway, made, pay, policy, records, told,
};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::{Value, json};

fn replica_of(primary: &Redis) -> Redis {
    let address = format!("127.0.0.1 {}", primary.port());
    let replica = Redis::builder()
        .option("replicaof", &address)
        .option("repl-diskless-load", "swapdb")
        .start();
    in_step(primary);
    replica
}

/// Waits until the replica is told of writes as they come.
fn in_step(primary: &Redis) {
    wait::until("the replica to follow", || {
        let state: String = primary.query(&["INFO", "replication"]);
        state.contains("state=online")
    });
}

fn primary() -> Redis {
    Redis::builder()
        .option("repl-diskless-sync-delay", "0")
        .start()
}

fn start(redis: &Redis, service: &Service, route: Value) -> Gateway {
    let redis_policy = json!({
        "transport": "stream",
        "timeout": "6s",
        "durability": {"replicas": 1, "timeout": "2s"},
    });
    gateway(service.address(), policy(redis_policy, route))
        .route(Route::IdempotencyStream)
        .redis(redis)
        .start()
}

#[test]
fn a_request_is_sent_only_when_a_replica_knows_of_it() {
    let redis = primary();
    let replica = replica_of(&redis);
    let service = Service::counting();
    let gateway = start(&redis, &service, json!({}));

    let first = pay(&gateway, "a", b"1").unwrap();
    assert_eq!(told(&first), (201, "charge 1\n".to_owned()));
    assert_eq!(records(&replica), records(&redis));
    assert_replay(&pay(&gateway, "a", b"1").unwrap(), &first);

    replica.pause();
    let refused = pay(&gateway, "b", b"1").unwrap();
    assert_eq!(told(&refused), (503, "store-unavailable".to_owned()));
    assert_eq!(service.count(), 1, "nothing was sent");
    wait::until("the trouble to be counted", || {
        count(&gateway, "redis.error.not_durable") >= 1
    });
    // What is there is there.
    assert_replay(&pay(&gateway, "a", b"1").unwrap(), &first);

    replica.resume();
    wait::until("the replica to catch up", || {
        redis.query::<i64>(&["WAIT", "1", "100"]) == 1
    });
    let retry = pay(&gateway, "b", b"1").unwrap();
    assert_eq!(told(&retry), (201, "charge 2\n".to_owned()));
    assert_sound(&gateway);
}

#[test]
fn an_answer_that_no_replica_has_is_not_recorded() {
    let redis = primary();
    let replica = Arc::new(replica_of(&redis));
    // The service outlives the test, and must not keep the replica running.
    let theirs = Arc::downgrade(&replica);
    let service = Service::start(move |_, number, stream| {
        theirs.upgrade().expect("a replica").pause();
        made(stream, number)
    });
    let gateway = start(&redis, &service, json!({}));
    let answer = pay(&gateway, "k", b"1").unwrap();
    assert_eq!(told(&answer), (503, "not-recorded".to_owned()));
    wait::until("it to be counted", || event(&gateway, "not_recorded") == 1);
    replica.resume();
    wait::until("the replica to catch up", || {
        redis.query::<i64>(&["WAIT", "1", "100"]) == 1
    });
    // The primary had it, and has told the replica by now.
    let retry = pay(&gateway, "k", b"1").unwrap();
    assert_eq!(told(&retry), (201, "charge 1\n".to_owned()));
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// A commit that is tried again finds its work done; since Redis 7.2 a connection that wrote nothing would wait for
/// nothing.
#[test]
fn a_commit_that_is_repeated_waits_for_the_replica_as_well() {
    let redis = primary();
    let replica = Arc::new(replica_of(&redis));
    // The service outlives the test, and must not keep the replica running.
    let theirs = Arc::downgrade(&replica);
    let service = Service::start(move |_, number, stream| {
        theirs.upgrade().expect("a replica").pause();
        made(stream, number)
    });
    let gateway = start(&redis, &service, json!({}));
    let answer = thread::scope(|scope| {
        let answer = scope.spawn(|| pay(&gateway, "k", b"1").unwrap());
        wait::until("the first try to fail", || {
            count(&gateway, "redis.error.not_durable") >= 1
        });
        replica.resume();
        answer.join().unwrap()
    });
    assert_eq!(told(&answer), (201, "charge 1\n".to_owned()));
    let offset = |redis: &Redis| {
        let state: String = redis.query(&["INFO", "replication"]);
        state
            .lines()
            .find(|line| line.starts_with("master_repl_offset"))
            .unwrap()
            .to_owned()
    };
    wait::until("the replica to have it all", || {
        offset(&replica) == offset(&redis)
    });
    assert_eq!(records(&replica).len(), 1);
}
