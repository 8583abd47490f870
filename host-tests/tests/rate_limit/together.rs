//! Several limits on one request: it passes all of them or is charged by none, in whatever modes they count.

use std::ops::RangeInclusive;

use host_tests::client::{Client, Response};
use host_tests::gateway::{Gateway, Route};
use host_tests::limits::{assert_sound, count, policy_with_redis, troubles, until_counted, with};
use host_tests::redis::Redis;
use host_tests::redis_cluster::RedisCluster;
use serde_json::{Value, json};

const MODES: [&str; 3] = ["local", "strict", "leased"];

/// A limit that lets `tokens` through within a test, in any mode: a lease is on top, as it comes out of the burst.
fn limit(name: &str, prefix: &str, key: &str, tokens: u64, mode: &str) -> Value {
    const LEASE: u64 = 2;
    let mut limit = json!({
        "name": name, "match": {"path": {"prefix": prefix}}, "key": [{"header": key}], "mode": mode,
        "rate": {"limit": tokens, "period": "1d"}, "cost": {"header": "x-cost", "max": 3},
    });
    if mode == "leased" {
        limit["rate"]["limit"] = (tokens + LEASE).into();
        limit["lease"] = json!({"tokens": LEASE});
    }
    limit
}

fn ask(client: &mut Client, path: &str, user: &str, team: &str, cost: &str) -> Response {
    client
        .get(
            path,
            &[("x-user", user), ("x-team", team), ("x-cost", cost)],
        )
        .unwrap()
}

/// One user's denials cost the team nothing, and the team's cost no user anything: all nine pairs of modes, in both
/// orders.
#[test]
fn a_request_that_one_limit_denies_is_charged_by_no_other() {
    let redis = Redis::start();
    let mut limits = Vec::new();
    let mut paths = Vec::new();
    for user in MODES {
        for team in MODES {
            for user_first in [true, false] {
                let path = format!("/{user}-{team}-{user_first}");
                let name = |who: &str| format!("{who}-{user}-{team}-{user_first}");
                let pair = [
                    limit(&name("user"), &path, "x-user", 3, user),
                    limit(&name("team"), &path, "x-team", 8, team),
                ];
                limits.extend(if user_first {
                    pair.to_vec()
                } else {
                    pair.into_iter().rev().collect()
                });
                paths.push(path);
            }
        }
    }
    let gateway = Gateway::builder()
        .route(Route::Direct)
        .redis(&redis)
        .policy(policy_with_redis(json!({}), json!(limits)))
        .start();
    let mut client = gateway.client();
    for path in paths {
        let mut passes = |user: &str, times: usize| {
            (0..times)
                .filter(|_| ask(&mut client, &path, user, "red", "1").status == 200)
                .count()
        };
        assert_eq!(passes("ann", 10), 3, "{path}: ann's own limit");
        assert_eq!(passes("bob", 10), 3, "{path}: bob's own limit");
        assert_eq!(passes("cyd", 10), 2, "{path}: what the team has left");
        let mut of_blue = || ask(&mut client, &path, "cyd", "blue", "1").status;
        let left = [of_blue(), of_blue()];
        assert_eq!(
            left,
            [200, 429],
            "{path}: the red team's denials cost cyd nothing"
        );
    }
    assert_eq!(troubles(&gateway), [].into());
    assert_sound(&gateway);
}

fn retry_after(response: &Response) -> u64 {
    response.header("retry-after").unwrap().parse().unwrap()
}

fn violated(response: &Response) -> Value {
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    problem["violated-policies"].clone()
}

#[test]
fn the_limit_that_denies_longest_is_the_one_reported() {
    let redis = Redis::start();
    let short =
        |mode| json!({"name": "short", "key": ["client_ip"], "rate": "1/10min", "mode": mode});
    let long =
        |mode| json!({"name": "long", "key": [{"const": "all"}], "rate": "1/hour", "mode": mode});
    const AN_HOUR: RangeInclusive<u64> = 3_540..=3_600;
    for limits in [
        [short("local"), long("local")],
        [long("strict"), short("strict")],
        // Known in the process, a denial ends it: nothing asks Redis for a longer one. So the longer one is local.
        [short("strict"), long("local")],
    ] {
        let _ = redis.cmd(&["FLUSHALL"]);
        let gateway = Gateway::builder()
            .route(Route::Direct)
            .redis(&redis)
            .policy(policy_with_redis(json!({}), json!(limits)))
            .start();
        assert_eq!(gateway.get("/", &[]).status, 200);
        for _ in 0..3 {
            let denied = gateway.get("/", &[]);
            assert_eq!(denied.status, 429);
            assert_eq!(violated(&denied), json!(["long"]), "{limits:?}");
            assert!(AN_HOUR.contains(&retry_after(&denied)), "{denied:?}");
        }
    }
}

/// The keys of a user and a team live on different masters, so each is asked by itself, and what one took is given
/// back when the other denies.
#[test]
fn what_was_taken_on_another_master_is_given_back() {
    let cluster = RedisCluster::start();
    let gateway = Gateway::builder()
        .route(Route::Pooled)
        .redis_cluster(&cluster)
        .policy(policy_with_redis(
            json!({"hash_slots": true}),
            json!([
                limit("user", "/", "x-user", 3, "strict"),
                limit("team", "/", "x-team", 8, "strict"),
            ]),
        ))
        .start();
    let mut client = gateway.client();
    let mut refunds = 0;
    for team in ["red", "green", "blue", "black"] {
        let mut status = |user: &str, cost| ask(&mut client, "/", user, team, cost).status;
        let users = ["ann", "bob", "cyd"].map(|name| format!("{name} of {team}"));
        assert_eq!(status(&users[0], "3"), 200);
        // A cost that was denied before is denied without asking; these are not.
        for cost in ["1", "2", "3"] {
            assert_eq!(status(&users[0], cost), 429);
            refunds += 1;
        }
        assert_eq!(status(&users[1], "3"), 200);
        // The team has two left: now the user's tokens come back.
        assert_eq!(status(&users[2], "3"), 429);
        refunds += 1;
        assert_eq!(status(&users[2], "2"), 200);
        assert_eq!(status(&users[2], "1"), 429);
        refunds += 1;
    }
    host_tests::wait::until("the refunds to be counted", || {
        count(&gateway, "redis.refunds") >= refunds
    });
    assert_eq!(count(&gateway, "redis.refunds"), refunds);
    assert_eq!(troubles(&gateway), [].into());
}

#[test]
fn a_shadow_is_counted_and_stops_nothing() {
    let redis = Redis::start();
    for mode in ["local", "strict"] {
        let _ = redis.cmd(&["FLUSHALL"]);
        let gateway = Gateway::builder()
            .route(Route::Direct)
            .redis(&redis)
            .policy(policy_with_redis(
                json!({}),
                json!([
                    with(
                        limit("shadow", "/", "x-user", 2, mode),
                        json!({"shadow": true})
                    ),
                    limit("real", "/", "x-user", 5, mode),
                ]),
            ))
            .start();
        let mut client = gateway.client();
        for turn in 0..8 {
            let response = ask(&mut client, "/", "ann", "red", "1");
            assert_eq!(response.status, if turn < 5 { 200 } else { 429 }, "{mode}");
            let policy = response.header("ratelimit-policy").unwrap();
            assert!(!policy.contains("shadow"), "{policy}");
            if turn >= 5 {
                assert_eq!(violated(&response), json!(["real"]));
            }
        }
        until_counted(&gateway, "shadow", "allowed", 2);
        until_counted(&gateway, "real", "allowed", 5);
        until_counted(&gateway, "real", "denied", 3);
        // It would have denied those three as well, whoever else did.
        until_counted(&gateway, "shadow", "shadow_denied", 6);
    }
}
