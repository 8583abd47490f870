use super::*;
use crate::policy::examples;
use crate::policy::shard_route::ShardRoute;
use crate::selector::testing::Fake;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn policy(json: &str) -> ShardRoute {
    ShardRoute::load(json.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// The second example; the third of the policies' examples has everything.
fn users() -> ShardRoute {
    policy(examples::SHARD_ROUTE[1].1)
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Fake {
    let mut all = vec![(":method", method), (":path", path)];
    all.extend_from_slice(headers);
    Fake::new(&all)
}

/// The decision and the shard's name; `written` says what is remembered.
fn ask(policy: &ShardRoute, request: &Fake, written: bool) -> Result<(Decision, String), Refusal> {
    let (_, route) = policy.route(request).expect("a route");
    let target = route.target.as_ref().expect("a table");
    let directory = &policy.tables[target.table].directory;
    let found = target.find(request, &policy.client_ip, true);
    let head = Head::of(route, request);
    let decision = decide(target, directory, &head, &found, |_, _| written, || 7)?;
    let shard = directory.name_of(decision.place.shard).to_owned();
    Ok((decision, shard))
}

#[test]
fn the_first_part_that_is_there_is_the_key() {
    let policy = policy(
        r#"{"tables": {"t": {"shards": ["a", "b"], "pins": {"one": "a", "two": "b"}}},
            "routes": [{"name": "r", "table": "t", "normalise": ["trim", "lower"],
                "key": [{"header": "x-user"}, {"cookie": "user"}]}]}"#,
    );
    let shard = |headers: &[(&str, &str)]| {
        ask(&policy, &request("GET", "/", headers), false)
            .map(|(_, shard)| shard)
            .map_err(|refusal| refusal.problem)
    };
    assert_eq!(
        shard(&[("x-user", " ONE "), ("cookie", "user=two")]).as_deref(),
        Ok("a")
    );
    assert_eq!(shard(&[("cookie", "user=two")]).as_deref(), Ok("b"));
    assert_eq!(
        shard(&[("x-user", ""), ("cookie", "user=two")]).as_deref(),
        Ok("b")
    );
    assert_eq!(shard(&[]), Err(Problem::KeyMissing));
    // Two copies do not make the next part count.
    let twice = [("x-user", "one"), ("x-user", "one"), ("cookie", "user=two")];
    assert_eq!(shard(&twice), Err(Problem::KeyInvalid));
    assert_eq!(shard(&[("x-user", "  ")]), Err(Problem::KeyInvalid));
}

#[test]
fn a_key_of_an_address_is_its_text() {
    let policy = policy(
        r#"{"tables": {"t": {"shards": ["a", "b"], "pins": {"198.51.100.7": "b"}}},
            "routes": [{"name": "r", "table": "t", "key": ["client_ip"]}]}"#,
    );
    let (decision, shard) = ask(&policy, &request("GET", "/", &[]), false).unwrap();
    assert_eq!((shard.as_str(), decision.place.slot), ("b", None));
}

#[test]
fn requests_without_a_good_key_go_where_the_route_says() {
    let with = |fallbacks: &str| {
        policy(&format!(
            r#"{{"tables": {{"t": {{"shards": ["a", "b", "c"]}}}},
                "routes": [{{"name": "r", "table": "t", "key": [{{"header": "x-user"}}],
                    "normalise": ["integer"], {fallbacks}}}]}}"#
        ))
    };
    let policy = with(r#""on_missing_key": {"shard": "b"}, "on_invalid_key": {"shard": "c"}"#);
    let shard = |headers: &[(&str, &str)]| ask(&policy, &request("GET", "/", headers), false);
    assert_eq!(shard(&[]).unwrap().1, "b");
    assert_eq!(shard(&[("x-user", "seven")]).unwrap().1, "c");
    assert_eq!(shard(&[("x-user", "7"), ("x-user", "8")]).unwrap().1, "c");

    let policy = with(r#""on_missing_key": "spread""#);
    let (_, route) = policy.route(&request("GET", "/", &[])).unwrap();
    let target = route.target.as_ref().unwrap();
    let directory = &policy.tables[0].directory;
    let mut counts = BTreeMap::<u16, u32>::new();
    for random in 0..u64::from(u16::MAX) {
        let head = Head::of(route, &request("GET", "/", &[]));
        let found = Found::Missing;
        let spread = decide(target, directory, &head, &found, |_, _| false, || random).unwrap();
        *counts.entry(spread.place.shard).or_default() += 1;
    }
    assert!(
        counts.len() == 3 && counts.values().all(|count| *count > 20_000),
        "{counts:?}"
    );
}

#[test]
fn writes_and_what_follows_them_go_to_the_primary() {
    let policy = users();
    let role = |method, headers: &[(&str, &str)], written| {
        // Of a key that is not frozen.
        let request = request(method, "/users/1/orders", headers);
        ask(&policy, &request, written).unwrap().0.role
    };
    assert_eq!(role("GET", &[], false), Some(Role::Replica));
    assert_eq!(role("HEAD", &[], false), Some(Role::Replica));
    assert_eq!(role("GET", &[], true), Some(Role::Primary));
    assert_eq!(
        role("GET", &[("x-read-primary", "1")], false),
        Some(Role::Primary)
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(role(method, &[], false), Some(Role::Primary), "{method}");
    }
    let elsewhere = request("GET", "/", &[("x-user-id", "1")]);
    assert_eq!(
        ask(&policy, &elsewhere, false).unwrap().0.role,
        Some(Role::Primary)
    );
}

#[test]
fn an_answer_of_4xx_wrote_nothing() {
    let wrote: Vec<u16> = [200, 201, 302, 400, 409, 499, 500, 503, 504]
        .into_iter()
        .filter(|status| may_have_written(*status))
        .collect();
    assert_eq!(wrote, [200, 201, 302, 500, 503, 504]);
}

#[test]
fn a_pinned_key_is_where_it_is_whatever_the_slots_say() {
    let policy = users();
    for path in ["/users/big-tenant", "/users/BIG-tenant", "/users/1"] {
        let (decision, shard) = ask(&policy, &request("POST", path, &[]), false).unwrap();
        assert_eq!(
            (shard.as_str(), decision.place.stage),
            ("s3", Stage::Before),
            "{path}"
        );
        assert_eq!(decision.dual_write, None);
    }
}

/// What a key's request is told in each stage of the example, which has all of them.
#[test]
fn each_stage_of_a_migration_is_told() {
    let policy = users();
    let directory = &policy.tables[0].directory;
    let migration = directory.migration.as_ref().unwrap();
    let mut seen = BTreeMap::new();
    for user in 100..2_000 {
        let path = format!("/users/{user}");
        let key = user.to_string();
        let slot = directory.table.slot(key.as_bytes());
        let (old, new) = (directory.table.shard(slot), migration.shard(slot));
        let stage = migration.stage(slot);
        *seen.entry(format!("{stage:?}")).or_insert(0) += 1;
        let read = ask(&policy, &request("GET", &path, &[]), false);
        let write = ask(&policy, &request("POST", &path, &[]), false);
        let (read, _) = read.expect("reads go on");
        let expected = match stage {
            Stage::Before => Some((old, None)),
            Stage::DualWrite => Some((old, Some(new))),
            Stage::Moved => Some((new, Some(old))),
            Stage::Frozen => None,
        };
        assert_eq!(read.dual_write, None);
        assert_eq!(read.place.shard, expected.map_or(old, |(shard, _)| shard));
        let told = write.map(|(write, _)| (write.place.shard, write.dual_write));
        match (expected, told) {
            (Some(expected), told) => assert_eq!(told, Ok(expected)),
            (None, told) => {
                let refusal = told.unwrap_err();
                assert_eq!((refusal.problem, refusal.retry_after), (Problem::Frozen, 2));
            }
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn zones_are_the_shards_or_the_routes() {
    let mut policy = policy(examples::SHARD_ROUTE[2].1);
    let set = |name: &str| {
        let value = match name {
            "CITY_ZONE" => "cz-own",
            _ => "0123456789abcdef",
        };
        Some(value.to_owned())
    };
    policy.bind(set).unwrap();
    let zone = |path: &str, headers: &[(&str, &str)]| {
        let request = request("GET", path, headers);
        let (_, route) = policy.route(&request).unwrap();
        Head::of(route, &request).zone
    };
    assert_eq!(zone("/catalogue/1", &[]).as_deref(), Some("gz-1"));
    assert_eq!(
        zone("/weather", &[("x-city", "hangzhou")]).as_deref(),
        Some("cz-hz")
    );
    assert_eq!(
        zone("/weather", &[("x-city", "paris")]).as_deref(),
        Some("cz-sh")
    );
    assert_eq!(zone("/weather", &[]).as_deref(), Some("cz-sh"));
    assert_eq!(zone("/cities", &[]).as_deref(), Some("cz-own"));
    assert_eq!(zone("/sessions", &[]), None);
    let tenants = &policy.tables[0].directory;
    assert_eq!(tenants.hosts[0].zone.as_deref(), Some("rz-1"));
}

fn stages() -> impl Strategy<Value = (u32, u32, u32)> {
    (0_u32..=10_000, 0_u32..=10_000, 0_u32..=10_000)
        .prop_filter("at most the whole", |(a, b, c)| a + b + c <= 10_000)
}

fn growing(stages: &str) -> ShardRoute {
    policy(&format!(
        r#"{{"tables": {{"t": {{"shards": ["a", "b", "c", "d"],
            "migration": {{"to": {{"shards": ["a", "b", "c", "d", "e"]}}, {stages}}}}}}},
            "routes": [{{"name": "r", "table": "t", "key": [{{"header": "x-user"}}]}}]}}"#
    ))
}

fn percent(parts: u32) -> String {
    format!("{}.{:02}%", parts / 100, parts % 100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Exactly the staged slots are at each stage, and nothing else moves.
    #[test]
    fn a_migration_moves_what_it_says((moved, frozen, dual) in stages()) {
        let json = format!(
            r#""moved": "{}", "frozen": "{}", "dual_write": "{}""#,
            percent(moved), percent(frozen), percent(dual)
        );
        let policy = growing(&json);
        let directory = &policy.tables[0].directory;
        let migration = directory.migration.as_ref().unwrap();
        let border = |parts: u32| u64::from(migration.differing) * u64::from(parts) / 10_000;
        let at = |stage| u64::from(migration.slots_at(stage));
        prop_assert_eq!(at(Stage::Moved), border(moved));
        prop_assert_eq!(at(Stage::Moved) + at(Stage::Frozen), border(moved + frozen));
        prop_assert_eq!(
            at(Stage::Moved) + at(Stage::Frozen) + at(Stage::DualWrite),
            border(moved + frozen + dual)
        );
        let elsewhere = (0..16_384)
            .filter(|slot| directory.of_slot(*slot).shard != directory.table.shard(*slot))
            .count();
        prop_assert_eq!(elsewhere as u64, border(moved));
    }

    /// Step by step: what is frozen moves next, nothing that has moved comes back, and the way back is the same way.
    #[test]
    fn stages_grow_in_one_order(moved in 0_u32..9_000, step in 0_u32..1_000) {
        let frozen = growing(&format!(r#""moved": "{}", "frozen": "{}""#, percent(moved), percent(step)));
        let after = growing(&format!(r#""moved": "{}""#, percent(moved + step)));
        let (frozen, after) = (&frozen.tables[0].directory, &after.tables[0].directory);
        for slot in 0..16_384 {
            let (before, now) = (frozen.of_slot(slot), after.of_slot(slot));
            let gone = matches!(before.stage, Stage::Moved | Stage::Frozen);
            prop_assert_eq!(gone, now.stage == Stage::Moved);
        }
    }
}
