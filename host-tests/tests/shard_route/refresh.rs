//! Tables change while gateways run: what an operator publishes in Redis reaches every worker of every gateway, an older
//! version never takes the place of a newer one, and nothing that is wrong with Redis or with what is there takes a
//! request to the wrong shard.

use host_tests::client::Response;
use host_tests::gateway::{Builder, Gateway};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use host_tests::reload::Listener;
use host_tests::shard::{PLACE, Shards, count, echoed, publish, refreshed};
use host_tests::wait;
use serde_json::{Value, json};
use sluice_core::policy::shard_route::ShardRoute;
use tempfile::TempDir;

const SECRET: &str = "0123456789abcdef";

/// One table of one shard: who is asked says which version is in force.
fn tables(shard: &str) -> Value {
    json!({"tables": {"users": {"shards": [shard]}}})
}

fn gateway(shards: &Shards, redis: &Redis, policy: &Value) -> Builder {
    let builder = shards.gateway(policy).alternative("refresh").redis(redis);
    builder.env("SHARD_TABLES_SECRET", SECRET)
}

fn ask(gateway: &Gateway) -> Response {
    gateway.get("/echo", &[("x-user", "7")])
}

/// Where requests go now, in every worker: connections are spread over them.
fn shard(gateway: &Gateway) -> String {
    echoed(&ask(gateway), "x-shard").join(" ")
}

fn until_all_go_to(gateway: &Gateway, expected: &str) {
    wait::until(expected, || (0..20).all(|_| shard(gateway) == expected));
}

#[test]
fn every_gateway_takes_what_is_published_and_nothing_older() {
    let (shards, redis) = (Shards::start(4), Redis::start());
    let policy = refreshed(json!({}));
    let gateways = [(), ()].map(|()| gateway(&shards, &redis, &policy).workers(2).start());
    for gateway in &gateways {
        until_all_go_to(gateway, "s0");
    }
    assert!(publish(&redis, 2, &tables("s1"), None));
    for gateway in &gateways {
        until_all_go_to(gateway, "s1");
        wait::until("the version", || count(gateway, "tables_version") == 2);
        assert_eq!(count(gateway, "table.users.shard.s0.slots"), 0);
        assert_eq!(count(gateway, "table.users.shard.s1.slots"), 16_384);
    }
    assert!(publish(&redis, 5, &tables("s2"), None));
    assert!(!publish(&redis, 4, &tables("s3"), None));
    for gateway in &gateways {
        until_all_go_to(gateway, "s2");
    }
    // Redis loses what it had, and somebody puts an older version there.
    let _ = redis.cmd(&["FLUSHALL"]);
    assert!(publish(&redis, 3, &tables("s3"), None));
    for gateway in &gateways {
        let before = count(gateway, "refresh.older");
        wait::until("it to be seen", || {
            count(gateway, "refresh.older") > before + 4
        });
        assert_eq!(shard(gateway), "s2");
        // The main thread has the filter as well, and no way to Redis.
        assert_eq!(count(gateway, "refresh.failed"), 0);
        assert!(!gateway.envoy().log().contains("Redis does not say"));
        assert_sound(gateway);
    }
    // One that is started now knows no better; it has the newest that there is.
    let late = gateway(&shards, &redis, &policy).start();
    wait::until("it to know", || ask(&late).status == 200);
    assert_eq!(shard(&late), "s3");
}

#[test]
fn a_gateway_that_does_not_know_yet_refuses_and_one_that_knows_goes_on_without_redis() {
    let (shards, mut redis) = (Shards::start(3), Redis::start());
    publish(&redis, 2, &tables("s1"), None);
    let running = gateway(&shards, &redis, &refreshed(json!({}))).start();
    until_all_go_to(&running, "s1");
    redis.kill();
    wait::until("Redis to be missed", || {
        count(&running, "refresh.failed") > 0
    });
    assert_eq!(shard(&running), "s1");

    let fresh = gateway(&shards, &redis, &refreshed(json!({}))).start();
    let refused = ask(&fresh);
    wait::until("Redis to be missed", || count(&fresh, "refresh.failed") > 0);
    assert_eq!(
        (refused.status, refused.header("retry-after").as_deref()),
        (503, Some("1"))
    );
    assert!(
        refused.text().contains("shard-route-tables-unknown"),
        "{}",
        refused.text()
    );
    let own = refreshed(json!({"on_start": "policy"}));
    let own = gateway(&shards, &redis, &own).start();
    assert_eq!(shard(&own), "s0");

    redis.restart();
    publish(&redis, 3, &tables("s2"), None);
    for gateway in [&running, &fresh, &own] {
        wait::until("the tables", || {
            ask(gateway).status == 200 && shard(gateway) == "s2"
        });
        assert_sound(gateway);
    }
}

#[test]
fn only_tables_that_are_signed_count_where_the_policy_has_a_secret() {
    let (shards, redis) = (Shards::start(4), Redis::start());
    let policy = refreshed(json!({"secret": {"env": "SHARD_TABLES_SECRET"}}));
    let gateway = gateway(&shards, &redis, &policy).workers(2).start();
    until_all_go_to(&gateway, "s0");
    publish(&redis, 7, &tables("s1"), None);
    wait::until("it to be rejected", || {
        count(&gateway, "refresh.rejected") >= 2
    });
    publish(&redis, 8, &tables("s1"), Some("another secret!!"));
    wait::until("it to be rejected", || {
        count(&gateway, "refresh.rejected") >= 4
    });
    assert_eq!(shard(&gateway), "s0");
    // A good one that was not for this version.
    let _ = redis.cmd(&["DEL", PLACE]);
    publish(&redis, 2, &tables("s2"), Some(SECRET));
    until_all_go_to(&gateway, "s2");
    let _ = redis.cmd(&["HSET", PLACE, "version", "9"]);
    wait::until("it to be rejected", || {
        count(&gateway, "refresh.rejected") >= 6
    });
    assert_eq!(shard(&gateway), "s2");
    publish(&redis, 10, &tables("s3"), Some(SECRET));
    until_all_go_to(&gateway, "s3");
    let log = gateway.envoy().log();
    assert!(
        log.contains("found a signature that is missing or does not fit"),
        "{log}"
    );
    assert!(!log.contains(SECRET), "a secret in the log");
    assert_sound(&gateway);
}

#[test]
fn tables_that_do_not_fit_are_refused_with_their_mistake_and_change_nothing() {
    let (shards, redis) = (Shards::start(3), Redis::start());
    let gateway = gateway(&shards, &redis, &refreshed(json!({}))).start();
    until_all_go_to(&gateway, "s0");
    let wrong = [
        (
            json!({"tables": {"other": {"shards": ["s1"]}}}),
            "routes[0].table: found \"users\", expected one of `tables`: `other`",
        ),
        (
            json!({"tables": {"users": {"shards": []}}}),
            "tables.users.shards: found an empty list",
        ),
        (json!("s1"), "policy: found string"),
        (
            json!({"users": {"shards": ["s1"]}}),
            "users: unknown field, expected `tables` (what is published is a document",
        ),
    ];
    for (version, (tables, mistake)) in (2..).zip(wrong) {
        publish(&redis, version, &tables, None);
        let said = format!("tables of version {version} are refused: {mistake}");
        wait::until(&said, || gateway.envoy().log().contains(&said));
        assert_eq!(shard(&gateway), "s0");
    }
    let _ = redis.cmd(&["DEL", PLACE]);
    let _ = redis.cmd(&["SET", PLACE, "no hash"]);
    wait::until("Redis to refuse", || count(&gateway, "refresh.failed") > 0);
    let _ = redis.cmd(&["DEL", PLACE]);
    let _ = redis.cmd(&["HSET", PLACE, "version", "many", "tables", "{}"]);
    let said = "found no version and tables, expected what `sluice shard publish` writes";
    wait::until(said, || gateway.envoy().log().contains(said));
    assert_eq!(shard(&gateway), "s0");
    let _ = redis.cmd(&["DEL", PLACE]);
    publish(&redis, 9, &tables("s2"), None);
    until_all_go_to(&gateway, "s2");
    assert_sound(&gateway);
}

/// In the gateway's memory, for whoever comes later.
#[test]
fn a_policy_that_is_loaded_anew_goes_by_the_newest_tables_without_redis() {
    let (shards, mut redis) = (Shards::start(2), Redis::start());
    let folder = TempDir::new().unwrap();
    let listener = Listener::new(folder.path());
    let theirs = listener.clone();
    let policy = refreshed(json!({}));
    let gateway = gateway(&shards, &redis, &policy)
        .workers(2)
        .edit(move |config| theirs.take_from(config))
        .start();
    until_all_go_to(&gateway, "s0");
    publish(&redis, 2, &tables("s1"), None);
    until_all_go_to(&gateway, "s1");
    redis.kill();
    let cell = |gateway: &Gateway| echoed(&ask(gateway), "x-cell").join(" ");
    let mut other = policy.clone();
    other["headers"] = json!({"shard": "x-cell"});
    listener.change(&other);
    wait::until("the other policy", || {
        (0..20).all(|_| !cell(&gateway).is_empty())
    });
    assert_eq!(cell(&gateway), "s1");
    // Its own are newer now; and this gateway has known before that Redis has nothing newer.
    other["refresh"]["version"] = 3.into();
    listener.change(&other);
    wait::until("its own tables", || (0..20).all(|_| cell(&gateway) == "s0"));
    assert_sound(&gateway);
}

#[test]
fn a_migration_by_tables_alone_loses_no_request_and_counts_on() {
    let (shards, redis) = (Shards::start(5), Redis::start());
    let four =
        json!({"fill": "jump", "shards": ["s0", "s1", "s2", "s3"], "in_flight": {"max": 100}});
    let five = json!({"shards": ["s0", "s1", "s2", "s3", "s4"]});
    let mut policy = refreshed(json!({}));
    policy["tables"]["users"] = four.clone();
    let gateway = gateway(&shards, &redis, &policy).workers(2).start();
    wait::until("it to know", || ask(&gateway).status == 200);
    let keys: Vec<String> = (0..200).map(|key| key.to_string()).collect();
    for (version, moved) in (2..).zip(["10%", "50%", "100%"]) {
        let mut table = four.clone();
        table["migration"] = json!({"to": five, "moved": moved});
        let document = json!({"tables": {"users": table}});
        publish(&redis, version, &document, None);
        let text = policy.to_string();
        let explained =
            ShardRoute::load_with(text.as_bytes(), document.to_string().as_bytes()).unwrap();
        let expected = |key: &str| {
            let found = sluice_core::shard::explain::explain(&explained, "users", key.as_bytes());
            found.unwrap().shard
        };
        let told = |key: &str| {
            let answer = gateway.get("/echo", &[("x-user", key)]);
            assert_eq!(answer.status, 200);
            echoed(&answer, "x-shard").join(" ")
        };
        wait::until(moved, || keys.iter().all(|key| told(key) == expected(key)));
    }
    for shard in 0..5 {
        let gauge = format!("table.users.shard.s{shard}.in_flight");
        wait::until("nothing to be under way", || count(&gateway, &gauge) == 0);
    }
    let moved: u64 = (0..5)
        .map(|shard| count(&gateway, &format!("table.users.shard.s{shard}.slots")))
        .sum();
    assert_eq!(moved, 16_384);
    assert_sound(&gateway);
}
