//! What a good policy comes to. What is wrong with bad ones is in `refusals`.

use super::*;
use crate::cache::{Parameters, Query, Rule, Ttl};
use crate::headers::Headers;
use crate::policy::examples;
use crate::selector::testing::Fake;

mod refusals;

fn example(index: usize) -> Coalesce {
    let (name, json) = examples::COALESCE[index];
    Coalesce::load(json.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A policy with one route, to which `fields` are added.
fn with(fields: &str) -> Route {
    let json = format!(r#"{{"routes": [{{"name": "a", {fields}}}]}}"#);
    Coalesce::load(json.as_bytes()).unwrap().routes.remove(0)
}

fn get(path: &str, headers: &[(&str, &str)]) -> Fake {
    let mut all = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "shop.example"),
        (":path", path),
    ];
    all.extend_from_slice(headers);
    Fake::new(&all)
}

#[test]
fn the_minimal_example_takes_every_default() {
    let policy = example(0);
    assert_eq!(policy.store.shared, 64 << 20);
    assert_eq!(policy.store.worker, 16 << 20);
    assert_eq!(policy.max_waiting, 16_384);
    assert!(policy.purge.is_none());
    assert_eq!(policy.cache_status.as_deref(), Some("sluice"));
    assert_eq!(policy.max_body(), 1 << 20);
    assert!(policy.redis.is_none() && policy.guards.is_empty());
    let [route] = policy.routes.as_slice() else {
        panic!("one route");
    };
    assert_eq!(route.name, "catalogue");
    assert!(route.key.is_none());
    // Only what origins call fresh, nothing with credentials, nothing stale, no failure.
    assert_eq!(route.rule, Rule::default());
    assert_eq!(route.jitter, 10);
    assert_eq!(route.early_refresh.to_bits(), 1.0_f64.to_bits());
    assert_eq!(route.refresh, None);
    assert_eq!(route.hit_for_miss, 10_000);
    assert_eq!(route.max_variants, 8);
    let flight = Flight {
        wait: 5_000,
        max_followers: 4_096,
        max_body: 1 << 20,
        max_time: 10_000,
        lease: 3_000,
        on_leader_gone: OnLeaderGone::Promote,
        fleet: None,
    };
    assert_eq!(route.flight, flight);
}

#[test]
fn the_full_example_says_everything() {
    let policy = example(2);
    assert_eq!(policy.cache_status.as_deref(), Some("edge-eu-1"));
    let purge = policy.purge.unwrap();
    assert_eq!(purge.path, "/.sluice/purge");
    assert_eq!(purge.token, Secret::Env("PURGE_TOKEN".to_owned()));
    let [search, files] = policy.routes.as_slice() else {
        panic!("two routes");
    };
    let ttl = |first, last, lifetime| Ttl {
        first,
        last,
        lifetime,
    };
    let rule = Rule {
        ttl: vec![
            ttl(200, 200, 10_000),
            ttl(300, 308, 10_000),
            ttl(400, 499, 1_000),
        ],
        max_ttl: Some(3_600_000),
        stale_while_revalidate: 30_000,
        stale_if_error: 600_000,
        authorization: true,
        cookies: vec!["_ga".to_owned(), "consent".to_owned()],
        server_errors: false,
        ignore_client: false,
        targeted: vec![
            "gateway-cache-control".to_owned(),
            "cdn-cache-control".to_owned(),
        ],
        query: Query {
            sorted: true,
            parameters: Parameters::Only(vec![
                "q".to_owned(),
                "page".to_owned(),
                "filter_*".to_owned(),
            ]),
        },
    };
    assert_eq!(search.rule, rule);
    assert_eq!(search.early_refresh.to_bits(), 1.5_f64.to_bits());
    let refresh = search.refresh.as_ref().unwrap();
    assert_eq!(
        (refresh.cluster.as_str(), refresh.timeout),
        ("search", 5_000)
    );
    assert_eq!(search.flight.on_leader_gone, OnLeaderGone::Finish);
    assert_eq!(search.flight.max_body, 4 << 20);
    assert_eq!(search.flight.fleet, Some(64 << 10));
    assert!(files.rule.server_errors && files.rule.ignore_client);
    assert!(!files.rule.authorization);
    let dropped = Parameters::AllBut(vec!["utm_*".to_owned()]);
    assert_eq!(files.rule.query.parameters, dropped);
}

#[test]
fn the_full_example_has_a_guard() {
    let policy = example(2);
    assert_eq!(policy.redis.unwrap().cluster_name, "sluice-redis");
    let [guard] = policy.guards.as_slice() else {
        panic!("one guard");
    };
    assert_eq!((guard.key.as_str(), guard.status), ("files-v2", 410));
    assert_eq!((guard.refresh, guard.max_age), (2_000, 30_000));
    assert_eq!(guard.max_build_age, Some(2 * 86_400_000));
    assert_eq!(guard.max_size, 32 << 20);
    let learn = guard.learn.as_ref().unwrap();
    assert_eq!(learn.statuses, [(201, 201), (202, 204)]);
    let id = |key: &Key, path: &str| {
        let mut id = Vec::new();
        let found = key.extract(&get(path, &[]), &ClientIp::default(), &mut id);
        found.is_ok().then_some(id)
    };
    assert!(guard.matcher.matches(&get("/files/ann/1/text", &[])));
    let asked = id(&guard.id, "/files/ann/1/text");
    assert!(asked.is_some());
    assert_eq!(id(&learn.id, "/files/ann/1"), asked);
    assert_eq!(id(&learn.id, "/files/ann/1/text"), None, "no such Location");
}

#[test]
fn the_smallest_guard_takes_every_default() {
    let policy = |more: &str| {
        let json = format!(
            r#"{{"redis": {{"cluster": "r"}}, "routes": [{{"name": "a"}}],
                "guards": [{{"name": "items", "match": {{"path": {{"template": "/items/{{id}}"}}}},
                "id": [{{"path": "id"}}] {more}}}]}}"#
        );
        Coalesce::load(json.as_bytes()).unwrap().guards.remove(0)
    };
    let guard = policy("");
    assert_eq!((guard.key.as_str(), guard.status), ("items", 404));
    assert_eq!((guard.refresh, guard.max_age), (5_000, 60_000));
    assert_eq!((guard.max_build_age, guard.max_size), (None, 16 << 20));
    assert!(guard.learn.is_none());
    assert!(guard.matcher.matches(&get("/items/7", &[])));
    let other = |method: &str| Fake::new(&[(":method", method), (":path", "/items/7")]);
    assert!(!guard.matcher.matches(&other("PUT")), "it may create it");
    assert_eq!(policy(r#", "refresh": "30s""#).max_age, 90_000);
    let learn = policy(r#", "learn": {}"#).learn.unwrap();
    assert_eq!(learn.statuses, [(201, 201)]);
    assert!(learn.matcher.matches(&other("PUT")) && learn.matcher.matches(&other("POST")));
    assert!(!learn.matcher.matches(&other("GET")));
}

#[test]
fn the_longest_body_fits_a_small_store() {
    let policy = Coalesce::load(br#"{"store": {"shared": "1MiB"}, "routes": [{"name": "a"}]}"#);
    assert_eq!(policy.unwrap().max_body(), 32 << 10);
}

#[test]
fn a_request_belongs_to_the_first_route_that_it_matches() {
    let policy = example(1);
    let index = |path: &str| policy.route(&get(path, &[])).map(|(index, _)| index);
    assert_eq!(index("/stores/7/prices/1"), Some(0));
    assert_eq!(index("/about"), Some(1));
    assert_eq!(
        example(0).route(&get("/about", &[])).map(|(at, _)| at),
        None
    );
}

#[test]
fn rule_8_an_identity_is_all_parts_of_the_key() {
    let route = with(r#""key": ["consumer", {"header": "x-plan"}]"#);
    let identity =
        |headers: &[(&str, &str)]| route.identity(&get("/", headers), &ClientIp::default());
    let alice = identity(&[("x-consumer-id", "alice"), ("x-plan", "a")]).unwrap();
    let bob = identity(&[("x-consumer-id", "bob"), ("x-plan", "a")]).unwrap();
    assert_ne!(alice, bob);
    let moved = identity(&[("x-consumer-id", "alic"), ("x-plan", "ea")]).unwrap();
    assert_ne!(alice, moved);
    assert_eq!(identity(&[("x-plan", "a")]), None, "goes upstream alone");
    let twice = [
        ("x-consumer-id", "a"),
        ("x-consumer-id", "b"),
        ("x-plan", "a"),
    ];
    assert_eq!(identity(&twice), None, "nobody can tell who it is");
    let tenant = with(r#""key": [{"cookie": "tenant"}], "cookies": ["tenant"]"#);
    let identity = |cookie| tenant.identity(&get("/", &[("cookie", cookie)]), &ClientIp::default());
    assert!(identity("tenant=a").is_some());
    assert_eq!(identity("tenant=a; tenant=b"), None, "nor which counts");
    let nobody = with(r#""max_ttl": "1s""#);
    assert_eq!(
        nobody.identity(&get("/", &[]), &ClientIp::default()),
        Some(Vec::new())
    );
}

#[test]
fn what_is_missing_from_a_key_is_what_the_policy_takes_it_for() {
    let route = with(r#""key": ["consumer"], "on_missing_key": {"default": "guest"}"#);
    let identity =
        |headers: &[(&str, &str)]| route.identity(&get("/", headers), &ClientIp::default());
    assert_eq!(identity(&[]), identity(&[("x-consumer-id", "guest")]));
    let twice = [("x-consumer-id", "a"), ("x-consumer-id", "b")];
    assert_eq!(identity(&twice), None);
}

#[test]
fn what_is_invalidated_has_the_keys_of_every_route_and_scheme() {
    let policy = example(2);
    let request = get("/v1/search/x?q=1&utm_a=2&z=3", &[]);
    let target = b"/v1/search/x?q=1&utm_a=2&z=3";
    let keys = policy.uri_keys(&request.headers, target);
    assert_eq!(keys.len(), 4);
    let authority = request.headers.first(":authority").unwrap();
    for scheme in [&b"http"[..], b"https"] {
        let there = Headers::from_pairs(&[(":scheme", scheme), (":authority", authority)]);
        for route in &policy.routes {
            let key = crate::cache::uri_key(&there, target, &route.rule.query);
            assert!(keys.contains(&key));
        }
    }
    let same = example(0).uri_keys(&request.headers, target);
    assert_eq!(same.len(), 2);
}

#[test]
fn the_longest_lease_is_that_of_a_short_flight() {
    let route = with(r#""flight": {"max_time": "1s"}"#);
    assert_eq!(route.flight.lease, 1_000);
}

#[test]
fn a_flight_of_the_fleet_hands_over_no_more_than_is_stored() {
    let fleet = |flight: &str| {
        let json = format!(
            r#"{{"redis": {{"cluster": "r"}}, "routes": [{{"name": "a", "flight": {flight}}}]}}"#
        );
        Coalesce::load(json.as_bytes()).unwrap().routes[0]
            .flight
            .fleet
    };
    assert_eq!(fleet(r#"{"fleet": {}}"#), Some(256 << 10));
    assert_eq!(fleet(r#"{"fleet": {}, "max_body": "8KiB"}"#), Some(8 << 10));
    assert_eq!(fleet(r#"{"fleet": {"max_body": "1KiB"}}"#), Some(1 << 10));
}

#[test]
fn whoever_purges_must_know_what_the_environment_holds() {
    let policy = example(1);
    let token = policy.purge_token(|name| (name == "PURGE_TOKEN").then(|| "t".to_owned()));
    assert_eq!(token, Ok(Some("t".to_owned())));
    for environment in [None, Some(String::new())] {
        let problem = policy.purge_token(|_| environment.clone()).unwrap_err();
        assert!(
            problem.starts_with("purge.token: found no variable PURGE_TOKEN"),
            "{problem}"
        );
    }
    assert_eq!(example(0).purge_token(|_| None), Ok(None));
}

#[test]
fn the_field_can_be_hidden() {
    let policy = Coalesce::load(br#"{"cache_status": "hidden", "routes": [{"name": "a"}]}"#);
    assert_eq!(policy.unwrap().cache_status, None);
}
