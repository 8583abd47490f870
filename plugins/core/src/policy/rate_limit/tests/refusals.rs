//! Policies with one mistake each, and what their authors are told.
//!
//! `refusals.txt` holds most of them: see [`mistakes`].

use serde_json::Value;

use super::super::RateLimit;
use crate::policy::mistakes::{self, patched};

#[test]
fn each_mistake_is_refused_with_its_path_and_what_was_expected() {
    let cases = mistakes::hold(
        include_str!("refusals.txt"),
        with_limit,
        |patch| patched(good_policy(), patch),
        refusal,
    );
    assert!(cases > 150, "{cases}");
}

#[test]
fn what_is_no_policy_at_all_is_refused() {
    for (text, refusal) in [
        (
            "",
            "policy: found an empty configuration, expected a JSON object",
        ),
        (
            " \n",
            "policy: found an empty configuration, expected a JSON object",
        ),
        (
            "{",
            "policy: not valid JSON: EOF while parsing an object (line 1, column 1)",
        ),
        (
            "{\n  \"limits\": [],,\n}",
            "policy: not valid JSON: key must be a string (line 2, column 16)",
        ),
        (
            "{\"limits\": []} x",
            "policy: not valid JSON: trailing characters (line 1, column 16)",
        ),
        (
            "[]",
            "policy: found a list, expected an object with `limits`",
        ),
        (
            "null",
            "policy: found null, expected an object with `limits`",
        ),
        (
            "{}",
            "limits: found nothing, expected a value: this field is required",
        ),
        (
            "{\"headers\": \"off\",\n \"headers\": \"off\"}",
            "headers: found this field twice, expected it once",
        ),
        (
            "{\"limits\": [{\"name\": \"a\", \"name\": \"b\"}]}",
            "limits[0].name: found this field twice, expected it once",
        ),
    ] {
        let error = RateLimit::load(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), refusal, "{text:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let error = RateLimit::load(b"{\"limits\": \"\xff\"}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy: not valid JSON: invalid unicode code point (line 1, column 13)"
    );
}

#[test]
fn a_deep_policy_is_refused_and_not_followed_to_the_end_of_the_stack() {
    let deep = format!(
        r#"{{"limits": [{{"match": {}{{}}{}}}]}}"#,
        r#"{"not": "#.repeat(500),
        "}".repeat(500)
    );
    let error = RateLimit::load(deep.as_bytes()).unwrap_err();
    assert!(
        error.to_string().contains("recursion limit exceeded"),
        "{error}"
    );
}

#[test]
fn two_limits_of_one_name_are_refused() {
    let mut policy = good_policy();
    let twin = policy["limits"][0].clone();
    policy["limits"].as_array_mut().unwrap().push(twin);
    assert_eq!(
        refusal(&policy),
        r#"limits[1].name: found "a", the name of limits[0], expected a name of its own"#
    );
}

#[test]
fn more_limits_than_any_route_needs_are_refused() {
    let mut policy = good_policy();
    let limit = policy["limits"][0].clone();
    policy["limits"] = Value::Array(vec![limit; 65]);
    assert_eq!(
        refusal(&policy),
        "limits: found 65 limits, expected at most 64"
    );
}

#[test]
fn a_body_that_is_too_long_is_not_quoted() {
    let mut policy = good_policy();
    policy["limits"][0]["response"] = serde_json::json!({ "body": "x".repeat(20_000) });
    assert_eq!(
        refusal(&policy),
        "limits[0].response.body: found 20000 bytes, expected at most 16384"
    );
}

fn good_policy() -> Value {
    serde_json::json!({ "limits": [{ "name": "a", "key": ["client_ip"], "rate": "10/s" }] })
}

/// Mode `leased` gets its Redis.
fn with_limit(patch: &str) -> Value {
    let mut policy = good_policy();
    let limit = patched(policy["limits"][0].clone(), patch);
    if limit["mode"] == "leased" {
        policy["redis"] = serde_json::json!({ "cluster": "redis" });
    }
    policy["limits"] = Value::Array(vec![limit]);
    policy
}

fn refusal(policy: &Value) -> String {
    let error = RateLimit::load(policy.to_string().as_bytes()).err();
    error.map_or("accepted".to_owned(), |error| error.to_string())
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let _ = RateLimit::load(&bytes);
    }

    #[test]
    fn an_example_with_a_hole_is_read_without_a_panic(at: proptest::sample::Index, byte: u8) {
        let mut example = crate::policy::examples::RATE_LIMIT[2].1.as_bytes().to_vec();
        let at = at.index(example.len());
        example[at] = byte;
        let _ = RateLimit::load(&example);
        example.remove(at);
        let _ = RateLimit::load(&example);
    }
}
