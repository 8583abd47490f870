//! A policy with a mistake stops the gateway at start, and its log says where and what was expected.

use host_tests::gateway::{Gateway, Route};
use serde_json::{Value, json};

fn refusal(route: Route, policy: impl ToString) -> String {
    Gateway::builder()
        .route(route)
        .redis_at(&[([127, 0, 0, 1], 1).into()])
        .policy(policy)
        .try_start()
        .expect_err("the gateway does not start")
}

fn with_limit(fields: Value) -> Value {
    let limit = json!({"name": "l", "key": ["client_ip"], "rate": "5/s"});
    json!({"redis": {"cluster": "sluice-redis"}, "limits": [host_tests::limits::with(limit, fields)]})
}

#[test]
fn a_mistake_is_told_with_its_path_and_what_was_expected() {
    for (fields, expected) in [
        (
            json!({"rate": "5/fortnight"}),
            "limits[0].rate: found string \"5/fortnight\", expected a rate",
        ),
        (json!({"burts": 5}), "limits[0].burts: unknown field"),
        (
            json!({"mode": "leased", "lease": {"tokens": 5}}),
            "limits[0].lease.tokens: found a lease of 5",
        ),
    ] {
        let log = refusal(Route::Direct, with_limit(fields));
        let whole = format!("rate-limit: the policy is refused: {expected}");
        assert!(log.contains(&whole), "{whole} is not in: {log}");
    }
}

#[test]
fn what_is_no_json_is_told_as_such() {
    let log = refusal(Route::None, r#"{"limits": ["#);
    assert!(log.contains("rate-limit: the policy is refused: "), "{log}");
}

#[test]
fn a_password_that_the_environment_lacks_is_told_by_its_name() {
    let policy = json!({
        "redis": {"cluster": "sluice-redis", "password": {"env": "NO_SUCH_PASSWORD"}},
        "limits": [{"name": "l", "key": ["client_ip"], "rate": "5/s", "mode": "strict"}],
    });
    let log = refusal(Route::Direct, policy);
    let expected = "redis.password: found no variable NO_SUCH_PASSWORD in the VM's environment";
    assert!(log.contains(expected), "{log}");
}
