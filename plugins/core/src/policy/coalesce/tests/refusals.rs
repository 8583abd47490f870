//! Policies with one mistake each, and what their authors are told.
//!
//! `refusals.txt` holds most of them: see [`mistakes`].

use serde_json::{Value, json};

use super::super::Coalesce;
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
    assert!(cases > 100, "{cases}");
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
            "policy: found a list, expected an object with `routes`",
        ),
        (
            "{}",
            "routes: found nothing, expected a value: this field is required",
        ),
        (
            "{\"routes\": [{\"jitter\": 1, \"jitter\": 2}]}",
            "routes[0].jitter: found this field twice, expected it once",
        ),
    ] {
        let error = Coalesce::load(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), refusal, "{text:?}");
    }
}

#[test]
fn two_routes_of_one_name_are_refused() {
    let policy = json!({ "routes": [{ "name": "a" }, { "name": "b" }, { "name": "a" }] });
    assert_eq!(
        refusal(&policy),
        r#"routes[2].name: found "a", the name of routes[0], expected a name of its own"#
    );
}

#[test]
fn more_routes_than_any_policy_needs_are_refused() {
    let policy = json!({ "routes": vec![json!({ "name": "a" }); 257] });
    assert_eq!(
        refusal(&policy),
        "routes: found 257 routes, expected at most 256"
    );
}

#[test]
fn more_guards_than_a_worker_should_hold_are_refused() {
    let guard = json!({ "name": "a", "id": [{ "query": "id" }] });
    let mut policy = good_policy();
    policy["guards"] = vec![guard; 17].into();
    assert_eq!(
        refusal(&policy),
        "guards: found 17 guards, expected at most 16"
    );
}

fn good_policy() -> Value {
    json!({ "routes": [{ "name": "a" }] })
}

fn with_route(patch: &str) -> Value {
    let mut policy = good_policy();
    policy["routes"][0] = patched(policy["routes"][0].clone(), patch);
    policy
}

fn refusal(policy: &Value) -> String {
    let error = Coalesce::load(policy.to_string().as_bytes()).err();
    error.map_or("accepted".to_owned(), |error| error.to_string())
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let _ = Coalesce::load(&bytes);
    }

    #[test]
    fn an_example_with_a_hole_is_read_without_a_panic(at: proptest::sample::Index, byte: u8) {
        let mut example = examples::COALESCE[2].1.as_bytes().to_vec();
        let at = at.index(example.len());
        example[at] = byte;
        let _ = Coalesce::load(&example);
        example.remove(at);
        let _ = Coalesce::load(&example);
    }
}
