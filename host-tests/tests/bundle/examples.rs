//! Every example of `envoy-config/` starts and serves, with and without its alternatives, and says the same as the
//! allow-list of host functions.

mod allowed;
mod coalesce;
mod idempotency;
mod policies;
mod rate_limit;
mod shard_route;

use std::collections::BTreeSet;

use host_tests::config::Config;
use host_tests::gateway::{Gateway, Route};
use host_tests::tools;
use serde_json::Value;

/// Those of rate limits.
const RATE_LIMITS: [Route; 4] = [Route::None, Route::Direct, Route::Stream, Route::Pooled];

#[test]
fn every_example_is_tested() {
    let folder = tools::root().join("envoy-config");
    let shipped: BTreeSet<String> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    let tested: BTreeSet<String> = RATE_LIMITS
        .iter()
        .chain([
            &Route::Idempotency,
            &Route::IdempotencyStream,
            &Route::Redlock,
            &Route::Etcd,
            &Route::Coalesce,
            &Route::CoalesceBloom,
            &Route::CoalesceFleet,
            &Route::ShardRoute,
        ])
        .map(|route| route.example().to_owned())
        .collect();
    assert_eq!(shipped, tested);
}

/// A busy machine does not keep the timeouts that examples have for Redis.
fn patiently(config: &mut Config) {
    let policy = config.filter()["configuration"]["value"].as_str();
    let policy = policy.unwrap_or_default().to_owned();
    for store in ["redis", "etcd"] {
        if policy.contains(&format!("\"{store}\":")) {
            config.store_policy(store, "timeout", "5s".into());
        }
    }
    let patient = config
        .value()
        .to_string()
        .replace("\"op_timeout\":\"0.25s\"", "\"op_timeout\":\"5s\"");
    *config.value_mut() = serde_json::from_str(&patient).unwrap();
}

fn nothing_to_complain_about(gateway: &Gateway) {
    let log = gateway.envoy().log();
    assert!(
        !log.to_lowercase().contains("deprecated") && !log.contains("[error]"),
        "{log}"
    );
}

fn shipped_policy(route: Route) -> Value {
    let mut config = Config::example(route.example());
    let policy = config.filter()["configuration"]["value"].as_str();
    serde_json::from_str(policy.expect("a policy")).unwrap()
}
