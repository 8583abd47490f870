//! Policies with one mistake each, and what their authors are told.
//!
//! `refusals.txt` holds most of them: see [`mistakes`]. A patch is to the route, or, below `# policy`, to the policy; a
//! patch to the policy that has `"table"` alone is to its table.

use serde_json::{Value, json};

use super::super::ShardRoute;
use crate::policy::examples;
use crate::policy::mistakes::{self, patched};

#[test]
fn each_mistake_is_refused_with_its_path_and_what_was_expected() {
    let cases = mistakes::hold(
        include_str!("refusals.txt"),
        with_route,
        with_policy,
        refusal,
    );
    assert!(cases > 90, "{cases}");
}

#[test]
fn what_is_no_policy_at_all_is_refused() {
    for (text, refusal) in [
        (
            "",
            "policy: found an empty configuration, expected a JSON object",
        ),
        (
            "[]",
            "policy: found a list, expected an object with `tables` and `routes`",
        ),
        (
            "{}",
            "routes: found nothing, expected a value: this field is required",
        ),
        (
            r#"{"tables": {"t": {"shards": ["a"]}, "t": {"shards": ["b"]}}, "routes": []}"#,
            "tables: found \"t\" twice, expected each name once",
        ),
        (
            r#"{"tables": {"t": {"shards": ["a"], "pins": {"k": "a", "k": "a"}}}, "routes": []}"#,
            "tables.t.pins: found \"k\" twice, expected each name once",
        ),
    ] {
        let error = ShardRoute::load(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), refusal, "{text:?}");
    }
}

#[test]
fn more_than_any_policy_needs_is_refused() {
    let mut policy = good_policy();
    policy["routes"] = Value::Array(vec![policy["routes"][0].clone(); 257]);
    assert_eq!(
        refusal(&policy),
        "routes: found 257 routes, expected at most 256"
    );
    let mut policy = good_policy();
    let tables = (0..65).map(|table| (table.to_string(), json!({"shards": ["a"]})));
    policy["tables"] = Value::Object(tables.collect());
    assert_eq!(
        refusal(&policy),
        "tables: found 65 tables, expected at most 64"
    );
    let mut policy = good_policy();
    policy["tables"]["t"]["shards"] = (0..4_097).map(|shard| shard.to_string()).collect();
    assert_eq!(
        refusal(&policy),
        "tables.t.shards: found 4097 shards, expected at most 4096"
    );
}

#[test]
fn two_routes_of_one_name_are_refused() {
    let mut policy = good_policy();
    let twin = policy["routes"][0].clone();
    policy["routes"].as_array_mut().unwrap().push(twin);
    assert_eq!(
        refusal(&policy),
        r#"routes[1].name: found "r", the name of routes[0], expected a name of its own"#
    );
}

fn good_policy() -> Value {
    json!({
        "tables": {"t": {"slots": 16, "shards": ["a", "b"]}},
        "routes": [{"name": "r", "table": "t", "key": ["consumer"]}]
    })
}

fn with_route(patch: &str) -> Value {
    let mut policy = good_policy();
    policy["routes"][0] = patched(policy["routes"][0].clone(), patch);
    policy
}

fn with_policy(patch: &str) -> Value {
    let fields: Value = serde_json::from_str(patch).unwrap();
    match fields.get("table") {
        Some(table) => {
            let mut policy = good_policy();
            policy["tables"]["t"] = patched(policy["tables"]["t"].clone(), &table.to_string());
            policy
        }
        None => patched(good_policy(), patch),
    }
}

fn refusal(policy: &Value) -> String {
    let error = ShardRoute::load(policy.to_string().as_bytes()).err();
    error.map_or("accepted".to_owned(), |error| error.to_string())
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let _ = ShardRoute::load(&bytes);
    }

    #[test]
    fn an_example_with_a_hole_is_read_without_a_panic(at: proptest::sample::Index, byte: u8) {
        let mut example = examples::SHARD_ROUTE[2].1.as_bytes().to_vec();
        let at = at.index(example.len());
        example[at] = byte;
        let _ = ShardRoute::load(&example);
        example.remove(at);
        let _ = ShardRoute::load(&example);
    }
}
