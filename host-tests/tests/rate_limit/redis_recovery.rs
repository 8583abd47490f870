//! A Redis that is in trouble is left alone for a while, and used again by itself once it is back.

use std::thread;
use std::time::{Duration, Instant};

use host_tests::gateway::{Gateway, Route};
use host_tests::limits::{
    assert_sound, count, passed_and_denied, policy_with_redis, tally, transport, troubles, with,
};
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::{Value, json};

const ROUTES: [Route; 3] = [Route::Direct, Route::Pooled, Route::Stream];

fn strict(rate: &str) -> Value {
    json!([{"name": "l", "key": [{"header": "x-key"}], "rate": rate, "mode": "strict"}])
}

fn gateway(route: Route, redis: &Redis, settings: Value, rate: &str) -> Gateway {
    let settings = with(
        with(transport(route), json!({"on_error": "deny"})),
        settings,
    );
    Gateway::builder()
        .route(route)
        .redis(redis)
        .policy(policy_with_redis(settings, strict(rate)))
        .start()
}

fn until_well(gateway: &Gateway) {
    let mut client = gateway.client();
    wait::until("Redis to be used again", || {
        client.get("/", &[("x-key", "probe")]).unwrap().status == 200
    });
    wait::until("the breaker to be closed", || {
        count(gateway, "redis.breaker_open") == 0
    });
}

/// Frozen, it costs the first few requests their timeout and the others nothing; thawed, it counts on.
#[test]
fn the_breaker_spares_requests_the_wait_and_closes_by_itself() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    for route in ROUTES {
        let redis = Redis::start();
        let settings =
            json!({"timeout": "400ms", "breaker": {"failures": 2, "open_for": "1500ms"}});
        let gateway = gateway(route, &redis, settings, "100000/hour");
        let mut client = gateway.client();
        let mut ask = || client.get("/", &[("x-key", "ann")]).unwrap().status;
        assert_eq!(ask(), 200, "{route:?}");
        redis.pause();
        wait::until("the breaker to open", || {
            assert_eq!(ask(), 503);
            count(&gateway, "redis.breaker_open") == 1
        });
        // While it is open all of these together take less than one of them would wait; a probe may be among them.
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let asked = Instant::now();
            for _ in 0..10 {
                assert_eq!(ask(), 503);
            }
            fastest = fastest.min(asked.elapsed());
        }
        assert!(fastest < TIMEOUT, "{route:?}: {fastest:?}");
        wait::until("the requests that were not sent to be counted", || {
            troubles(&gateway).get("breaker_open") > Some(&0)
        });
        redis.resume();
        until_well(&gateway);
        let before = troubles(&gateway);
        assert_eq!([ask(), ask(), ask()], [200; 3]);
        assert_eq!(troubles(&gateway), before);
        assert_sound(&gateway);
    }
}

/// Killed while a crowd asks, and started again: each request has an answer, and what is counted afterwards is exact.
#[test]
fn a_redis_that_is_killed_under_load_and_comes_back_loses_no_request() {
    for route in ROUTES {
        let mut redis = Redis::start();
        let settings = json!({"timeout": "500ms", "breaker": {"failures": 5, "open_for": "100ms"}});
        let gateway = gateway(route, &redis, settings, "20/hour");
        let statuses = thread::scope(|scope| {
            let crowd = scope.spawn(|| {
                host_tests::client::blast(gateway.address(), 8, 200, |number, turn| {
                    let key = format!("crowd-{number}-{}", turn / 20);
                    ("/".to_owned(), vec![("x-key".to_owned(), key)])
                })
            });
            wait::until("the crowd to be served", || gateway.origin().hits("/") > 50);
            redis.kill();
            let statuses = crowd.join().unwrap();
            redis.restart();
            statuses
        });
        let tally_of_all = tally(&statuses);
        assert_eq!(tally_of_all.values().sum::<usize>(), 1_600);
        assert!(
            tally_of_all
                .keys()
                .all(|status| [200, 503].contains(status)),
            "{route:?}: {tally_of_all:?}"
        );
        until_well(&gateway);
        let statuses = gateway.blast(5, 10, "/", &[("x-key", "after")]);
        assert_eq!(tally(&statuses), passed_and_denied(20, 30), "{route:?}");
        assert_sound(&gateway);
    }
}

#[test]
fn scripts_that_redis_forgot_are_no_trouble() {
    for route in ROUTES {
        let redis = Redis::start();
        let gateway = gateway(route, &redis, json!({}), "30/hour");
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.extend(gateway.blast(4, 3, "/", &[("x-key", "ann")]));
            let _ = redis.cmd(&["SCRIPT", "FLUSH"]);
        }
        assert_eq!(tally(&statuses), passed_and_denied(30, 30), "{route:?}");
        assert_eq!(troubles(&gateway), [].into());
    }
}
