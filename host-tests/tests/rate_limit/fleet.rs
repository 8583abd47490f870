//! Several gateways on one Redis, or on a Redis Cluster, admit together what a limit allows.

use std::sync::Arc;
use std::thread;

use host_tests::client;
use host_tests::gateway::{Gateway, Route};
use host_tests::limits::{passed_and_denied, policy_with_redis, tally, troubles};
use host_tests::origin::Origin;
use host_tests::redis::Redis;
use host_tests::redis_cluster::RedisCluster;
use serde_json::{Value, json};

const BURST: usize = 60;
const LEASE: usize = 12;

/// Two gateways of two workers each, under fire at the same time; how many requests passed of how many.
fn two_gateways(limit: Value) -> (usize, usize) {
    let redis = Redis::start();
    let origin = Arc::new(Origin::start());
    let start = || {
        Gateway::builder()
            .workers(2)
            .route(Route::Direct)
            .redis(&redis)
            .origin(&origin)
            .policy(policy_with_redis(json!({}), json!([limit])))
            .start()
    };
    let gateways = [start(), start()];
    let statuses: Vec<u16> = thread::scope(|scope| {
        let crowds = gateways
            .each_ref()
            .map(|gateway| scope.spawn(move || gateway.blast(10, 20, "/counted", &[])));
        crowds
            .into_iter()
            .flat_map(|crowd| crowd.join().unwrap())
            .collect()
    });
    for gateway in &gateways {
        assert_eq!(troubles(gateway), [].into());
    }
    let passed = origin.hits("/counted");
    assert_eq!(
        tally(&statuses),
        passed_and_denied(passed, statuses.len() - passed)
    );
    (passed, statuses.len())
}

#[test]
fn two_gateways_share_a_strict_limit_to_the_request() {
    let limit =
        json!({"name": "shared", "key": ["client_ip"], "rate": "60/hour", "mode": "strict"});
    assert_eq!(two_gateways(limit), (BURST, 400));
}

#[test]
fn two_gateways_never_pass_a_leased_limit() {
    let limit = json!({
        "name": "shared", "key": ["client_ip"], "rate": "60/hour", "mode": "leased",
        "lease": {"tokens": LEASE},
    });
    let (passed, _) = two_gateways(limit);
    assert!(passed <= BURST, "{passed}");
    // What one gateway still held when its own crowd had gone is lost to the other.
    assert!(passed >= BURST - 2 * LEASE, "{passed}");
    assert!(
        passed <= BURST - LEASE,
        "Redis lends no more than that: {passed}"
    );
}

fn calls(redis: &Redis, command: &str) -> u64 {
    let stats: String = redis.query(&["INFO", "commandstats"]);
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[test]
fn a_redis_cluster_counts_each_client_to_the_request_on_its_own_master() {
    const SUBJECTS: usize = 24;
    let cluster = RedisCluster::start();
    let limit =
        json!({"name": "key", "key": [{"header": "x-key"}], "rate": "5/hour", "mode": "strict"});
    let gateway = Gateway::builder()
        .workers(2)
        .route(Route::Pooled)
        .redis_cluster(&cluster)
        .policy(policy_with_redis(
            json!({"hash_slots": true}),
            json!([limit]),
        ))
        .start();
    // Each client of the crowd asks for every subject, from another one on.
    let ask = |round: &'static str| {
        client::blast(gateway.address(), 8, SUBJECTS, move |number, turn| {
            let subject = (number * 3 + turn) % SUBJECTS;
            (
                format!("/{round}/{subject}"),
                vec![("x-key".to_owned(), format!("{round}-{subject}"))],
            )
        })
    };
    let exact = |round: &str| {
        for subject in 0..SUBJECTS {
            let path = format!("/{round}/{subject}");
            assert_eq!(gateway.origin().hits(&path), 5, "{path}");
        }
    };
    let expected = passed_and_denied(5 * SUBJECTS, 3 * SUBJECTS);
    assert_eq!(tally(&ask("one")), expected);
    exact("one");
    for node in cluster.nodes() {
        // The first calls name a script that the master does not know, and are sent again with its text.
        assert!(calls(node, "evalsha") > 0 && calls(node, "eval") > 0);
        assert!(node.query::<u64>(&["DBSIZE"]) > 0);
        let _ = node.cmd(&["SCRIPT", "FLUSH"]);
    }
    let before = calls(&cluster.nodes()[0], "eval");
    assert_eq!(tally(&ask("two")), expected);
    exact("two");
    assert!(calls(&cluster.nodes()[0], "eval") > before);
    assert_eq!(troubles(&gateway), [].into());
}
