//! One gateway admits exactly what a limit allows: by itself or through Redis, with one worker and with several. Tokens
//! come back so slowly that none does during a test.

use host_tests::gateway::{Gateway, Route};
use host_tests::limits::{
    assert_sound, degraded, passed_and_denied, policy, policy_with_redis, tally, transport,
    troubles, until_counted, with,
};
use host_tests::redis::Redis;
use serde_json::{Value, json};

const WORKERS: [usize; 2] = [1, 4];
const CLIENTS: usize = 20;
const EACH: usize = 15;
const SENT: usize = CLIENTS * EACH;
const BURST: usize = 50;

fn fifty_an_hour() -> Value {
    json!({"name": "hourly", "key": ["client_ip"], "rate": "50/hour"})
}

fn admits_exactly(gateway: &Gateway, passed: usize) {
    let statuses = gateway.blast(CLIENTS, EACH, "/counted", &[]);
    assert_eq!(tally(&statuses), passed_and_denied(passed, SENT - passed));
    assert_eq!(gateway.origin().hits("/counted"), passed);
    until_counted(gateway, "hourly", "allowed", passed as u64);
    until_counted(gateway, "hourly", "denied", (SENT - passed) as u64);
    assert_eq!(degraded(gateway, "hourly"), 0);
    assert_eq!(troubles(gateway), [].into());
    assert_sound(gateway);
}

#[test]
fn a_local_limit_admits_its_burst_to_the_request() {
    for workers in WORKERS {
        let gateway = Gateway::builder()
            .workers(workers)
            .policy(policy(json!([fifty_an_hour()])))
            .start();
        admits_exactly(&gateway, BURST);
    }
}

#[test]
fn a_strict_limit_admits_its_burst_to_the_request_on_every_route() {
    let redis = Redis::start();
    let limit = with(fifty_an_hour(), json!({"mode": "strict"}));
    for route in [Route::Direct, Route::Pooled, Route::Stream] {
        for workers in WORKERS {
            let _ = redis.cmd(&["FLUSHALL"]);
            let gateway = Gateway::builder()
                .workers(workers)
                .route(route)
                .redis(&redis)
                .policy(policy_with_redis(transport(route), json!([limit])))
                .start();
            admits_exactly(&gateway, BURST);
        }
    }
}

/// A lease of 10 takes as many from the burst, and since no lease ends here, none is lost.
#[test]
fn a_leased_limit_admits_its_burst_less_a_lease() {
    const LEASE: usize = 10;
    let redis = Redis::start();
    let limit = with(
        fifty_an_hour(),
        json!({"mode": "leased", "lease": {"tokens": LEASE}}),
    );
    for workers in WORKERS {
        let _ = redis.cmd(&["FLUSHALL"]);
        let gateway = Gateway::builder()
            .workers(workers)
            .route(Route::Direct)
            .redis(&redis)
            .policy(policy_with_redis(json!({}), json!([limit])))
            .start();
        admits_exactly(&gateway, BURST - LEASE);
    }
}

#[test]
fn a_cost_takes_as_many_tokens_and_the_rest_stays() {
    let redis = Redis::start();
    for mode in ["local", "strict"] {
        let limit = with(
            fifty_an_hour(),
            json!({"mode": mode, "cost": {"header": "x-cost", "max": 100}}),
        );
        let gateway = Gateway::builder()
            .workers(2)
            .route(Route::Direct)
            .redis(&redis)
            .policy(policy_with_redis(json!({}), json!([limit])))
            .start();
        // 7 sevens fit, and one token is left.
        let statuses = gateway.blast(5, 10, "/", &[("x-cost", "7")]);
        assert_eq!(tally(&statuses), passed_and_denied(7, 43), "{mode}");
        assert_eq!(gateway.get("/", &[("x-cost", "0")]).status, 200, "{mode}");
        assert_eq!(gateway.get("/", &[]).status, 200, "{mode}");
        assert_eq!(gateway.get("/", &[]).status, 429, "{mode}");
        assert_eq!(gateway.get("/", &[("x-cost", "0")]).status, 200, "{mode}");
    }
}
