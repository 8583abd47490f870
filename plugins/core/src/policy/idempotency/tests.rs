//! What a good policy comes to. What is wrong with bad ones is in `refusals`.

use std::time::Duration;

use super::*;
use crate::gcra::PS_PER_S;
use crate::idempotency::seal::Plain;
use crate::idempotency::settings::{
    CommitOrder, HeaderFilter, KeyMode, OnCommitError, OnStoreError, OnTimeout, Outbox,
    Redis as RedisSettings, Settings, Store, Trim,
};
use crate::policy::examples;
use crate::redis::durability::Durability;
use crate::redis::pipe::Framing;
use crate::selector::Reason;
use crate::selector::testing::Fake;

mod refusals;

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Fake {
    let mut all = vec![(":method", method), (":path", path)];
    all.extend_from_slice(headers);
    Fake::new(&all)
}

fn example(index: usize) -> Idempotency {
    let (name, json) = examples::IDEMPOTENCY[index];
    Idempotency::load(json.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A policy with one route, to which `fields` are added.
fn with(fields: &str) -> Idempotency {
    let json = format!(
        r#"{{"redis": {{"cluster": "r"}}, "routes": [{{"name": "a", "scope": ["consumer"], {fields}}}]}}"#
    );
    Idempotency::load(json.as_bytes()).unwrap()
}

fn redis_of(settings: &Settings) -> &RedisSettings {
    match &settings.store {
        Store::Redis(redis) => redis,
        Store::Etcd(etcd) => panic!("{etcd:?}"),
    }
}

#[test]
fn the_minimal_example_takes_every_default() {
    let policy = example(0);
    let redis = policy.redis().unwrap();
    assert_eq!(redis.cluster_name, "redis");
    assert_eq!(redis.timeout, Duration::from_millis(50));
    let settings = policy.settings(|_| None).unwrap();
    assert_eq!(settings.partitions, 1);
    assert_eq!(settings.fence_header.as_deref(), Some("idempotency-fence"));
    assert_eq!(settings.commit_order, CommitOrder::BeforeHeaders);
    assert!(settings.at_rest.keys.is_empty());
    assert_eq!(settings.at_rest.compress_from, None);
    assert_eq!(settings.max_open, 4_096);
    assert_eq!(settings.max_held, 64 << 20);
    assert_eq!(settings.memory.max_bytes, 16 << 20);
    assert_eq!(settings.memory.trusted_for, 10 * PS_PER_S);
    assert_eq!(settings.key_prefix, "sluice");
    assert_eq!(settings.timeout, PS_PER_S / 20);
    assert_eq!(redis_of(&settings).login.password, None);
    assert_eq!(settings.breaker.failures, 5);
    assert_eq!(settings.breaker.open_for, 5 * PS_PER_S);
    assert_eq!(redis_of(&settings).durability, None);
    assert_eq!(redis_of(&settings).limits.framing, Framing::Whole);
    let [route] = policy.routes.as_slice() else {
        panic!("one route");
    };
    assert_eq!(route.key_header, "idempotency-key");
    let [route] = settings.routes.as_slice() else {
        panic!("one route");
    };
    assert_eq!(route.name, "payments");
    assert!(!route.required);
    assert_eq!(route.key_mode, KeyMode::Strict);
    assert_eq!(route.retention, Duration::from_secs(86_400));
    assert_eq!(route.lease, Duration::from_secs(30));
    assert_eq!(route.execution, Duration::from_secs(300));
    assert_eq!(route.wait, Duration::ZERO);
    assert_eq!(route.statuses, [(0, u16::MAX)]);
    assert_eq!(route.max_request_body, 512 << 10);
    assert_eq!(route.max_response_body, 512 << 10);
    assert_eq!(route.headers, HeaderFilter::Deny(Vec::new()));
    assert_eq!(route.on_store_error, OnStoreError::Closed);
    assert_eq!(route.on_commit_error, OnCommitError::Strict);
    assert_eq!(route.on_timeout, OnTimeout::Unknown);
    assert!(!route.dry_run);
    assert_eq!(route.outbox, None);
}

#[test]
fn the_payments_example_comes_to_what_it_says() {
    let policy = example(1);
    let environment = |name: &str| (name == "REDIS_PASSWORD").then(|| "secret".to_owned());
    let settings = policy.settings(environment).unwrap();
    assert_eq!(
        redis_of(&settings).login.password.as_deref(),
        Some("secret")
    );
    let [charges, newsletter] = settings.routes.as_slice() else {
        panic!("two routes");
    };
    assert!(charges.required);
    assert_eq!(charges.key_mode, KeyMode::Compat);
    assert_eq!(charges.wait, Duration::from_secs(5));
    assert_eq!(
        charges.headers,
        HeaderFilter::Deny(vec!["x-request-id".into()])
    );
    let trim = |trim| {
        let headers = Vec::new();
        Some(Outbox { trim, headers })
    };
    assert_eq!(charges.outbox, trim(Trim::Length(100_000)));
    assert_eq!(newsletter.outbox, trim(Trim::Nothing));
    assert_eq!(newsletter.on_store_error, OnStoreError::Open);
    assert_eq!(newsletter.on_commit_error, OnCommitError::Deliver);
    // The defaults that go with a short retention.
    assert_eq!(newsletter.retention, Duration::from_secs(3_600));
    assert_eq!(newsletter.lease, Duration::from_secs(30));
}

#[test]
fn the_full_example_comes_to_what_it_says() {
    let policy = example(2);
    assert_eq!(policy.fence_header, "idempotency-fence");
    assert_eq!(policy.partitions, 32);
    assert_eq!(policy.max_open, 1_024);
    assert_eq!(policy.max_held, 128 << 20);
    assert_eq!(policy.memory.max_bytes, 32 << 20);
    assert_eq!(policy.memory.trusted_for, 30 * PS_PER_S);
    let [charges, orders] = policy.routes.as_slice() else {
        panic!("two routes");
    };
    assert_eq!(orders.key_header, "x-request-token");
    assert!(orders.settings.dry_run);
    let charges = &charges.settings;
    assert_eq!(charges.retention, Duration::from_secs(7 * 86_400));
    assert_eq!(charges.lease, Duration::from_secs(20));
    assert_eq!(charges.execution, Duration::from_secs(120));
    assert_eq!(
        charges.statuses,
        [(200, 299), (402, 402), (404, 422), (504, 504)]
    );
    assert_eq!(charges.max_request_body, 1 << 20);
    assert_eq!(charges.max_response_body, 2 << 20);
    let kept = ["content-type", "location", "etag"].map(str::to_owned);
    assert_eq!(charges.headers, HeaderFilter::Allow(kept.to_vec()));
    assert_eq!(charges.on_timeout, OnTimeout::Store);
    let outbox = Outbox {
        trim: Trim::Age(Duration::from_secs(7 * 86_400)),
        headers: vec!["x-charge-id".into()],
    };
    assert_eq!(charges.outbox, Some(outbox));
    let settings = policy.settings(|_| Some(KEY.to_owned())).unwrap();
    assert_eq!(redis_of(&settings).limits.framing, Framing::Stream);
    let durability = Durability {
        replicas: 1,
        aof: true,
        timeout: Duration::from_millis(100),
    };
    assert_eq!(redis_of(&settings).durability, Some(durability));
    assert_eq!(settings.at_rest.compress_from, Some(1 << 10));
    assert_eq!(settings.at_rest.keys.len(), 2);
    assert_eq!(settings.at_rest.plain, Plain::Refuse);
}

/// 32 bytes in base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn a_sealing_key_that_the_environment_does_not_have_is_refused() {
    let policy = Idempotency::load(
        br#"{"redis": {"cluster": "r"}, "routes": [{"name": "a", "scope": ["consumer"]}],
            "at_rest": {"keys": [{"id": "new", "env": "A"}, {"id": "old", "env": "B"}], "plain": "read"}}"#,
    )
    .unwrap();
    for (b, refusal) in [
        (
            None,
            "found no variable B in the VM's environment, expected it to be set there",
        ),
        (
            Some("not base64"),
            "found no base64, expected 32 bytes in base64 in the variable B",
        ),
        (
            Some(""),
            "found 0 bytes, expected 32 bytes in base64 in the variable B",
        ),
        (
            Some("AAECAw=="),
            "found 4 bytes, expected 32 bytes in base64 in the variable B",
        ),
    ] {
        let environment = |name: &str| match name {
            "A" => Some(KEY.to_owned()),
            _ => b.map(str::to_owned),
        };
        let error = policy.settings(environment).unwrap_err();
        assert_eq!(error, format!("at_rest.keys[1].env: {refusal}"));
    }
    let settings = policy.settings(|_| Some(format!("{KEY}\n"))).unwrap();
    assert_eq!(settings.at_rest.keys.len(), 2);
    assert_eq!(settings.at_rest.plain, Plain::Read);
    assert_eq!(settings.at_rest.compress_from, None);
}

#[test]
fn several_redis_vote_and_one_does_not() {
    let clusters = |index| {
        let Records::Redis(voters) = example(index).records else {
            panic!("Redis")
        };
        voters.clusters().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(clusters(0), ["redis"]);
    assert_eq!(clusters(3), ["redis-a", "redis-b", "redis-c"]);
}

#[test]
fn the_etcd_example_comes_to_what_it_says() {
    let policy = example(4);
    assert!(policy.redis().is_none());
    let Records::Etcd(etcd) = &policy.records else {
        panic!("etcd")
    };
    assert_eq!(etcd.cluster_name, "etcd");
    assert_eq!(policy.keys().prefix, "payments");
    let settings = policy.settings(|name| Some(format!("the {name}"))).unwrap();
    assert_eq!(settings.timeout, PS_PER_S / 2);
    assert_eq!(settings.breaker.failures, 3);
    assert_eq!(settings.partitions, 1);
    let Store::Etcd(etcd) = &settings.store else {
        panic!("etcd")
    };
    assert_eq!(etcd.in_flight, 16);
    let login = etcd.login.as_ref().unwrap();
    assert_eq!(login.name, "sluice");
    assert_eq!(login.password, "the ETCD_PASSWORD");
    assert!(!format!("{settings:?}").contains("the ETCD_PASSWORD"));
}

#[test]
fn an_etcd_without_a_word_takes_every_default() {
    let policy = Idempotency::load(
        br#"{"etcd": {"cluster": "e"}, "routes": [{"name": "a", "scope": ["consumer"]}]}"#,
    )
    .unwrap();
    let settings = policy.settings(|_| None).unwrap();
    assert_eq!(settings.key_prefix, "sluice");
    assert_eq!(settings.timeout, PS_PER_S / 4);
    assert_eq!(settings.breaker.failures, 5);
    let Store::Etcd(etcd) = settings.store else {
        panic!("etcd")
    };
    assert_eq!(etcd.in_flight, 32);
    assert_eq!(etcd.login, None);
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    for (index, refusal) in [
        (1, "redis.password: found no variable REDIS_PASSWORD"),
        (4, "etcd.password: found no variable ETCD_PASSWORD"),
    ] {
        assert_eq!(
            example(index).settings(|_| None).unwrap_err(),
            format!("{refusal} in the VM's environment, expected it to be set there")
        );
    }
}

#[test]
fn a_request_belongs_to_the_first_route_that_it_matches() {
    let policy = Idempotency::load(
        br#"{"redis": {"cluster": "r"}, "routes": [
            {"name": "a", "match": {"path": {"prefix": "/a"}}, "scope": ["consumer"]},
            {"name": "rest", "scope": ["consumer"]}]}"#,
    )
    .unwrap();
    let found = |method, path| {
        policy
            .route(&request(method, path, &[]))
            .map(|(index, _)| index)
    };
    assert_eq!(found("POST", "/a/1"), Some(0));
    assert_eq!(found("POST", "/b"), Some(1));
    assert_eq!(found("GET", "/a/1"), None);
}

#[test]
fn a_match_that_says_nothing_of_methods_is_for_post_and_patch() {
    for (matcher, methods) in [
        (r#"{}"#, &["PATCH", "POST"][..]),
        (r#"{"path": {"prefix": "/"}}"#, &["PATCH", "POST"]),
        (r#"{"not": {"path": {"exact": "/x"}}}"#, &["PATCH", "POST"]),
        (r#"{"methods": ["PUT"]}"#, &["PUT"]),
        (
            r#"{"any": [{"methods": ["DELETE", "POST"]}]}"#,
            &["DELETE", "POST"],
        ),
        (
            r#"{"not": {"methods": ["GET", "HEAD", "OPTIONS"]}}"#,
            &["DELETE", "PATCH", "POST", "PUT"],
        ),
    ] {
        let policy = with(&format!(r#""match": {matcher}"#));
        let all = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
        let found: Vec<&str> = all
            .into_iter()
            .filter(|method| policy.route(&request(method, "/", &[])).is_some())
            .collect();
        assert_eq!(found, methods, "{matcher}");
    }
}

#[test]
fn a_scope_without_its_part_refuses_or_takes_the_default() {
    let extract = |policy: &Idempotency, headers: &[(&str, &str)]| {
        let mut out = Vec::new();
        let request = request("POST", "/", headers);
        let scope = &policy.routes[0].scope;
        let extracted = scope.extract(&request, &policy.client_ip, &mut out);
        extracted.map(|()| out).map_err(|missing| missing.reason)
    };
    let deny = with(r#""wait": "0s""#);
    assert_eq!(extract(&deny, &[]), Err(Reason::Absent));
    let alice = extract(&deny, &[("x-consumer-id", "alice")]);
    assert_eq!(alice.as_deref(), Ok(&b"\0\0\0\x05alice"[..]));
    let default = with(r#""on_missing_scope": {"default": "guest"}"#);
    let guest = extract(&default, &[]);
    assert_eq!(guest.as_deref(), Ok(&b"\0\0\0\x05guest"[..]));
}

#[test]
fn the_scope_may_name_a_variable_of_the_match() {
    let policy = Idempotency::load(
        br#"{"redis": {"cluster": "r"}, "routes": [{"name": "a",
            "match": {"path": {"template": "/{tenant}/orders"}}, "scope": [{"path": "tenant"}]}]}"#,
    )
    .unwrap();
    let request = request("POST", "/acme/orders", &[]);
    let (_, route) = policy.route(&request).unwrap();
    let mut out = Vec::new();
    route
        .scope
        .extract(&request, &policy.client_ip, &mut out)
        .unwrap();
    assert_eq!(out, b"\0\0\0\x04acme");
}

#[test]
fn what_is_not_said_fits_what_is() {
    for (fields, lease, execution) in [
        (r#""retention": "1m""#, 6_000, 30_000),
        (r#""retention": "5m""#, 30_000, 150_000),
        (r#""retention": "1h""#, 30_000, 300_000),
        (r#""retention": "100h", "lease": "10m""#, 600_000, 600_000),
        (r#""retention": "2s""#, 200, 1_000),
    ] {
        let route = &with(fields).routes[0].settings;
        assert_eq!(route.lease, Duration::from_millis(lease), "{fields}");
        assert_eq!(
            route.execution,
            Duration::from_millis(execution),
            "{fields}"
        );
    }
    let policy = Idempotency::load(
        br#"{"redis": {"cluster": "r"}, "gateway_buffer": "64KiB", "worker": {"max_held": "16KiB"},
            "routes": [{"name": "a", "scope": ["consumer"]}]}"#,
    )
    .unwrap();
    let route = &policy.routes[0].settings;
    assert_eq!(route.max_request_body, 32 << 10);
    assert_eq!(route.max_response_body, 16 << 10);
}

#[test]
fn a_redis_cluster_gets_more_partitions_unless_told_otherwise() {
    for (fields, partitions) in [("", 64), (r#", "partitions": 3"#, 3)] {
        let json = format!(
            r#"{{"redis": {{"cluster": "r", "hash_slots": true}}, "routes": [{{"name": "a", "scope": ["consumer"]}}]{fields}}}"#
        );
        let policy = Idempotency::load(json.as_bytes()).unwrap();
        assert_eq!(policy.partitions, partitions);
    }
}
