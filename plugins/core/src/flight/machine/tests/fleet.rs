//! Flights of the fleet: one request for all gateways, whoever leaves, fails or vanishes.

use super::fleet_world::{Client, Fleet};
use super::*;

const ROUTE: &str = r#""early_refresh": 0, "flight": {"fleet": {}}"#;

/// A client at each worker, and all that follows before the origin answers.
fn herd(fleet: &mut Fleet, path: &str) -> Vec<Client> {
    let places = fleet.workers().into_iter();
    let clients = places.map(|place| fleet.get(place, path)).collect();
    fleet.settle();
    clients
}

fn bodies(fleet: &Fleet, clients: &[Client]) -> Vec<String> {
    clients
        .iter()
        .map(|client| fleet.got(*client).body())
        .collect()
}

#[test]
fn a_herd_at_all_gateways_is_one_request_for_each_expiry() {
    let mut fleet = Fleet::new(3, 2, ROUTE);
    for round in 0..3 {
        let clients = herd(&mut fleet, "/a");
        assert_eq!(fleet.upstream().len(), 1, "round {round}");
        fleet.pass(400);
        let leader = fleet.leader();
        let stored = fleet.origin(leader, FRESH, "x");
        assert_eq!(stored.cache(), "c; fwd=uri-miss; stored");
        fleet.pass(100);
        assert_eq!(bodies(&fleet, &clients), ["x"; 6]);
        for client in clients.iter().filter(|client| **client != leader) {
            let got = fleet.got(*client);
            assert_eq!(got.cache(), "c; fwd=uri-miss; collapsed; ttl=59");
        }
        // From then on everybody has it.
        for place in fleet.workers() {
            let hit = fleet.get(place, "/a");
            assert_eq!(fleet.got(hit).cache(), "c; hit; ttl=59");
        }
        assert!(fleet.sent.values().all(VecDeque::is_empty));
        fleet.pass(60_000);
    }
    let sums = [Event::FleetLead, Event::FleetAnswer].map(|event| {
        let counts = (0..3).map(|gateway| fleet.count(gateway, event));
        counts.sum::<u64>()
    });
    assert_eq!(sums, [3, 6]);
    fleet.assert_over();
}

#[test]
fn a_gateway_that_comes_later_takes_what_is_there_with_its_age() {
    let mut fleet = Fleet::new(3, 1, ROUTE);
    let first = fleet.get((1, 0), "/a");
    fleet.settle();
    fleet.origin(
        first,
        &[
            (":status", "200"),
            ("cache-control", "max-age=60"),
            ("age", "7"),
        ],
        "x",
    );
    fleet.settle();
    fleet.pass(10_000);
    // Its clock is two hours before the other's, or after it.
    for gateway in [0, 2] {
        let client = fleet.get((gateway, 0), "/a");
        assert_eq!(*fleet.got(client), Got::Waits);
        fleet.settle();
        let Got::Answer { age, cache, .. } = fleet.got(client) else {
            panic!("{:?}", fleet.got(client))
        };
        assert_eq!(*age, Some(17));
        assert_eq!(cache, "c; fwd=uri-miss; collapsed; ttl=42");
        assert_eq!(fleet.count(gateway, Event::Lead), 0);
    }
    fleet.assert_over();
}

#[test]
fn other_keys_and_other_routes_have_flights_of_their_own() {
    let route = r#""early_refresh": 0, "key": [{"header": "x-user"}], "on_missing_key": {"default": "-"}, "flight": {"fleet": {}}"#;
    let mut fleet = Fleet::new(2, 1, route);
    fleet.get((0, 0), "/a");
    fleet.get((1, 0), "/b");
    fleet.ask((1, 0), "GET", "/a", &[("x-user", "1")]);
    fleet.settle();
    assert_eq!(fleet.upstream().len(), 3);
    fleet.get((1, 0), "/a");
    fleet.settle();
    assert_eq!(fleet.upstream().len(), 3);
    for client in fleet.upstream() {
        fleet.origin(client, FRESH, "x");
    }
    fleet.pass(100);
    fleet.assert_over();
}

#[test]
fn a_leader_that_leaves_or_fails_lets_another_lead() {
    let mut fleet = Fleet::new(3, 2, ROUTE);
    herd(&mut fleet, "/a");
    let first = fleet.leader();
    fleet.leave(first);
    fleet.pass(100);
    let second = fleet.leader();
    assert_ne!(first, second);
    fleet.origin(second, &[(":status", "503")], "no");
    fleet.pass(100);
    let third = fleet.leader();
    fleet.gateways[third.0].origin_head(
        third.1,
        &[
            (":status", "200"),
            ("cache-control", "max-age=60"),
            ("content-length", "5"),
        ],
        false,
    );
    fleet.gateways[third.0].origin_body(third.1, "ab", false);
    fleet.gateways[third.0].cut(third.1);
    fleet.collect();
    fleet.pass(100);
    let fourth = fleet.leader();
    fleet.origin(fourth, FRESH, "x");
    fleet.pass(100);
    fleet.assert_over();
}

/// The client leaves before Redis says that it leads.
#[test]
fn a_lead_that_is_granted_to_nobody_is_given_back() {
    let mut fleet = Fleet::new(2, 1, ROUTE);
    let gone = fleet.get((0, 0), "/a");
    fleet.leave(gone);
    let other = fleet.get((1, 0), "/a");
    fleet.settle();
    assert!(fleet.got(other).is_upstream() || *fleet.got(other) == Got::Waits);
    fleet.pass(50);
    assert!(fleet.got(other).is_upstream());
    fleet.origin(other, FRESH, "x");
    fleet.settle();
    fleet.assert_over();
}

/// One of those who wait for it in its own gateway asks in its place.
#[test]
fn a_client_that_leaves_while_it_asks_is_replaced() {
    let mut fleet = Fleet::new(1, 2, ROUTE);
    let gone = fleet.get((0, 0), "/a");
    let other = fleet.get((0, 1), "/a");
    assert_eq!(*fleet.got(other), Got::Waits);
    fleet.leave(gone);
    fleet.settle();
    fleet.pass(50);
    assert!(fleet.got(other).is_upstream());
    fleet.origin(other, FRESH, "x");
    fleet.settle();
    fleet.assert_over();
}

#[test]
fn a_gateway_that_vanishes_blocks_the_others_for_a_lease_and_no_longer() {
    let mut fleet = Fleet::new(3, 2, ROUTE);
    herd(&mut fleet, "/a");
    let lost = fleet.leader();
    // It is there for a while, and renews.
    fleet.pass(4_000);
    assert_eq!(fleet.upstream(), [lost]);
    let world = fleet.gateways.remove(lost.0);
    drop(world);
    fleet.sent.clear();
    fleet.pass(800);
    assert_eq!(fleet.upstream().len(), 0);
    // Those who have waited for 5 seconds by now go alone.
    let late = fleet.get((0, 0), "/a");
    fleet.pass(200);
    let _ = late;
    assert_eq!(fleet.upstream().len(), 4);
    for client in fleet.upstream() {
        fleet.origin(client, FRESH, "x");
    }
    fleet.pass(100);
    assert_eq!(fleet.got(late).body(), "x");
    fleet.assert_over();
}

#[test]
fn after_the_lease_of_one_that_vanished_another_leads() {
    let route = r#""early_refresh": 0, "flight": {"fleet": {}, "lease": "1s"}"#;
    let mut fleet = Fleet::new(3, 2, route);
    herd(&mut fleet, "/a");
    let lost = fleet.leader();
    fleet.pass(2_000);
    drop(fleet.gateways.remove(lost.0));
    fleet.sent.clear();
    fleet.pass(500);
    assert_eq!(fleet.upstream(), []);
    fleet.pass(600);
    let next = fleet.leader();
    fleet.origin(next, FRESH, "x");
    fleet.pass(100);
    assert_eq!(fleet.upstream(), []);
    fleet.assert_over();
}

#[test]
fn nobody_waits_for_another_gateway_longer_than_for_this_one() {
    let route = r#""early_refresh": 0, "flight": {"fleet": {}, "wait": "1s"}"#;
    let mut fleet = Fleet::new(2, 1, route);
    let first = fleet.get((0, 0), "/a");
    fleet.settle();
    let second = fleet.get((1, 0), "/a");
    fleet.pass(950);
    assert_eq!(*fleet.got(second), Got::Waits);
    fleet.pass(100);
    assert!(fleet.got(second).is_upstream());
    assert_eq!(fleet.count(1, Event::WaitedOut), 1);
    assert!(fleet.count(1, Event::FleetWait) > 15);
    fleet.origin(second, FRESH, "own");
    // What it got by itself is not the fleet's, which has one that leads.
    fleet.origin(first, FRESH, "x");
    fleet.pass(100);
    fleet.assert_over();
}

/// Redis has time to say whether there is an answer, and that is all it is for.
#[test]
fn who_may_not_wait_goes_as_soon_as_another_gateway_is_known_to_lead() {
    let route = r#""early_refresh": 0, "flight": {"fleet": {}, "wait": "0s"}"#;
    let mut fleet = Fleet::new(2, 1, route);
    let first = fleet.get((0, 0), "/a");
    fleet.settle();
    let second = fleet.get((1, 0), "/a");
    assert_eq!(*fleet.got(second), Got::Waits);
    fleet.settle();
    assert_eq!(fleet.upstream(), [first, second]);
    assert_eq!(fleet.count(1, Event::WaitedOut), 1);
    fleet.origin(first, FRESH, "x");
    fleet.origin(second, FRESH, "y");
    fleet.pass(100);
    fleet.assert_over();
}

#[test]
fn without_redis_each_gateway_asks_for_itself_at_once() {
    let mut fleet = Fleet::new(3, 2, ROUTE);
    let places = fleet.workers();
    let clients: Vec<Client> = places.iter().map(|place| fleet.get(*place, "/a")).collect();
    while places.iter().any(|place| fleet.refuse(*place)) {}
    assert_eq!(fleet.upstream().len(), 3);
    for client in fleet.upstream() {
        fleet.origin(client, FRESH, "x");
    }
    while places
        .iter()
        .any(|place| fleet.deliver(*place) || fleet.refuse(*place))
    {}
    assert_eq!(bodies(&fleet, &clients), ["x"; 6]);
    assert_eq!(fleet.count(0, Event::FleetTrouble), 1);
    fleet.assert_over();
}

#[test]
fn a_lead_whose_reply_is_lost_is_given_back() {
    let mut fleet = Fleet::new(2, 1, ROUTE);
    let first = fleet.get((0, 0), "/a");
    assert!(fleet.reply((0, 0), true));
    assert!(fleet.got(first).is_upstream());
    fleet.settle();
    let second = fleet.get((1, 0), "/a");
    fleet.settle();
    assert!(fleet.got(second).is_upstream(), "the lead is free");
    for client in [first, second] {
        fleet.origin(client, FRESH, "x");
    }
    fleet.settle();
    fleet.assert_over();
}

/// Redis is so slow that the wait is over first.
#[test]
fn a_reply_that_comes_too_late_holds_nobody_and_blocks_nobody() {
    let route = r#""early_refresh": 0, "flight": {"fleet": {}, "wait": "0s"}"#;
    let mut fleet = Fleet::new(2, 1, route);
    let first = fleet.get((0, 0), "/a");
    fleet.later(100);
    fleet.tick((0, 0));
    assert!(fleet.got(first).is_upstream());
    fleet.settle();
    let second = fleet.get((1, 0), "/a");
    fleet.settle();
    assert!(
        fleet.got(second).is_upstream(),
        "the late lead was given back"
    );
    for client in [first, second] {
        fleet.origin(client, FRESH, "x");
    }
    fleet.settle();
    fleet.assert_over();
}

#[test]
fn a_refresh_without_a_client_is_one_for_the_fleet() {
    let route = r#""early_refresh": 0, "stale_while_revalidate": "1m", "refresh": {"cluster": "o"}, "flight": {"fleet": {}}"#;
    let mut fleet = Fleet::new(3, 1, route);
    herd(&mut fleet, "/a");
    let leader = fleet.leader();
    fleet.origin(leader, FRESH, "old");
    fleet.pass(60_100);
    for _ in 0..2 {
        let clients = herd(&mut fleet, "/a");
        assert_eq!(bodies(&fleet, &clients), ["old"; 3]);
        assert_eq!(fleet.upstream(), []);
        fleet.pass(100);
    }
    let calls: usize = fleet.gateways.iter().map(|world| world.calls.len()).sum();
    assert_eq!(calls, 1);
    let at = fleet
        .gateways
        .iter()
        .position(|world| !world.calls.is_empty())
        .unwrap();
    let world = &mut fleet.gateways[at];
    let (worker, call) = world.calls.pop().unwrap();
    let reply = Some((Headers::from_pairs(FRESH), b"new".to_vec()));
    world.workers[worker].fetched(call.tag, reply, world.now);
    fleet.collect();
    fleet.pass(100);
    let clients = herd(&mut fleet, "/a");
    assert_eq!(bodies(&fleet, &clients), ["new"; 3]);
    fleet.assert_over();
}

#[test]
fn what_is_fetched_on_after_its_client_left_is_the_fleets() {
    let route = r#""early_refresh": 0, "refresh": {"cluster": "o"}, "flight": {"fleet": {}, "on_leader_gone": "finish"}"#;
    let mut fleet = Fleet::new(2, 1, route);
    let clients = herd(&mut fleet, "/a");
    let leader = fleet.leader();
    let other = clients[1 - leader.0];
    fleet.leave(leader);
    fleet.gateways[leader.0].release(0);
    fleet.pass(200);
    assert_eq!(*fleet.got(other), Got::Waits);
    let world = &mut fleet.gateways[leader.0];
    let (worker, call) = world.calls.pop().unwrap();
    let reply = Some((Headers::from_pairs(FRESH), b"x".to_vec()));
    world.workers[worker].fetched(call.tag, reply, world.now);
    fleet.collect();
    fleet.pass(100);
    assert_eq!(fleet.got(other).body(), "x");
    fleet.assert_over();
}
