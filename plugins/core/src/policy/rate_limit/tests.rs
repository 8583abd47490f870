//! What a good policy comes to. What is wrong with bad ones is in `refusals`.

use std::time::Duration;

use super::*;
use crate::policy::examples;
use crate::policy::redis::{Batch, Breaker, Secret};
use crate::selector::testing::Fake;

mod refusals;

fn subject(limit: &Limit, client_ip: &ClientIp, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let request = Fake::new(headers);
    limit.key.extract(&request, client_ip, &mut out).unwrap();
    out
}

#[test]
fn every_example_loads() {
    for (name, example) in examples::RATE_LIMIT {
        if let Err(error) = RateLimit::load(example.as_bytes()) {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn the_minimal_example_takes_every_default() {
    let policy = RateLimit::load(examples::RATE_LIMIT[0].1.as_bytes()).unwrap();
    assert_eq!(policy.headers, HeaderStyle::Draft);
    assert_eq!(policy.retry_after_jitter, Duration::ZERO);
    assert!(policy.redis.is_none());
    assert_eq!(policy.local.slots, 65_536);
    assert_eq!(policy.local.ways, 8);
    assert_eq!(policy.local.on_overflow, Overflow::Deny);
    assert_eq!(policy.local.memory_bytes(), 524_288 * 56);
    let [limit] = policy.limits.as_slice() else {
        panic!("one limit");
    };
    assert_eq!(limit.name, "per-client");
    let rate = Rate {
        limit: 100,
        period: Duration::from_secs(60),
        burst: 100,
    };
    assert_eq!(limit.rate, rate);
    assert_eq!(limit.cost, Cost::Constant(1));
    assert_eq!(limit.mode, Mode::Local);
    assert_eq!(limit.on_missing_key, OnMissingKey::Skip);
    assert!(!limit.shadow);
    assert!(limit.overrides.is_empty());
    let response = Response {
        status: 429,
        body: None,
        content_type: None,
        headers: Vec::new(),
    };
    assert_eq!(limit.response, response);
    assert!(limit.matcher.matches(&Fake::new::<&str, &str>(&[])));
}

#[test]
fn the_redis_example_takes_the_other_defaults() {
    let policy = RateLimit::load(examples::RATE_LIMIT[1].1.as_bytes()).unwrap();
    assert_eq!(policy.on_redis_error, OnError::Local { fraction: 0.5 });
    let redis = policy.redis.unwrap();
    assert_eq!(redis.cluster_name, "redis");
    assert_eq!(redis.key_prefix, "sluice");
    assert_eq!(redis.database, 0);
    assert_eq!(redis.username, None);
    assert_eq!(redis.password, Some(Secret::Env("REDIS_PASSWORD".into())));
    assert!(!redis.hash_slots);
    let breaker = Breaker {
        failures: 5,
        open_for: Duration::from_secs(5),
    };
    assert_eq!(redis.breaker, breaker);
    let batch = Batch {
        max_commands: 128,
        max_bytes: 1 << 20,
        in_flight: 2,
    };
    assert_eq!(redis.batch, batch);
    assert_eq!(policy.limits[0].mode, Mode::Leased { tokens: 100 });
    assert_eq!(policy.limits[1].mode, Mode::Strict);
}

#[test]
fn the_full_example_comes_to_what_it_says() {
    let policy = RateLimit::load(examples::RATE_LIMIT[2].1.as_bytes()).unwrap();
    let api_key = &policy.limits[0];
    let cost = Cost::Header {
        name: "x-cost".into(),
        max: 50,
        default: 1,
    };
    assert_eq!(api_key.cost, cost);
    assert_eq!(api_key.on_missing_key, OnMissingKey::Deny);
    assert_eq!(api_key.mode, Mode::Leased { tokens: 100 });
    let found = |key| {
        let subject = subject(api_key, &policy.client_ip, &[("x-api-key", key)]);
        api_key.overrides.get(&subject).copied()
    };
    let partner = Rate {
        limit: 60_000,
        period: Duration::from_secs(60),
        burst: 5_000,
    };
    assert_eq!(found("partner"), Some(Override::Rate(partner)));
    assert_eq!(found("monitoring"), Some(Override::Unlimited));
    assert_eq!(found("revoked"), Some(Override::Deny));
    assert_eq!(found("somebody"), None);
    assert_eq!(
        api_key.response.headers,
        [("x-limited-by".to_owned(), "sluice".to_owned())]
    );
}

#[test]
fn an_override_of_an_address_is_for_all_that_share_its_prefix() {
    let policy = RateLimit::load(
        br#"{"client_ip": {"ipv4_prefix": 24}, "limits": [{"name": "a", "key": ["client_ip"], "rate": "1/s",
            "overrides": [{"key": ["198.51.100.77"], "deny": true}]}]}"#,
    )
    .unwrap();
    let limit = &policy.limits[0];
    let subject = subject(limit, &policy.client_ip, &[]);
    assert_eq!(limit.overrides.get(&subject), Some(&Override::Deny));
}

#[test]
fn a_missing_part_takes_the_default_and_the_others_stay() {
    let policy = RateLimit::load(
        br#"{"limits": [{"name": "a", "key": [{"header": "x"}, "client_ip"], "rate": "1/s",
            "on_missing_key": {"default": "none"}}]}"#,
    )
    .unwrap();
    let limit = &policy.limits[0];
    assert_eq!(
        subject(limit, &policy.client_ip, &[]),
        b"\0\0\0\x04none\0\0\0\x04\xc6\x33\x64\x07"
    );
}

#[test]
fn a_lease_leaves_room_in_the_burst_of_every_client() {
    let policy = RateLimit::load(
        br#"{"redis": {"cluster": "r"}, "limits": [
            {"name": "a", "key": ["consumer"], "rate": "100/s", "mode": "leased", "lease": {"tokens": 60},
             "overrides": [{"key": ["slow"], "rate": "10/s"}]},
            {"name": "b", "key": ["consumer"], "rate": "4/s", "mode": "leased"}]}"#,
    )
    .unwrap();
    let limit = &policy.limits[0];
    assert_eq!(limit.lease_tokens(&limit.rate), 60);
    let slow = Rate {
        limit: 10,
        period: Duration::from_secs(1),
        burst: 10,
    };
    assert_eq!(limit.lease_tokens(&slow), 2);
    assert_eq!(policy.limits[1].mode, Mode::Leased { tokens: 0 });
}

#[test]
fn a_rate_of_nothing_needs_no_burst_and_no_cost() {
    let policy = RateLimit::load(
        br#"{"limits": [{"name": "closed", "key": ["client_ip"], "rate": "0/s", "cost": 7}]}"#,
    )
    .unwrap();
    assert_eq!(policy.limits[0].rate.burst, 0);
}

#[test]
fn a_password_is_not_shown() {
    let secret = Secret::Inline("hunter2".into());
    assert_eq!(format!("{secret:?}"), "Inline(..)");
}

#[test]
fn a_table_has_room_for_what_was_asked() {
    for (entries, slots) in [
        (1, 1),
        (8, 1),
        (9, 2),
        (524_288, 65_536),
        (524_289, 131_072),
    ] {
        assert_eq!(
            LocalTable::with_entries(entries, Overflow::Allow).slots,
            slots
        );
    }
}
