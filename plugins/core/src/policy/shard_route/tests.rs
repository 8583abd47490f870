//! What a good policy comes to. What is wrong with bad ones is in `refusals`.

use super::*;
use crate::gcra::PS_PER_S;
use crate::policy::examples;
use crate::shard::{Freeze, Stage};

mod refusals;

fn example(index: usize) -> ShardRoute {
    let (name, json) = examples::SHARD_ROUTE[index];
    ShardRoute::load(json.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_minimal_example_takes_every_default() {
    let policy = example(0);
    let names = [
        "x-shard",
        "x-shard-role",
        "x-shard-zone",
        "x-shard-dual-write",
    ];
    assert_eq!(policy.headers.names(), names);
    assert!(policy.clear_route_cache);
    assert_eq!(policy.log_property, None);
    let [users] = policy.tables.as_slice() else {
        panic!("one table");
    };
    assert_eq!(users.cap, None);
    let directory = &users.directory;
    assert_eq!(directory.name, "users");
    assert_eq!(directory.table.slots().len(), 16_384);
    assert_eq!(directory.table.hash(), crate::ring::Hash::Crc16);
    assert!(directory.pins.is_empty() && directory.migration.is_none());
    // Even within 5 sigma.
    assert!(
        directory
            .shares()
            .iter()
            .all(|share| share.abs_diff(4_096) < 280)
    );
    let target = policy.routes[0].target.as_ref().unwrap();
    assert_eq!(
        (&target.on_missing, &target.on_invalid),
        (&Fallback::Reject, &Fallback::Reject)
    );
    assert!(target.role.is_none() && target.body.is_none() && target.normalise.is_empty());
    assert_eq!(policy.routes[0].zone, Zone::Shard);
    assert!(!policy.queues() && !policy.reads_bodies());
}

#[test]
fn the_users_example_comes_to_what_it_says() {
    let policy = example(1);
    let rules = &policy.tables[0];
    let directory = &rules.directory;
    let names: Vec<&str> = directory
        .hosts
        .iter()
        .map(|host| host.name.as_str())
        .collect();
    assert_eq!(names, ["s0", "s1", "s2", "s3", "s4"]);
    assert!(
        directory
            .hosts
            .iter()
            .all(|host| host.max_in_flight == Some(200))
    );
    assert_eq!(directory.pins[&b"big-tenant"[..]], 3);
    let migration = directory.migration.as_ref().unwrap();
    assert_eq!(
        (migration.freeze, migration.retry_after),
        (Freeze::Writes, 2)
    );
    assert!(migration.write_back);
    let differing = u64::from(migration.differing);
    assert_eq!(u64::from(migration.slots_at(Stage::Moved)), differing / 4);
    // Jump moves to the new shard alone.
    assert!(
        (0..16_384).all(|slot| [directory.table.shard(slot), 4].contains(&migration.shard(slot)))
    );
    assert_eq!(rules.cap.unwrap().queue, None);
}

#[test]
fn the_full_example_comes_to_what_it_says() {
    let mut policy = example(2);
    assert!(policy.queues() && policy.reads_bodies());
    assert_eq!(policy.log_property.as_deref(), Some("sluice_shard"));
    let tenants = &policy.tables[0];
    let cap = tenants.cap.unwrap();
    assert_eq!((cap.floor, cap.retry_after), (Some(20), 1));
    let queue = cap.queue.unwrap();
    assert_eq!((queue.most, queue.wait), (100, Duration::from_millis(250)));
    let caps: Vec<_> = tenants
        .directory
        .hosts
        .iter()
        .map(|host| host.max_in_flight)
        .collect();
    assert_eq!(caps, [Some(200), Some(50), Some(200), Some(200)]);
    assert_eq!(cap.bounds(50).unwrap().floor, 20);
    assert_eq!(cap.bounds(10).unwrap().floor, 10);
    let orders = policy.routes[3].target.as_ref().unwrap();
    let body = orders.body.as_ref().unwrap();
    assert_eq!((body.max, body.wait), (64 << 10, 5 * PS_PER_S));
    assert_eq!(orders.on_invalid, Fallback::Shard("o0".to_owned()));
    assert_eq!(
        orders.find_in(br#"{"order": {"id": "007"}}"#),
        Found::Key(b"7".to_vec())
    );
    assert_eq!(orders.find_in(br#"{"order": {}}"#), Found::Missing);
    assert_eq!(orders.find_in(br#"{"order": {"id": "x"}}"#), Found::Invalid);
    assert_eq!(orders.find_in(b""), Found::Missing);
    assert_eq!(orders.find_in(b" "), Found::Invalid);

    let unset = policy.bind(|_| None).unwrap_err();
    assert_eq!(
        unset,
        "routes[2].zone.environment: found no variable CITY_ZONE in the VM's environment, expected it to be set there"
    );
    let short = policy.bind(|_| Some("short".to_owned())).unwrap_err();
    assert_eq!(
        short,
        "routes[4].role.split.sticky.by.cookie.secret: found 5 bytes, expected at least 16"
    );
    let long = "0123456789abcdef".to_owned();
    assert_eq!(policy.bind(|_| Some(long.clone())), Ok(()));
}

#[test]
fn maglev_has_a_prime_of_slots_unless_told_otherwise() {
    for (hash, slots) in [("crc16", 65_521), ("xxh64", 65_537)] {
        let json = format!(
            r#"{{"tables": {{"t": {{"hash": "{hash}", "fill": "maglev", "shards": ["a", "b"]}}}},
                "routes": [{{"name": "r", "table": "t", "key": ["consumer"]}}]}}"#
        );
        let policy = ShardRoute::load(json.as_bytes()).unwrap();
        assert_eq!(policy.tables[0].directory.table.slots().len(), slots);
    }
}

#[test]
fn two_policies_of_one_text_are_one_table() {
    let (one, two) = (example(2), example(2));
    for (one, two) in one.tables.iter().zip(&two.tables) {
        assert_eq!(one.directory.table, two.directory.table);
    }
}

const REFRESHED: &[u8] = br#"{
    "refresh": {"version": 3, "secret": {"env": "S"}}, "redis": {"cluster": "redis"},
    "tables": {"t": {"shards": ["a", "b"]}},
    "routes": [{"name": "r", "table": "t", "key": ["consumer"], "on_missing_key": {"shard": "b"}}]
}"#;

#[test]
fn other_tables_take_the_place_of_the_policy_s_own() {
    let policy = ShardRoute::load(REFRESHED).unwrap();
    let source = policy.refresh.as_ref().unwrap();
    assert_eq!(
        (source.place.as_str(), source.version),
        ("sluice:shard-tables:tables", 3)
    );
    let tables = br#"{"tables": {"new": {"shards": ["n"]}, "t": {"shards": ["b", "c"]}}}"#;
    let other = ShardRoute::load_with(REFRESHED, tables).unwrap();
    let names = |place: usize| -> Vec<&str> {
        let hosts = other.tables[place].directory.hosts.iter();
        hosts.map(|host| host.name.as_str()).collect()
    };
    assert_eq!((names(0), names(1)), (vec!["n"], vec!["b", "c"]));
    assert_eq!(other.routes[0].target.as_ref().unwrap().table, 1);
    for (tables, refusal) in [
        (
            r#"{"tables": {}}"#,
            "routes[0].table: found \"t\", expected one of `tables`, which is empty",
        ),
        (
            r#"{"tables": {"t": {"shards": ["a", "c"]}}}"#,
            "routes[0].on_missing_key.shard: found \"b\", expected the name of a shard: `a`, `c`",
        ),
        (
            r#"{"tables": {"t": {"shards": ["b"]}, "t": {"shards": ["b"]}}}"#,
            "tables: found \"t\" twice, expected each name once",
        ),
        (
            r#"{"tables": {"t": {"shards": []}}}"#,
            "tables.t.shards: found an empty list, expected at least one item",
        ),
        (
            r#"{"tables": {}, "routes": []}"#,
            "routes: unknown field, expected `tables` (what is published is a document {\"tables\": {...}})",
        ),
        (
            "[]",
            "policy: found a list, expected an object with `tables` (what is published is a document {\"tables\": {...}})",
        ),
    ] {
        let refused = ShardRoute::load_with(REFRESHED, tables.as_bytes()).unwrap_err();
        assert_eq!(refused.to_string(), refusal);
    }
}

#[test]
fn a_write_is_remembered_for_all_routes_of_its_table_and_the_longest_window() {
    let json = br#"{
        "tables": {"t": {"shards": ["a"]}, "u": {"shards": ["a"]}},
        "routes": [
            {"name": "w", "match": {"methods": ["POST"]}, "table": "t", "key": ["consumer"], "role": "primary"},
            {"name": "a", "match": {"path": {"prefix": "/a"}}, "table": "t", "key": ["consumer"],
                "role": {"split": {"sticky": {"window": "5s"}}}},
            {"name": "b", "match": {"path": {"prefix": "/b"}}, "table": "t", "key": ["consumer"],
                "role": {"split": {"sticky": {"window": "9s"}}}},
            {"name": "c", "match": {"path": {"prefix": "/c"}}, "table": "t", "key": ["consumer"],
                "role": {"split": {"sticky": {"window": "7s", "by": {"cookie": {"secret": {"env": "S"}}}}}}},
            {"name": "d", "table": "u", "key": ["consumer"], "role": {"split": {}}}
        ]
    }"#;
    let mut policy = ShardRoute::load(json).unwrap();
    policy
        .bind(|_| Some("0123456789abcdef".to_owned()))
        .unwrap();
    let windows = |table: usize| -> Vec<Ps> {
        let all = policy.tables[table].remember.iter();
        all.map(|sticky| sticky.window / PS_PER_S).collect()
    };
    assert_eq!((windows(0), windows(1)), (vec![9, 7], vec![]));
    let window = |route: usize| match &policy.routes[route].target.as_ref().unwrap().role {
        Some(RoleRule::Split { sticky, .. }) => {
            sticky.as_ref().map(|sticky| sticky.window / PS_PER_S)
        }
        _ => None,
    };
    assert_eq!(
        [0, 1, 2, 3, 4].map(window),
        [None, Some(9), Some(9), Some(7), None]
    );
}

#[test]
fn the_secret_of_tables_comes_from_the_environment_and_is_long() {
    let policy = ShardRoute::load(REFRESHED).unwrap();
    let source = policy.refresh.unwrap();
    let unset =
        "refresh.secret: found no variable S in the VM's environment, expected it to be set there";
    assert_eq!(source.settings(|_| None).unwrap_err(), unset);
    let short = source.settings(|_| Some("short".to_owned())).unwrap_err();
    assert_eq!(short, "refresh.secret: found 5 bytes, expected at least 16");
    let good = source
        .settings(|_| Some("0123456789abcdef".to_owned()))
        .unwrap();
    assert!(good.signer.is_some() && good.wait);
}
