//! Policies with one mistake each, and what their authors are told.
//!
//! `refusals.txt` holds most of them: see [`mistakes`].

use serde_json::{Value, json};

use super::super::Idempotency;
use crate::policy::examples;
use crate::policy::mistakes::{self, patched};

#[test]
fn each_mistake_is_refused_with_its_path_and_what_was_expected() {
    let cases = mistakes::hold(
        include_str!("refusals.txt"),
        with_route,
        |patch| patched(good_policy(), patch),
        refusal,
    );
    assert!(cases > 120, "{cases}");
}

#[test]
fn what_is_no_policy_at_all_is_refused() {
    for (text, refusal) in [
        (
            "",
            "policy: found an empty configuration, expected a JSON object",
        ),
        (
            "{\"routes\": [],,}",
            "policy: not valid JSON: key must be a string (line 1, column 15)",
        ),
        (
            "[]",
            "policy: found a list, expected an object with `redis` or `etcd`, and `routes`",
        ),
        (
            "{}",
            "routes: found nothing, expected a value: this field is required",
        ),
        (
            "{\"partitions\": 1,\n \"partitions\": 2}",
            "partitions: found this field twice, expected it once",
        ),
        (
            "{\"routes\": [{\"lease\": \"1s\", \"lease\": \"2s\"}]}",
            "routes[0].lease: found this field twice, expected it once",
        ),
    ] {
        let error = Idempotency::load(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), refusal, "{text:?}");
    }
}

#[test]
fn two_routes_of_one_name_are_refused() {
    let mut policy = good_policy();
    let other = patched(policy["routes"][0].clone(), r#"{"name": "b"}"#);
    let twin = policy["routes"][0].clone();
    policy["routes"]
        .as_array_mut()
        .unwrap()
        .extend([other, twin]);
    assert_eq!(
        refusal(&policy),
        r#"routes[2].name: found "a", the name of routes[0], expected a name of its own"#
    );
}

#[test]
fn more_routes_than_any_policy_needs_are_refused() {
    let mut policy = good_policy();
    let route = policy["routes"][0].clone();
    policy["routes"] = Value::Array(vec![route; 257]);
    assert_eq!(
        refusal(&policy),
        "routes: found 257 routes, expected at most 256"
    );
}

#[test]
fn a_mistake_is_placed_at_the_route_that_has_it() {
    let mut policy = good_policy();
    let wrong = patched(
        policy["routes"][0].clone(),
        r#"{"name": "b", "retention": "1m", "lease": "10s"}"#,
    );
    policy["routes"].as_array_mut().unwrap().push(wrong);
    assert_eq!(
        refusal(&policy),
        "routes[1].lease: found a lease of 10s, expected at most 6s, a tenth of the retention"
    );
}

fn good_policy() -> Value {
    json!({ "redis": { "cluster": "r" }, "routes": [{ "name": "a", "scope": ["consumer"] }] })
}

fn with_route(patch: &str) -> Value {
    let mut policy = good_policy();
    policy["routes"][0] = patched(policy["routes"][0].clone(), patch);
    policy
}

fn refusal(policy: &Value) -> String {
    let error = Idempotency::load(policy.to_string().as_bytes()).err();
    error.map_or("accepted".to_owned(), |error| error.to_string())
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let _ = Idempotency::load(&bytes);
    }

    #[test]
    fn an_example_with_a_hole_is_read_without_a_panic(at: proptest::sample::Index, byte: u8) {
        let mut example = examples::IDEMPOTENCY[2].1.as_bytes().to_vec();
        let at = at.index(example.len());
        example[at] = byte;
        let _ = Idempotency::load(&example);
        example.remove(at);
        let _ = Idempotency::load(&example);
    }
}
