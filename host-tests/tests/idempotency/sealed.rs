//! `at_rest`: Redis never sees an answer, and its keys come from the environment of Envoy.

use std::io::Write;

use host_tests::gateway::{Builder, Gateway};
use host_tests::idempotency::{Service, assert_replay, gateway, pay, policy, records, told};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use serde_json::json;

/// 32 bytes each, in base64.
const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "/wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// An answer of 174 KB that repeats itself.
fn service() -> Service {
    Service::start(|_, number, stream| {
        let body = format!("charge {number} of 4111111111111111\n").repeat(6_000);
        write!(
            stream,
            "HTTP/1.1 201 Created\r\nx-card: 4111\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(true)
    })
}

/// With keys of these names, which the variables of the same names hold.
fn sealing(service: &Service, redis: &Redis, keys: &[&str]) -> Builder {
    let named: Vec<_> = keys
        .iter()
        .map(|key| json!({"id": key, "env": key}))
        .collect();
    let mut policy = policy(json!({}), json!({}));
    policy["at_rest"] = json!({"compress_from": "1KiB", "keys": named});
    gateway(service.address(), policy)
        .redis(redis)
        .env("OLD", OLD)
        .env("NEW", NEW)
        .edit(|config| {
            config.filter()["vm_config"]["environment_variables"] =
                json!({"host_env_keys": ["OLD", "NEW"]});
        })
}

fn stored(redis: &Redis) -> Vec<u8> {
    let [record] = records(redis).try_into().unwrap();
    redis.query(&["HGET", &record, "answer"])
}

fn ask(gateway: &Gateway) -> host_tests::client::Response {
    pay(gateway, "k", b"1").unwrap()
}

#[test]
fn redis_holds_what_only_the_key_opens_and_keys_are_replaced() {
    let (redis, service) = (Redis::start(), service());
    let first = {
        let gateway = sealing(&service, &redis, &["OLD"]).start();
        let first = ask(&gateway);
        assert_eq!((first.status, first.body.len()), (201, 6_000 * 29));
        let bytes = stored(&redis);
        assert_eq!(&bytes[..7], b"SI\x03\x03OLD");
        assert!(bytes.len() < 10_000, "compressed: {}", bytes.len());
        assert!(!bytes.windows(4).any(|window| window == b"4111"));
        assert_replay(&ask(&gateway), &first);
        assert_sound(&gateway);
        first
    };
    let both = sealing(&service, &redis, &["NEW", "OLD"]).start();
    assert_replay(&ask(&both), &first);
    drop(both);
    // Gone too soon: an error of its own, and nothing runs.
    let gone = sealing(&service, &redis, &["NEW"]).start();
    assert_eq!(told(&ask(&gone)), (500, "record-corrupt".to_owned()));
    assert_eq!(service.count(), 1);
    assert_sound(&gone);
}

#[test]
fn envoy_does_not_start_without_the_keys() {
    let (redis, service) = (Redis::start(), service());
    let log = sealing(&service, &redis, &["OLD", "LOST"])
        .try_start()
        .expect_err("a refusal");
    let expected = "at_rest.keys[1].env: found no variable LOST in the VM's environment";
    assert!(log.contains(expected), "{log}");
    let log = sealing(&service, &redis, &["OLD"])
        .env("OLD", "c2hvcnQ=")
        .try_start()
        .expect_err("a refusal");
    let expected = "at_rest.keys[0].env: found 5 bytes, expected 32 bytes in base64";
    assert!(log.contains(expected), "{log}");
    assert!(!log.contains("c2hvcnQ="), "a key in the log");
}
