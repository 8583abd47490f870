//! What the response fields tell a client: the IETF draft's to the letter, the older habit's, or none.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use host_tests::client::Response;
use host_tests::gateway::Gateway;
use host_tests::ports;
use host_tests::redis::Redis;
use host_tests::{gateway::Route, limits};
use serde_json::{Value, json};
use sfv::{BareItem, List, ListEntry, Parser};

/// A draft field: each limit's name with its parameters, in order.
type Entries = Vec<(String, BTreeMap<String, i64>)>;

/// Parses one of the draft's fields as strictly as RFC 9651 does; it must be there once.
fn draft(response: &Response, field: &str) -> Entries {
    let copies: Vec<&[u8]> = response
        .headers
        .iter()
        .filter(|(name, _)| name == field)
        .map(|(_, value)| value.as_slice())
        .collect();
    let [value] = copies.as_slice() else {
        panic!("one {field} in {response:?}");
    };
    let list: List = Parser::new(*value).parse().expect("a structured field");
    let entry = |entry| {
        let ListEntry::Item(item) = entry else {
            panic!("{field} has an inner list");
        };
        let BareItem::String(name) = item.bare_item else {
            panic!("{field} has an item that is no string");
        };
        let parameter = |(key, value): (sfv::Key, BareItem)| {
            let value = value.as_integer().expect("an integer");
            (key.as_str().to_owned(), i64::from(value))
        };
        let parameters = item.params.into_iter().map(parameter).collect();
        (name.as_str().to_owned(), parameters)
    };
    list.into_iter().map(entry).collect()
}

fn numbers<const N: usize>(numbers: [(&str, i64); N]) -> BTreeMap<String, i64> {
    numbers
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn has_no_fields(response: &Response) {
    for (name, _) in &response.headers {
        assert!(!name.contains("ratelimit"), "{name}");
    }
}

fn two_limits() -> Value {
    json!([
        {"name": "burst", "key": ["client_ip"], "rate": "5/hour", "cost": {"header": "x-cost", "max": 100}},
        {"name": "per.day_1-x", "match": {"path": {"prefix": "/both"}}, "key": ["client_ip"], "rate": "1000/day"},
        {"name": "shadow", "key": ["client_ip"], "rate": "1/hour", "shadow": true},
    ])
}

#[test]
fn the_draft_fields_state_policy_and_standing() {
    let gateway = Gateway::builder()
        .policy(limits::policy(two_limits()))
        .start();
    // A peek on a full bucket: nothing to wait for, so no `t`.
    let full = gateway.get("/", &[("x-cost", "0")]);
    assert_eq!(
        draft(&full, "ratelimit"),
        [("burst".to_owned(), numbers([("r", 5)]))]
    );
    assert_eq!(
        draft(&full, "ratelimit-policy"),
        [("burst".to_owned(), numbers([("q", 5), ("w", 3_600)]))]
    );

    let response = gateway.get("/both", &[("x-cost", "2")]);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("retry-after"), None);
    assert_eq!(
        draft(&response, "ratelimit-policy"),
        [
            ("burst".to_owned(), numbers([("q", 5), ("w", 3_600)])),
            (
                "per.day_1-x".to_owned(),
                numbers([("q", 1_000), ("w", 86_400)])
            ),
        ]
    );
    let standing = draft(&response, "ratelimit");
    assert_eq!(standing[0].0, "burst");
    assert_eq!(standing[1].0, "per.day_1-x");
    assert_eq!((standing[0].1["r"], standing[1].1["r"]), (3, 999));
    // A token of the first comes back in 12 minutes, one of the second in 86.4 seconds.
    assert!((700..=720).contains(&standing[0].1["t"]), "{standing:?}");
    assert!((80..=87).contains(&standing[1].1["t"]), "{standing:?}");

    let _ = gateway.get("/", &[("x-cost", "3")]);
    let denied = gateway.get("/both", &[("x-cost", "1")]);
    assert_eq!(denied.status, 429);
    let standing = draft(&denied, "ratelimit");
    assert_eq!(standing[0].0, "burst");
    assert_eq!(standing[0].1["r"], 0);
    let after: i64 = denied.header("retry-after").unwrap().parse().unwrap();
    assert!((700..=720).contains(&after));
    assert!(
        after >= standing[0].1["t"],
        "{after} is earlier than {standing:?}"
    );
    assert_eq!(draft(&denied, "ratelimit-policy")[0].0, "burst");
    // A denied request is not charged: this is the second that the daily limit counts.
    let peek = draft(&gateway.get("/both", &[("x-cost", "0")]), "ratelimit");
    assert_eq!((peek[0].1["r"], peek[1].1["r"]), (0, 998));
}

/// 12 tokens, one every 5 minutes: a request that needs more waits longer than `t`.
#[test]
fn retry_after_is_for_the_cost_of_the_request() {
    let gateway = Gateway::builder()
        .policy(limits::policy(json!([
            {"name": "l", "key": ["client_ip"], "rate": "12/hour", "cost": {"header": "x-cost", "max": 100}},
        ])))
        .start();
    assert_eq!(gateway.get("/", &[("x-cost", "12")]).status, 200);
    for (cost, expected) in [("1", 300), ("2", 600), ("12", 3_600)] {
        let denied = gateway.get("/", &[("x-cost", cost)]);
        let after: i64 = denied.header("retry-after").unwrap().parse().unwrap();
        assert!(
            (expected - 30..=expected).contains(&after),
            "{cost}: {after}"
        );
    }
    // What never fits is no matter of waiting, and costs nothing.
    let never = gateway.get("/", &[("x-cost", "13")]);
    assert_eq!(never.status, 429);
    assert_eq!(never.header("retry-after"), None);
}

#[test]
fn jitter_lengthens_retry_after_and_never_shortens_it() {
    let mut policy = limits::policy(json!([{"name": "l", "key": ["client_ip"], "rate": "1/hour"}]));
    policy["retry_after_jitter"] = "1000s".into();
    let gateway = Gateway::builder().policy(policy).start();
    let mut client = gateway.client();
    let mut waits: Vec<u64> = (0..20)
        .filter_map(|_| client.get::<&str>("/", &[]).unwrap().header("retry-after"))
        .map(|after| after.parse().unwrap())
        .collect();
    assert_eq!(waits.len(), 19);
    assert!(
        waits.iter().all(|wait| (3_570..=4_600).contains(wait)),
        "{waits:?}"
    );
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 10, "these are not random: {waits:?}");
}

#[test]
fn the_legacy_fields_speak_of_the_nearest_limit() {
    let mut policy = limits::policy(two_limits());
    policy["headers"] = "legacy".into();
    let gateway = Gateway::builder().policy(policy).start();
    let response = gateway.get("/both", &[("x-cost", "2")]);
    let field = |response: &Response, name: &str| -> u64 {
        response
            .header(&format!("x-ratelimit-{name}"))
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!(field(&response, "limit"), 5);
    assert_eq!(field(&response, "remaining"), 3);
    assert!((1_400..=1_440).contains(&field(&response, "reset")));
    assert_eq!(response.header("ratelimit"), None);
    assert_eq!(response.header("ratelimit-policy"), None);
    let _ = gateway.get("/", &[("x-cost", "3")]);
    let denied = gateway.get("/", &[]);
    assert_eq!(denied.status, 429);
    assert_eq!(field(&denied, "remaining"), 0);
    assert!((3_570..=3_600).contains(&field(&denied, "reset")));
    assert!((690..=720).contains(&denied.header("retry-after").unwrap().parse().unwrap()));
}

#[test]
fn without_fields_retry_after_is_still_told() {
    let mut policy = limits::policy(json!([{"name": "l", "key": ["client_ip"], "rate": "1/hour"}]));
    policy["headers"] = "off".into();
    let gateway = Gateway::builder().policy(policy).start();
    let passed = gateway.get("/", &[]);
    assert_eq!(passed.status, 200);
    has_no_fields(&passed);
    assert_eq!(passed.header("retry-after"), None);
    let denied = gateway.get("/", &[]);
    assert_eq!(denied.status, 429);
    has_no_fields(&denied);
    assert!(denied.header("retry-after").is_some());
}

/// In every mode, whatever answers in the end: the origin with an error, or the gateway because there is no origin.
#[test]
fn an_admitted_request_learns_its_standing_from_any_response() {
    let redis = Redis::start();
    let nobody: SocketAddr = (Ipv4Addr::LOCALHOST, ports::free()).into();
    let limit = |mode: &str| {
        json!({"name": mode, "match": {"path": {"exact": format!("/{mode}")}}, "key": ["client_ip"],
               "rate": "10/hour", "mode": mode})
    };
    let policy = limits::policy_with_redis(
        json!({}),
        json!([limit("local"), limit("strict"), limit("leased")]),
    );
    let alone = Gateway::builder()
        .route(Route::Direct)
        .redis(&redis)
        .policy(&policy)
        .edit(move |config| config.endpoints("origin", &[nobody]))
        .start();
    // The default lease, a fifth, is no part of the burst.
    const LEFT: [(&str, i64); 3] = [("local", 9), ("strict", 9), ("leased", 7)];
    for (mode, left) in LEFT {
        let response = alone.get(&format!("/{mode}"), &[]);
        assert_eq!(response.status, 503, "{mode}");
        assert_eq!(draft(&response, "ratelimit")[0].1["r"], left, "{mode}");
        assert_eq!(response.header("retry-after"), None, "{mode}");
    }
    let _ = redis.cmd(&["FLUSHALL"]);
    let served = Gateway::builder()
        .route(Route::Direct)
        .redis(&redis)
        .policy(&policy)
        .start();
    for (mode, left) in LEFT {
        let response = served.get(&format!("/{mode}?status=500"), &[]);
        assert_eq!(response.status, 500, "{mode}");
        assert_eq!(draft(&response, "ratelimit")[0].1["r"], left, "{mode}");
    }
    has_no_fields(&served.get("/no-limit-here", &[]));
}
