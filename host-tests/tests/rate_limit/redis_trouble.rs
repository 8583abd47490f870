//! Whatever Redis does, a request gets the outcome that the policy has for it, in time, and the operator is told the
//! kind of trouble. The breaker stays closed here, so that every request meets the trouble itself.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use host_tests::fake_redis::{FakeRedis, Script};
use host_tests::gateway::{Gateway, Route};
use host_tests::limits::{
    GRACE, assert_sound, degraded, policy_with_redis, transport, troubles, with,
};
use host_tests::redis::Redis;
use host_tests::{ports, wait};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_millis(200);

/// What each policy for trouble makes of a client's first three requests under a limit of 2.
fn policies() -> [(Value, [u16; 3]); 3] {
    [
        (json!("deny"), [503, 503, 503]),
        (json!("allow"), [200, 200, 200]),
        (json!({"local": {}}), [200, 200, 429]),
    ]
}

fn policy(redis: Value) -> Value {
    let base = json!({"timeout": "200ms", "breaker": {"failures": 1000}});
    policy_with_redis(
        with(base, redis),
        json!([{"name": "l", "key": [{"header": "x-key"}], "rate": "2/hour", "mode": "strict"}]),
    )
}

/// Three requests of one client: their statuses, each in time.
fn three(gateway: &Gateway, key: &str) -> [u16; 3] {
    let mut client = gateway.client();
    [(); 3].map(|()| {
        let asked = Instant::now();
        let response = client.get("/", &[("x-key", key)]).expect("an answer");
        let took = asked.elapsed();
        assert!(took < TIMEOUT + GRACE, "{key} took {took:?}");
        let waits = response.header("retry-after").is_some();
        assert_eq!(waits, response.status != 200, "{key}: {response:?}");
        response.status
    })
}

/// Waits until three more of this kind are counted, and nothing else. When the time is up the gateway resets the call,
/// a moment early on a busy machine; then it looks like a reset.
fn until_told(gateway: &Gateway, kind: &str, before: &BTreeMap<String, u64>) {
    let mut expected = before.clone();
    *expected.entry(kind.to_owned()).or_default() += 3;
    let total = |troubles: &BTreeMap<String, u64>| troubles.values().sum::<u64>();
    wait::until("the trouble to be counted", || {
        total(&troubles(gateway)) >= total(&expected)
    });
    let mut counted = troubles(gateway);
    if kind == "timeout" && counted.get(kind) > before.get(kind) {
        let early = expected[kind] - counted[kind].min(expected[kind]);
        *counted.entry(kind.to_owned()).or_default() += early;
        if early > 0 {
            *counted.entry("reset".to_owned()).or_default() -= early;
        }
        counted.retain(|_, count| *count > 0);
    }
    assert_eq!(counted, expected);
}

fn error(text: &str) -> Script {
    Script::ErrorForEach(text.to_owned())
}

#[test]
fn every_kind_of_trouble_has_its_outcome_in_time_and_its_count() {
    let redis = FakeRedis::start(Script::hang());
    let kinds: [(&str, &str, Script); 13] = [
        ("hang", "timeout", Script::hang()),
        (
            "half",
            "timeout",
            Script::SayAndHang(b"*3\r\n:1\r\n".to_vec()),
        ),
        (
            "drip",
            "timeout",
            Script::Drip(vec![b"*3\r\n:1\r\n".to_vec(); 2], Duration::from_secs(1)),
        ),
        ("reset", "reset", Script::Reset),
        ("close", "truncated", Script::close()),
        (
            "cut",
            "truncated",
            Script::Say(b"*3\r\n:1\r\n:0\r\n".to_vec()),
        ),
        (
            "no-quit",
            "truncated",
            Script::Say(b"*3\r\n:1\r\n:0\r\n:0\r\n".to_vec()),
        ),
        (
            "http",
            "malformed",
            Script::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ),
        (
            "other",
            "malformed",
            Script::Say(b"$2\r\nhi\r\n+OK\r\n".to_vec()),
        ),
        (
            "loading",
            "loading",
            error("LOADING Redis is loading the dataset in memory"),
        ),
        (
            "misconf",
            "readonly",
            error("MISCONF Redis is configured to save RDB snapshots"),
        ),
        (
            "busy",
            "error",
            error("BUSY Redis is busy running a script"),
        ),
        ("noscript", "noscript", error("NOSCRIPT No matching script")),
    ];
    for (on_error, expected) in policies() {
        let gateway = Gateway::builder()
            .route(Route::Direct)
            .redis_at(&[redis.address()])
            .policy(policy(json!({"on_error": on_error})))
            .start();
        for (key, kind, script) in &kinds {
            let before = troubles(&gateway);
            redis.play(script.clone());
            assert_eq!(three(&gateway, key), expected, "{on_error}: {key}");
            until_told(&gateway, kind, &before);
        }
        let expected = 3 * kinds.len() as u64;
        wait::until("the degraded decisions to be counted", || {
            degraded(&gateway, "l") == expected
        });
        assert_sound(&gateway);
    }
}

#[test]
fn a_redis_that_is_not_there_or_frozen_is_no_wait_on_any_route() {
    let nobody: SocketAddr = (Ipv4Addr::LOCALHOST, ports::free()).into();
    let frozen = Redis::start();
    for route in [Route::Direct, Route::Pooled, Route::Stream] {
        for (address, name) in [(nobody, "nobody"), (frozen.address(), "frozen")] {
            let gateway = Gateway::builder()
                .route(route)
                .redis_at(&[address])
                .policy(policy(with(transport(route), json!({"on_error": "deny"}))))
                .start();
            frozen.pause();
            assert_eq!(three(&gateway, "ann"), [503; 3], "{route:?}: {name}");
            wait::until("the trouble to be counted", || {
                !troubles(&gateway).is_empty()
            });
            assert_sound(&gateway);
            frozen.resume();
        }
    }
}

#[test]
fn a_password_that_is_wrong_or_missing_is_told_as_such() {
    let redis = Redis::builder().password("secret").start();
    for (login, alternative) in [
        (json!({}), None),
        (json!({"password": "wrong"}), None),
        (json!({"username": "nobody", "password": "secret"}), None),
        (json!({}), Some("wrong")),
    ] {
        let mut builder = Gateway::builder()
            .route(Route::Direct)
            .redis(&redis)
            .policy(policy(with(login.clone(), json!({"on_error": "deny"}))));
        if let Some(password) = alternative {
            builder = builder
                .route(Route::Pooled)
                .alternative("auth")
                .env("REDIS_PASSWORD", password);
        }
        let gateway = builder.start();
        assert_eq!(three(&gateway, "ann"), [503; 3], "{login} {alternative:?}");
        until_told(&gateway, "auth", &[].into());
    }
    // And the right one is no trouble.
    let gateway = Gateway::builder()
        .route(Route::Direct)
        .redis(&redis)
        .policy(policy(
            json!({"on_error": "deny", "password": "secret", "timeout": "10s"}),
        ))
        .start();
    let mut client = gateway.client();
    let mut status = || client.get("/", &[("x-key", "ann")]).unwrap().status;
    assert_eq!([status(), status(), status()], [200, 200, 429]);
    assert_eq!(troubles(&gateway), [].into());
}

#[test]
fn a_redis_that_takes_no_writes_is_told_as_such_and_recovers() {
    let redis = Redis::builder()
        .option("maxmemory-policy", "noeviction")
        .start();
    let memory = |bytes| redis.cmd(&["CONFIG", "SET", "maxmemory", bytes]);
    for (on_error, expected) in policies() {
        let gateway = Gateway::builder()
            .route(Route::Direct)
            .redis(&redis)
            .policy(policy(json!({"on_error": on_error, "timeout": "200ms"})))
            .start();
        let _ = memory("1");
        assert_eq!(three(&gateway, "full"), expected, "{on_error}");
        until_told(&gateway, "oom", &[].into());
        let _ = memory("0");

        let before = troubles(&gateway);
        let _ = redis.cmd(&["REPLICAOF", "127.0.0.1", "1"]);
        assert_eq!(three(&gateway, "replica"), expected, "{on_error}");
        until_told(&gateway, "readonly", &before);
        let _ = redis.cmd(&["REPLICAOF", "NO", "ONE"]);

        let before = troubles(&gateway);
        assert_eq!(three(&gateway, "well"), [200, 200, 429], "{on_error}");
        let _ = redis.cmd(&["FLUSHALL"]);
        assert_eq!(troubles(&gateway), before);
    }
}
