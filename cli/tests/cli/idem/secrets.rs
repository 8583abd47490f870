//! The keys and the password that a policy names.

use redis::Value;
use sluice_core::idempotency::store::Kind;

use super::{Desk, MINUTE};
use crate::common::Store;
use host_tests::redis::Redis;

const SEALED: &str = r#"{"redis": {"cluster": "redis"},
    "at_rest": {"keys": [{"id": "k", "env": "IDEMPOTENCY_KEY"}]},
    "routes": [{"name": "pay", "scope": [{"header": "x-account"}]}]}"#;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn an_answer_is_sealed_where_the_policy_has_keys() {
    let mut desk = Desk::new(SEALED);
    let claim = desk.store.unknown("ann", "k");
    let body = desk.file("body", b"secret");
    let digits = claim.scope.hex();
    let resolve = [
        "resolve",
        digits.as_str(),
        "--completed",
        "200",
        "--body",
        body.to_str().unwrap(),
        "--yes",
    ];
    let without = desk.idem(&resolve);
    assert_eq!(without.code, 1);
    assert!(
        without.error.contains("found no variable IDEMPOTENCY_KEY"),
        "{}",
        without.error
    );
    // To look does not take the keys.
    assert_eq!(desk.list(&[]).len(), 1);

    desk.environment = vec![("IDEMPOTENCY_KEY", KEY)];
    assert_eq!(desk.idem(&resolve).code, 0);
    let (_, parts) = desk.store.acquire(&desk.store.claim("ann", "k", 2, MINUTE));
    let Value::BulkString(bytes) = &parts[0] else {
        panic!("{parts:?}")
    };
    let settings = desk
        .store
        .policy
        .settings(|_| Some(KEY.to_owned()))
        .unwrap();
    let record = settings.keys().record(&claim.scope);
    let opened = settings
        .at_rest
        .open(&bytes.clone().into(), Kind::Answer, &record)
        .unwrap();
    assert_eq!(&opened.body[..], b"secret");
    let shown = desk.idem(&["show", &digits]);
    assert!(shown.out.contains("body       6 bytes"), "{}", shown.out);
    desk.environment = vec![(
        "IDEMPOTENCY_KEY",
        "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    )];
    let other = desk.idem(&["show", &digits]);
    assert_eq!(other.code, 1);
    assert!(other.error.contains("cannot be opened"), "{}", other.error);
}

#[test]
fn the_policys_password_is_used_and_a_redis_that_is_away_is_told() {
    let policy = r#"{"redis": {"cluster": "redis", "password": {"env": "REDIS_PASSWORD"}},
        "routes": [{"name": "pay", "scope": [{"header": "x-account"}]}]}"#;
    let redis = Redis::builder().password("hush").start();
    let mut desk = Desk::on(Store::on(redis, policy), policy);
    let refused = desk.idem(&["list"]);
    assert_eq!(refused.code, 3);
    assert!(refused.error.starts_with("redis: "), "{}", refused.error);
    desk.environment = vec![("REDIS_PASSWORD", "hush")];
    assert_eq!(desk.idem(&["list"]).code, 0);
    desk.store.redis.kill();
    let away = desk.idem(&["list"]);
    assert_eq!(away.code, 3);
    assert!(away.error.starts_with("redis: "), "{}", away.error);
}
