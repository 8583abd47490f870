//! Which answers go from gateway to gateway, and which are not taken.

use super::fleet_world::{Client, Fleet};
use super::*;

const ROUTE: &str =
    r#""early_refresh": 0, "hit_for_miss": "1s", "flight": {"fleet": {"max_body": "1KiB"}}"#;

/// A client's answer from the origin, and all that follows.
fn fetch(fleet: &mut Fleet, place: (usize, usize), path: &str, body: &str) -> Client {
    let client = fleet.get(place, path);
    fleet.settle();
    assert!(fleet.got(client).is_upstream(), "{:?}", fleet.got(client));
    fleet.origin(client, FRESH, body);
    fleet.settle();
    client
}

fn body(fleet: &mut Fleet, place: (usize, usize), path: &str) -> String {
    let client = fleet.get(place, path);
    fleet.settle();
    fleet.got(client).body()
}

#[test]
fn what_is_not_to_be_shared_has_each_gateway_ask_for_itself_and_nobody_wait() {
    let mut fleet = Fleet::new(3, 1, ROUTE);
    let clients: Vec<Client> = (0..3)
        .map(|gateway| fleet.get((gateway, 0), "/a"))
        .collect();
    fleet.settle();
    let leader = fleet.leader();
    fleet.origin(leader, &[(":status", "200"), ("set-cookie", "a=b")], "x");
    fleet.pass(50);
    // Each of the others leads for its own gateway, at once.
    assert_eq!(fleet.upstream().len(), 2);
    for client in fleet.upstream() {
        fleet.origin(client, &[(":status", "200"), ("set-cookie", "a=b")], "x");
    }
    fleet.settle();
    for client in clients {
        assert_eq!(fleet.got(client).body(), "x");
    }
    let next: Vec<Client> = (0..3)
        .map(|gateway| fleet.get((gateway, 0), "/a"))
        .collect();
    fleet.settle();
    assert_eq!(fleet.upstream(), next);
    for client in next {
        fleet.origin(client, FRESH, "y");
    }
    fleet.pass(2_000);
    // By then it can be shared again.
    let owns: u64 = (0..3)
        .map(|gateway| fleet.count(gateway, Event::FleetOwn))
        .sum();
    assert_eq!(owns, 2);
    fleet.assert_over();
}

/// However short the time is in which requests do not wait for each other.
#[test]
fn gateways_that_wait_hear_that_an_answer_is_not_for_all() {
    let route = r#""early_refresh": 0, "hit_for_miss": "0s", "flight": {"fleet": {}}"#;
    let mut fleet = Fleet::new(3, 1, route);
    let clients = [0, 1, 2].map(|gateway| fleet.get((gateway, 0), "/a"));
    fleet.settle();
    let leader = fleet.leader();
    fleet.origin(leader, &[(":status", "200"), ("set-cookie", "a=b")], "x");
    fleet.pass(50);
    let others = clients.iter().filter(|client| **client != leader);
    assert_eq!(fleet.upstream(), others.copied().collect::<Vec<_>>());
    for client in fleet.upstream() {
        fleet.origin(client, FRESH, "x");
    }
    fleet.pass(300);
    fleet.assert_over();
}

#[test]
fn what_is_too_long_for_redis_is_for_its_own_gateway() {
    let long = "x".repeat(1_025);
    let length = [
        (":status", "200"),
        ("cache-control", "max-age=60"),
        ("content-length", "1025"),
    ];
    for fields in [&length[..], FRESH] {
        let mut fleet = Fleet::new(2, 2, ROUTE);
        let clients: Vec<Client> = fleet
            .workers()
            .into_iter()
            .map(|place| fleet.get(place, "/a"))
            .collect();
        fleet.settle();
        let leader = fleet.leader();
        let world = &mut fleet.gateways[leader.0];
        world.origin_head(leader.1, fields, false);
        world.origin_body(leader.1, &long[..1_025], false);
        fleet.collect();
        // The other gateway is told before the end.
        fleet.pass(50);
        let other = fleet.leader();
        assert_ne!(other.0, leader.0);
        let world = &mut fleet.gateways[leader.0];
        world.origin_body(leader.1, "", true);
        fleet.collect();
        fleet.origin(other, FRESH, &long);
        fleet.pass(50);
        let waited = clients.iter().filter(|client| **client != leader);
        for client in waited {
            assert_eq!(fleet.got(*client).body(), long);
        }
        fleet.assert_over();
    }
}

#[test]
fn variants_are_one_request_each_for_all_gateways() {
    let vary = [
        (":status", "200"),
        ("cache-control", "max-age=60"),
        ("vary", "accept-encoding"),
    ];
    let mut fleet = Fleet::new(3, 2, ROUTE);
    let codings = ["gzip", "br"];
    let clients: Vec<(Client, &str)> = fleet
        .workers()
        .into_iter()
        .flat_map(|place| codings.map(|coding| (place, coding)))
        .map(|(place, coding)| {
            (
                fleet.ask(place, "GET", "/a", &[("accept-encoding", coding)]),
                coding,
            )
        })
        .collect();
    fleet.settle();
    let mut asked = Vec::new();
    while let [leader] = fleet.upstream().as_slice() {
        let coding = clients
            .iter()
            .find(|(client, _)| client == leader)
            .unwrap()
            .1;
        asked.push(coding);
        fleet.origin(*leader, &vary, coding);
        fleet.pass(50);
    }
    asked.sort_unstable();
    assert_eq!(asked, ["br", "gzip"]);
    fleet.pass(100);
    for (client, coding) in &clients {
        assert_eq!(fleet.got(*client).body(), *coding);
    }
    // Then the service no longer tells them apart.
    fleet.pass(60_000);
    let client = fleet.ask((0, 0), "GET", "/a", &[("accept-encoding", "gzip")]);
    fleet.settle();
    fleet.origin(client, FRESH, "plain");
    fleet.settle();
    let client = fleet.ask((1, 0), "GET", "/a", &[("accept-encoding", "br")]);
    fleet.settle();
    assert_eq!(fleet.got(client).body(), "plain");
    fleet.assert_over();
}

#[test]
fn what_a_gateway_has_invalidated_it_never_takes_from_another() {
    let mut fleet = Fleet::new(2, 2, ROUTE);
    fetch(&mut fleet, (0, 0), "/a", "old");
    fleet.pass(1_000);
    let post = fleet.ask((1, 0), "POST", "/a", &[]);
    fleet.origin(post, &[(":status", "204")], "");
    fleet.settle();
    for worker in 0..2 {
        let path = "/a";
        if worker == 0 {
            fetch(&mut fleet, (1, worker), path, "new");
        } else {
            assert_eq!(body(&mut fleet, (1, worker), path), "new");
        }
    }
    // The other gateway keeps what it has until it expires, and then has the new one.
    assert_eq!(body(&mut fleet, (0, 1), "/a"), "old");
    fleet.pass(59_500);
    assert_eq!(body(&mut fleet, (0, 1), "/a"), "new");
    fleet.assert_over();
}

/// The lead of another gateway began before the invalidation here: what it brings may be older.
#[test]
fn a_flight_that_began_before_an_invalidation_is_none_here() {
    let mut fleet = Fleet::new(2, 1, ROUTE);
    let first = fleet.get((0, 0), "/a");
    fleet.settle();
    let post = fleet.ask((1, 0), "POST", "/a", &[]);
    fleet.origin(post, &[(":status", "204")], "");
    let second = fleet.get((1, 0), "/a");
    fleet.settle();
    assert!(fleet.got(second).is_upstream());
    fleet.origin(second, FRESH, "new");
    fleet.settle();
    // It comes late, and does not take the newer one's place.
    fleet.origin(first, FRESH, "old");
    fleet.settle();
    let mut third = Fleet::new(1, 1, ROUTE);
    std::mem::swap(&mut third.server, &mut fleet.server);
    third.now = fleet.now;
    assert_eq!(body(&mut third, (0, 0), "/a"), "new");
    std::mem::swap(&mut third.server, &mut fleet.server);
    fleet.assert_over();
}

#[test]
fn what_was_forgotten_altogether_is_not_taken_from_another_gateway() {
    let mut fleet = Fleet::new(2, 1, ROUTE);
    fetch(&mut fleet, (0, 0), "/a", "old");
    fleet.pass(100);
    let purge = fleet.ask(
        (1, 0),
        "POST",
        "/.purge",
        &[("authorization", "Bearer t"), ("sluice-purge", "*")],
    );
    assert_eq!(fleet.got(purge).status(), 204);
    // A worker that starts now knows as well.
    fleet.gateways[1].start();
    fetch(&mut fleet, (1, 1), "/a", "new");
    assert_eq!(body(&mut fleet, (1, 0), "/a"), "new");
    fleet.assert_over();
}

#[test]
fn who_wants_nothing_stored_leads_or_gets_what_was_asked_for_since() {
    let mut fleet = Fleet::new(2, 1, ROUTE);
    fetch(&mut fleet, (0, 0), "/a", "old");
    fleet.pass(100);
    let client = fleet.ask((1, 0), "GET", "/a", &[("cache-control", "no-cache")]);
    fleet.settle();
    assert!(fleet.got(client).is_upstream());
    fleet.origin(client, FRESH, "new");
    fleet.settle();
    fleet.assert_over();
}

#[test]
fn after_the_clock_was_put_forward_nothing_older_is_taken() {
    let mut fleet = Fleet::new(2, 1, ROUTE);
    fetch(&mut fleet, (0, 0), "/a", "old");
    fleet.pass(100);
    let post = fleet.ask((1, 0), "POST", "/a", &[]);
    fleet.origin(post, &[(":status", "204")], "");
    // A minute by its own clock, and nothing by the others'.
    fleet.gateways[1].now += 20_000;
    let client = fleet.get((1, 0), "/a");
    fleet.settle();
    assert!(fleet.got(client).is_upstream());
    fleet.origin(client, FRESH, "new");
    fleet.settle();
    fleet.assert_over();
}

#[test]
fn garbage_in_redis_is_fetched_anew_and_replaced() {
    let mut fleet = Fleet::new(3, 1, ROUTE);
    fetch(&mut fleet, (0, 0), "/a", "x");
    let [name] = fleet.flights().try_into().unwrap();
    fleet.run(&[b"HSET", &name, b"blob", b"garbage"]);
    fetch(&mut fleet, (1, 0), "/a", "y");
    assert_eq!(fleet.count(1, Event::FleetTrouble), 1);
    assert_eq!(body(&mut fleet, (2, 0), "/a"), "y");
    // Of another kind than a flight, each gateway does without.
    fleet.pass(61_000);
    fleet.run(&[b"SET", &name, b"garbage", b"PX", b"1000"]);
    let clients: Vec<Client> = (0..3)
        .map(|gateway| fleet.get((gateway, 0), "/a"))
        .collect();
    fleet.settle();
    assert_eq!(fleet.upstream(), clients);
    for client in clients {
        fleet.origin(client, FRESH, "z");
    }
    fleet.settle();
    fleet.assert_over();
}

/// In the last millisecond of its time it is of no use to others, who take it for older.
#[test]
fn an_answer_whose_time_is_almost_over_makes_no_herd() {
    let mut fleet = Fleet::new(2, 2, ROUTE);
    let first = fleet.get((0, 0), "/a");
    fleet.settle();
    fleet.origin(
        first,
        &[(":status", "200"), ("cache-control", "max-age=1")],
        "x",
    );
    fleet.settle();
    fleet.later(999);
    let clients: Vec<Client> = (0..10).map(|at| fleet.get((1, at % 2), "/a")).collect();
    fleet.settle();
    let leader = fleet.leader();
    fleet.origin(leader, FRESH, "y");
    fleet.settle();
    for client in clients {
        assert_eq!(fleet.got(client).body(), "y");
    }
    fleet.assert_over();
}

/// It had to be revalidated: another gateway does that for it.
#[test]
fn a_stale_answer_of_another_gateway_is_revalidated_once_for_all() {
    let etag = [
        (":status", "200"),
        ("cache-control", "max-age=1"),
        ("etag", "\"1\""),
    ];
    let mut fleet = Fleet::new(2, 1, ROUTE);
    let first = fleet.get((0, 0), "/a");
    fleet.settle();
    fleet.origin(first, &etag, "x");
    fleet.pass(2_000);
    let client = fleet.get((1, 0), "/a");
    fleet.settle();
    let Got::Upstream(changes) = fleet.got(client) else {
        panic!("{:?}", fleet.got(client))
    };
    let asks = ("if-none-match", Some(b"\"1\"".to_vec()));
    assert!(changes.contains(&asks), "{changes:?}");
    let not_modified = [
        (":status", "304"),
        ("cache-control", "max-age=60"),
        ("etag", "\"1\""),
    ];
    fleet.origin(client, &not_modified, "");
    fleet.settle();
    assert_eq!(fleet.got(client).body(), "x");
    assert_eq!(body(&mut fleet, (0, 0), "/a"), "x");
    fleet.assert_over();
}
