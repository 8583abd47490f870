//! The ways from a POST to Redis that the examples ship: a pipeline goes in, its replies come out, whatever Redis it is.
//! Here a client posts to the cluster that the filter would call.

use host_tests::client::Response;
use host_tests::fake_redis::{FakeRedis, Script};
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::redis::{Redis, speaks_tls};
use host_tests::redis_cluster::RedisCluster;
use host_tests::tls::Certificates;

const BOTH: [Route; 2] = [Route::Direct, Route::Pooled];

/// A gateway that forwards its clients' requests to the cluster of the filter's calls.
fn exposed(route: Route) -> Builder {
    Gateway::builder()
        .route(route)
        .wasm("noop")
        .edit(|config| config.route_to("sluice-redis"))
}

fn resp(commands: &[&[&str]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for words in commands {
        bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in *words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }
    bytes
}

fn post(gateway: &Gateway, commands: &[&[&str]]) -> Response {
    gateway
        .client()
        .send::<&str>("POST", "/", &[], &resp(commands))
        .expect("the gateway answers")
}

/// Posts a pipeline, which must work out, and returns the replies.
fn replies(gateway: &Gateway, commands: &[&[&str]]) -> String {
    let response = post(gateway, commands);
    assert_eq!(response.status, 200);
    response.text()
}

#[test]
fn a_pipeline_is_answered_in_order_up_to_its_quit() {
    let redis = Redis::start();
    for route in BOTH {
        let gateway = exposed(route).redis(&redis).start();
        let all = replies(
            &gateway,
            &[
                &["SET", "a", "1"],
                &["EVAL", "return redis.call('INCR', KEYS[1])", "1", "a"],
                &["GET", "a"],
                &["QUIT"],
            ],
        );
        assert_eq!(all, "+OK\r\n:2\r\n$1\r\n2\r\n+OK\r\n", "{route:?}");
    }
}

#[test]
fn a_script_that_redis_lacks_is_told_and_runs_by_its_hash_once_loaded() {
    let redis = Redis::start();
    const SCRIPT: &str = "return redis.call('TIME')[1] and 7";
    for route in BOTH {
        let gateway = exposed(route).redis(&redis).start();
        let _ = redis.cmd(&["SCRIPT", "FLUSH"]);
        let hash: String = redis.query(&["SCRIPT", "LOAD", SCRIPT]);
        let _ = redis.cmd(&["SCRIPT", "FLUSH"]);
        let unknown = replies(&gateway, &[&["EVALSHA", &hash, "1", "k"], &["QUIT"]]);
        assert!(
            unknown.starts_with("-NOSCRIPT") && unknown.ends_with("\r\n+OK\r\n"),
            "{route:?}: {unknown}"
        );
        assert_eq!(
            replies(&gateway, &[&["EVAL", SCRIPT, "1", "k"], &["QUIT"]]),
            ":7\r\n+OK\r\n",
            "{route:?}"
        );
        assert_eq!(
            replies(&gateway, &[&["EVALSHA", &hash, "1", "k"], &["QUIT"]]),
            ":7\r\n+OK\r\n",
            "{route:?}"
        );
    }
}

#[test]
fn the_pooled_route_keeps_its_connections() {
    let redis = Redis::start();
    let connections = || {
        let stats: String = redis.query(&["INFO", "stats"]);
        let count = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"))
            .unwrap();
        count.trim().parse::<u64>().unwrap()
    };
    let gateway = exposed(Route::Pooled).redis(&redis).start();
    let _ = replies(&gateway, &[&["GET", "a"], &["QUIT"]]);
    let before = connections();
    for _ in 0..20 {
        let _ = replies(&gateway, &[&["GET", "a"], &["QUIT"]]);
    }
    // Asking for the count takes a connection, too.
    assert_eq!(connections() - before, 1);
}

#[test]
fn the_pooled_route_cuts_no_large_answer_short() {
    let redis = Redis::start();
    let _ = redis.cmd(&["SET", "big", &"x".repeat(1_000_000)]);
    let gateway = exposed(Route::Pooled).redis(&redis).start();
    let mut commands: Vec<&[&str]> = vec![&["GET", "big"]; 8];
    commands.push(&["QUIT"]);
    let all = replies(&gateway, &commands);
    assert_eq!(
        all.len(),
        8 * ("$1000000\r\n".len() + 1_000_002) + "+OK\r\n".len()
    );
}

#[test]
fn the_pooled_route_finds_the_node_of_a_redis_cluster() {
    let cluster = RedisCluster::start();
    let gateway = exposed(Route::Pooled).redis_cluster(&cluster).start();
    const SCRIPT: &str = "return redis.call('INCR', KEYS[1])";
    for number in 0..30 {
        let key = format!("{{{number}}}");
        let all = replies(
            &gateway,
            &[
                &["EVAL", SCRIPT, "1", &key],
                &["EVAL", SCRIPT, "1", &key],
                &["QUIT"],
            ],
        );
        assert_eq!(all, ":1\r\n:2\r\n+OK\r\n", "{key}");
    }
    let keys: Vec<i64> = cluster
        .nodes()
        .iter()
        .map(|node| node.query(&["DBSIZE"]))
        .collect();
    assert_eq!(keys.iter().sum::<i64>(), 30);
    assert!(
        keys.iter().all(|count| *count > 0),
        "each node has some of {keys:?}"
    );
}

#[test]
fn the_pooled_route_gives_the_password() {
    let redis = Redis::builder().password("secret").start();
    let gateway = exposed(Route::Pooled)
        .redis(&redis)
        .alternative("auth")
        .env("REDIS_PASSWORD", "secret")
        .start();
    assert_eq!(
        replies(&gateway, &[&["SET", "a", "1"], &["QUIT"]]),
        "+OK\r\n+OK\r\n"
    );
    let gateway = exposed(Route::Pooled)
        .redis(&redis)
        .alternative("auth")
        .env("REDIS_PASSWORD", "wrong")
        .start();
    let refused = replies(&gateway, &[&["SET", "a", "1"], &["QUIT"]]);
    assert!(refused.starts_with('-'), "{refused}");
}

#[test]
fn both_routes_speak_tls() {
    if !speaks_tls() {
        eprintln!("skipped: this redis-server is built without TLS");
        return;
    }
    let redis = Redis::builder().tls().start();
    for route in BOTH {
        let gateway = exposed(route).redis_tls(&redis).start();
        assert_eq!(
            replies(&gateway, &[&["SET", "a", "1"], &["QUIT"]]),
            "+OK\r\n+OK\r\n",
            "{route:?}"
        );

        let stranger = Certificates::new();
        let authority = stranger.authority();
        let wary = exposed(route)
            .redis_tls(&redis)
            .edit(move |config| config.trusted_authority("redis", &authority))
            .start();
        let answer = post(&wary, &[&["SET", "a", "2"], &["QUIT"]]);
        assert!(
            answer.status == 503 || answer.text().starts_with('-'),
            "{route:?}: {answer:?}"
        );
        assert_eq!(redis.query::<i64>(&["GET", "a"]), 1);
    }
}

#[test]
fn a_redis_that_is_down_is_told_at_once() {
    let mut redis = Redis::start();
    let direct = exposed(Route::Direct).redis(&redis).start();
    let pooled = exposed(Route::Pooled).redis(&redis).start();
    redis.kill();
    assert_eq!(post(&direct, &[&["GET", "a"], &["QUIT"]]).status, 503);
    let all = replies(&pooled, &[&["GET", "a"], &["QUIT"]]);
    assert!(
        all.starts_with('-') && all.ends_with("\r\n+OK\r\n"),
        "{all}"
    );
    redis.restart();
    for gateway in [direct, pooled] {
        assert_eq!(
            replies(&gateway, &[&["SET", "a", "1"], &["QUIT"]]),
            "+OK\r\n+OK\r\n"
        );
    }
}

#[test]
fn an_error_of_redis_reaches_the_caller() {
    let fake = FakeRedis::start(Script::ErrorForEach(
        "LOADING Redis is loading the dataset in memory".to_owned(),
    ));
    for route in BOTH {
        let gateway = exposed(route).redis_at(&[fake.address()]).start();
        let all = replies(&gateway, &[&["GET", "a"], &["GET", "b"], &["QUIT"]]);
        assert_eq!(all.matches("-LOADING").count(), 2, "{route:?}: {all}");
        assert!(all.ends_with("\r\n+OK\r\n"), "{route:?}: {all}");
    }
}
