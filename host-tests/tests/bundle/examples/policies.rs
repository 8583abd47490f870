//! The policy of every example loads, and names what the example has.

use host_tests::config::Config;
use host_tests::gateway::Route;
use sluice_core::policy::coalesce::Coalesce;
use sluice_core::policy::idempotency::{Idempotency, Records};
use sluice_core::policy::rate_limit::RateLimit;

use super::{RATE_LIMITS, shipped_policy};

#[test]
fn the_policy_of_every_example_is_valid() {
    let mut config = Config::example(Route::Idempotency.example());
    let policy = config.filter()["configuration"]["value"].clone();
    let policy = Idempotency::load(policy.as_str().expect("a policy").as_bytes());
    let policy = policy.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(policy.redis().unwrap().cluster_name, "sluice-redis");
    let policy = shipped_policy(Route::Redlock).to_string();
    let policy = Idempotency::load(policy.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let voters = ["sluice-redis-a", "sluice-redis-b", "sluice-redis-c"];
    let Records::Redis(named) = &policy.records else {
        panic!("Redis")
    };
    assert_eq!(named.clusters().collect::<Vec<_>>(), voters);
    let policy = shipped_policy(Route::Etcd).to_string();
    let policy = Idempotency::load(policy.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let Records::Etcd(named) = &policy.records else {
        panic!("etcd")
    };
    assert_eq!(named.cluster_name, "etcd");
    for route in [Route::Coalesce, Route::CoalesceBloom, Route::CoalesceFleet] {
        let policy = Coalesce::load(shipped_policy(route).to_string().as_bytes());
        assert!(policy.is_ok(), "{policy:?}");
    }
    for route in RATE_LIMITS {
        let mut config = Config::example(route.example());
        let policy = config.filter()["configuration"]["value"]
            .as_str()
            .expect("a policy")
            .to_owned();
        let policy = RateLimit::load(policy.as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", route.example()));
        let clusters = config.value()["static_resources"]["clusters"]
            .as_array()
            .unwrap();
        if let Some(redis) = policy.redis {
            assert!(
                clusters
                    .iter()
                    .any(|cluster| cluster["name"] == redis.cluster_name.as_str())
            );
        }
    }
}
