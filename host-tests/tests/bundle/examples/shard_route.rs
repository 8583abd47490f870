//! The example of shard routing, and its alternatives.

use host_tests::gateway::Route;
use host_tests::limits::assert_sound;
use host_tests::shard::Shards;
use sluice_core::policy::shard_route::ShardRoute;
use sluice_core::shard::explain::explain;

use super::{nothing_to_complain_about, shipped_policy};

/// A key's reads go to the replica and its writes to the primary of its shard, and a forged header goes nowhere.
fn routes_by_shard(alternatives: &[&'static str]) {
    let shards = Shards::start(4).with_replicas();
    let policy = shipped_policy(Route::ShardRoute);
    let mut builder = shards.gateway(&policy).workers(2);
    for name in alternatives {
        builder = builder.alternative(name);
    }
    let instances: Vec<_> = shards
        .primaries
        .iter()
        .map(|origin| origin.address())
        .collect();
    let ring = alternatives.contains(&"ring");
    let gateway = builder
        .edit(move |config| {
            if ring {
                config.endpoints("instances", &instances);
            }
        })
        .start();
    let loaded = ShardRoute::load(policy.to_string().as_bytes()).unwrap();
    let roles = !ring;
    for user in 0..20 {
        let path = format!("/users/{user}");
        let shard = explain(&loaded, "users", user.to_string().as_bytes()).unwrap();
        let read = gateway.get(&path, &[("x-shard", "s0")]);
        assert_eq!(read.status, 200);
        let (place, replica) = shards.reached(&path).unwrap();
        if !ring {
            assert_eq!(format!("s{place}"), shard.shard);
        }
        assert_eq!(replica, roles);
        // The same again.
        assert_eq!(gateway.get(&path, &[]).status, 200);
        let origins = if replica {
            &shards.replicas
        } else {
            &shards.primaries
        };
        assert_eq!(origins[place].hits(&path), 2);
        let path = format!("{path}/name");
        assert_eq!(
            gateway
                .client()
                .send::<&str>("PUT", &path, &[], b"x")
                .unwrap()
                .status,
            200
        );
        assert_eq!(shards.reached(&path), Some((place, false)));
    }
    assert_eq!(gateway.get("/", &[("x-shard", "s0")]).status, 200);
    assert_eq!(gateway.origin().hits("/"), 1);
    assert_sound(&gateway);
    nothing_to_complain_about(&gateway);
}

#[test]
fn the_example_and_its_alternatives_serve() {
    for alternatives in [&[][..], &["headers"], &["ring"], &["body", "cookie"]] {
        routes_by_shard(alternatives);
    }
}
