//! Shard routing, with few shards and with many.

use crate::edits::{answer_directly, reading, with_every_callback};
use crate::measure::{BASELINE, Effort, Load, Variants};
use host_tests::config::Config;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::shard;
use serde_json::{Value, json};
use sluice_core::ring::{Fill, Hash, Shard, Table};
use std::net::SocketAddr;
use std::time::Instant;

/// What a table of [`SHARDS`] may take to be built.
const BUILD_GOAL_MS: f64 = 50.0;
const SHARDS: usize = 1_000;
const PINS: usize = 10_000;

pub fn run(picked: &[String], effort: Effort) {
    let load = Load {
        connections: 32,
        arguments: ["-H", "x-user: 8e03978e-40d5-43e8-bc93-6894a57f9324"]
            .map(Into::into)
            .into(),
        filter: "sluice_shard_route",
        answer: 0,
    };
    let origin = host_tests::origin::Origin::start();
    let behind = variants(origin.address(), false, picked);
    if behind.is_empty() {
        return;
    }
    build();
    behind.measure("shards behind the gateway", &load, effort);
    variants(origin.address(), true, picked).measure(
        "nothing behind it: the gateway answers by itself",
        &load,
        effort,
    );
}

fn variants(origin: SocketAddr, direct: bool, picked: &[String]) -> Variants<'_> {
    let mut variants = Variants::new(picked);
    let mut add = |name: &str, goal, builder: Box<dyn Fn() -> Builder>| {
        variants.add(name, goal, move || {
            let builder = builder().edit(move |config| config.endpoints("origin", &[origin]));
            if direct {
                builder.edit(answer_directly)
            } else {
                builder
            }
        });
    };
    let routed = move |table: Value, route: Value| -> Box<dyn Fn() -> Builder> {
        Box::new(move || {
            let policy = shard::policy(table.clone(), route.clone());
            shard::gateway(&[(origin, origin); 4], &policy)
        })
    };
    let without = move || {
        Gateway::builder()
            .route(Route::ShardRoute)
            .wasm("noop")
            .edit(with_every_callback)
            .edit(move |config| route_to_shard(config, origin))
    };
    add(BASELINE, None, Box::new(without));
    // What no filter that does this can do without.
    add(
        "wasm that asks for as much, and decides nothing",
        None,
        Box::new(move || without().edit(|config| reading(config, "/route"))),
    );
    add(
        "shard-route, 4 shards",
        Some(0.95),
        routed(json!({}), json!({})),
    );
    add(
        "shard-route, 1,000 shards and 10,000 pins",
        Some(0.95),
        Box::new(move || {
            let shards: Vec<String> = (0..SHARDS).map(|shard| format!("s{shard}")).collect();
            // The one that is asked for is where the example has a cluster.
            let pins: serde_json::Map<String, Value> = (0..PINS - 1)
                .map(|key| (format!("tenant-{key}"), format!("s{}", key % SHARDS).into()))
                .chain([(
                    "8e03978e-40d5-43e8-bc93-6894a57f9324".to_owned(),
                    "s1".into(),
                )])
                .collect();
            let table = json!({"shards": shards, "pins": pins});
            shard::gateway(&[(origin, origin); 4], &shard::policy(table, json!({})))
        }),
    );
    add(
        "shard-route, reads and writes, a window",
        None,
        routed(
            json!({}),
            json!({"role": {"split": {"sticky": {"window": "5s"}}}}),
        ),
    );
    add(
        "shard-route, a cap",
        None,
        routed(json!({"in_flight": {"max": 1_000}}), json!({})),
    );
    add(
        "shard-route, a migration",
        None,
        routed(
            json!({"migration": {"to": {"shards": ["s0", "s1", "s2"]}, "moved": "50%"}}),
            json!({}),
        ),
    );
    variants
}

/// Has requests without the header go to a shard by the same way as those that have it: what is compared is the filter.
fn route_to_shard(config: &mut Config, origin: SocketAddr) {
    config.endpoints("s1", &[origin, origin]);
    let path = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes";
    let routes = config.listener("gateway").pointer_mut(path);
    let routes = routes.and_then(Value::as_array_mut).expect("routes");
    let rest = routes.last_mut().expect("a route for the rest");
    rest["route"] = json!({
        "cluster": "s1",
        "metadata_match": {"filter_metadata": {"envoy.lb": {"role": "primary"}}},
    });
}

/// How long the tables of 65,537 slots and 1,000 shards take.
fn build() {
    let shards: Vec<Shard> = (0..SHARDS)
        .map(|shard| Shard {
            name: format!("shard-{shard}"),
            weight: 1,
        })
        .collect();
    println!();
    for (name, fill, goal) in [
        ("maglev", Fill::Maglev, Some(BUILD_GOAL_MS)),
        ("jump", Fill::Jump, None),
        ("ring", Fill::Ring { points: 160 }, None),
    ] {
        let start = Instant::now();
        let table = Table::fill(Hash::XxHash64, 65_537, &shards, fill);
        let took = start.elapsed().as_secs_f64() * 1e3;
        assert!(table.is_ok(), "{table:?}");
        let goal = goal.map_or(String::new(), |goal| format!(", goal {goal:.0} ms"));
        println!("65,537 slots, 1,000 shards, by {name}: built in {took:.1} ms{goal}");
    }
}
