//! What is no longer fresh.

use super::*;

const VALID: &[(&str, &str)] = &[
    (":status", "200"),
    ("cache-control", "max-age=10"),
    ("etag", "\"1\""),
];
const UNCHANGED: &[(&str, &str)] = &[
    (":status", "304"),
    ("cache-control", "max-age=10"),
    ("etag", "\"1\""),
];

fn store(world: &mut World, fields: &[(&str, &str)]) {
    let client = world.get(0, "/a");
    world.origin(client, fields, "answer");
    world.settle();
}

#[test]
fn a_stale_answer_is_revalidated_by_one_request_for_all() {
    let mut world = World::new(2, r#""stale_if_error": "0s""#);
    store(&mut world, VALID);
    world.pass(11_000);
    let leader = world.get(1, "/a");
    let followers: Vec<usize> = (0..10).map(|number| world.get(number % 2, "/a")).collect();
    let asks = Got::Upstream(vec![("if-none-match", Some(b"\"1\"".to_vec()))]);
    assert_eq!(*world.got(leader), asks);
    assert_eq!(world.waiting(), 10);
    let got = world.origin(leader, UNCHANGED, "");
    assert_eq!((got.status(), got.body().as_str()), (200, "answer"));
    assert_eq!(got.cache(), "c; fwd=stale; fwd-status=304; stored; ttl=10");
    world.settle();
    for follower in followers {
        assert_eq!(world.got(follower).body(), "answer");
    }
    world.pass(5_000);
    let hit = world.get(0, "/a");
    assert_eq!(world.got(hit).cache(), "c; hit; ttl=5");
    world.assert_over();
}

#[test]
fn one_answer_for_each_expiry() {
    let mut world = World::new(4, r#""stale_if_error": "0s""#);
    let mut asked = 0;
    for _ in 0..10 {
        for worker in 0..4 {
            for _ in 0..25 {
                world.get(worker, "/a");
            }
        }
        for client in world.upstream() {
            asked += 1;
            world.origin(client, VALID, "answer");
        }
        world.settle();
        world.pass(10_050);
    }
    assert_eq!(asked, 10);
    world.assert_over();
}

#[test]
fn a_failure_leaves_the_stale_answer_to_stand_in() {
    let mut world = World::new(2, r#""stale_if_error": "1m""#);
    store(&mut world, VALID);
    world.pass(11_000);
    let leader = world.get(0, "/a");
    let followers: Vec<usize> = (0..6).map(|number| world.get(number % 2, "/a")).collect();
    let got = world.origin(leader, &[(":status", "503")], "broken");
    assert_eq!((got.status(), got.body().as_str()), (200, "answer"));
    assert_eq!(got.cache(), "c; fwd=stale; fwd-status=503; ttl=-1");
    world.settle();
    let second = world.upstream();
    assert_eq!(second.len(), 1, "one more tries");
    world.origin(second[0], &[(":status", "503")], "broken");
    world.settle();
    for follower in followers {
        assert_eq!(world.got(follower).body(), "answer");
    }
    world.assert_over();
    world.pass(60_000);
    let late = world.get(0, "/a");
    assert_eq!(
        world.origin(late, &[(":status", "503")], "broken").status(),
        503
    );
}

#[test]
fn stale_while_revalidate_serves_all_but_the_one_that_asks() {
    let mut world = World::new(2, r#""stale_while_revalidate": "1m""#);
    store(&mut world, VALID);
    world.pass(11_000);
    let asks = world.get(1, "/a");
    assert!(world.got(asks).is_upstream());
    for worker in [0, 1, 0, 1] {
        let served = world.get(worker, "/a");
        assert_eq!(world.got(served).body(), "answer");
        assert_eq!(world.got(served).cache(), "c; hit; ttl=-1");
    }
    world.origin(asks, VALID, "new");
    for worker in [0, 1] {
        let served = world.get(worker, "/a");
        assert_eq!(world.got(served).body(), "new");
    }
    world.assert_over();
}

const BACKGROUND: &str = r#""stale_while_revalidate": "1m", "refresh": {"cluster": "shop"}"#;

#[test]
fn with_a_cluster_to_ask_nobody_waits_for_a_refresh() {
    let mut world = World::new(2, BACKGROUND);
    store(&mut world, VALID);
    world.pass(11_000);
    for worker in [0, 1, 0, 1] {
        let served = world.get(worker, "/a");
        assert_eq!(world.got(served).body(), "answer");
    }
    world.settle();
    let (worker, call) = world.calls.pop().unwrap();
    assert!(world.calls.is_empty(), "one for all");
    assert_eq!(call.cluster, "shop");
    let has = |name: &str, value: &str| {
        let field = (name.to_owned(), value.to_owned());
        assert!(call.fields.contains(&field), "{:?}", call.fields);
    };
    has(":method", "GET");
    has(":path", "/a");
    has(":authority", "shop");
    has("if-none-match", "\"1\"");
    let reply = Some((Headers::from_pairs(VALID), b"new".to_vec()));
    world.workers[worker].fetched(call.tag, reply, world.now);
    world.settle();
    for worker in [0, 1] {
        let served = world.get(worker, "/a");
        assert_eq!(world.got(served).body(), "new");
    }
    world.assert_over();
}

#[test]
fn a_refresh_that_fails_leaves_the_stale_answer_and_is_tried_again() {
    let mut world = World::new(1, BACKGROUND);
    store(&mut world, VALID);
    world.pass(11_000);
    for _ in 0..3 {
        let served = world.get(0, "/a");
        assert_eq!(world.got(served).body(), "answer");
        world.settle();
        let (worker, call) = world.calls.pop().unwrap();
        world.workers[worker].fetched(call.tag, None, world.now);
        world.settle();
    }
    let served = world.get(0, "/a");
    world.settle();
    assert_eq!(world.got(served).body(), "answer");
    let (worker, call) = world.calls.pop().unwrap();
    let reply = Some((Headers::from_pairs(UNCHANGED), Vec::new()));
    world.workers[worker].fetched(call.tag, reply, world.now);
    let served = world.get(0, "/a");
    assert_eq!(world.got(served).cache(), "c; hit; ttl=10");
    world.assert_over();
}

#[test]
fn the_fetch_of_a_leader_that_left_goes_on_where_the_policy_says_so() {
    let route = r#""refresh": {"cluster": "shop"}, "flight": {"on_leader_gone": "finish"}"#;
    let mut world = World::new(2, route);
    let leader = world.get(0, "/a");
    let follower = world.get(1, "/a");
    world.leave(leader);
    world.settle();
    assert_eq!(*world.got(follower), Got::Waits);
    let (worker, call) = world.calls.pop().unwrap();
    let reply = Some((Headers::from_pairs(FRESH), b"answer".to_vec()));
    world.workers[worker].fetched(call.tag, reply, world.now);
    world.settle();
    assert_eq!(world.got(follower).body(), "answer");
    world.assert_over();
}

#[test]
fn a_fresh_answer_is_refreshed_early_by_some() {
    let route = r#""early_refresh": 1.0, "refresh": {"cluster": "shop"}"#;
    let mut world = World::new(1, route);
    let client = world.get(0, "/a");
    world.now += 2_000;
    world.origin(client, FRESH, "answer");
    let mut refreshed = 0;
    for _ in 0..60 {
        world.now += 1_000;
        let client = world.get(0, "/a");
        assert_eq!(world.got(client).body(), "answer");
        world.settle();
        if let Some((worker, call)) = world.calls.pop() {
            refreshed += 1;
            let reply = Some((Headers::from_pairs(FRESH), b"answer".to_vec()));
            world.workers[worker].fetched(call.tag, reply, world.now);
            world.settle();
        }
    }
    assert_eq!(refreshed, 1, "before its end, and then there is a new one");
    world.assert_over();
}

#[test]
fn the_304_of_another_answer_is_not_taken_for_this_one() {
    let mut world = World::new(1, r#""stale_if_error": "0s""#);
    store(&mut world, VALID);
    world.pass(11_000);
    let client = world.get(0, "/a");
    let other = &[(":status", "304"), ("etag", "\"2\"")];
    world.origin(client, other, "");
    let next = world.get(0, "/a");
    assert_eq!(*world.got(next), Got::Upstream(vec![]), "it is forgotten");
    world.origin(next, VALID, "new");
    world.assert_over();
}

/// What a service says of one request is nothing that it says of what is stored.
#[test]
fn an_answer_that_blames_the_request_leaves_what_is_stored() {
    for (status, kept) in [("400", true), ("429", true), ("404", false), ("403", false)] {
        let mut world = World::new(1, r#""stale_if_error": "0s""#);
        store(&mut world, VALID);
        let odd = world.ask(0, "GET", "/a", &[("cache-control", "no-cache")]);
        assert!(world.got(odd).is_upstream());
        let waits = world.ask(0, "GET", "/a", &[("cache-control", "no-cache")]);
        world.origin(odd, &[(":status", status)], "no");
        world.settle();
        assert_eq!(world.got(odd).status(), status.parse::<u16>().unwrap());
        assert!(world.got(waits).is_upstream(), "{status}");
        let other = world.get(0, "/a");
        assert_eq!(world.got(other).body() == "answer", kept, "{status}");
    }
}

/// A service that is asked to come again is a service in trouble.
#[test]
fn a_refresh_that_is_refused_for_now_leaves_the_old_answer() {
    let route = r#""stale_while_revalidate": "30s", "refresh": {"cluster": "origin"}"#;
    let mut world = World::new(1, route);
    store(&mut world, FRESH);
    world.pass(61_000);
    for _ in 0..3 {
        let client = world.get(0, "/a");
        assert_eq!(world.got(client).body(), "answer");
        world.release(0);
        let (worker, call) = world.calls.pop().unwrap();
        let head = Headers::from_pairs(&[(":status", "429")]);
        world.workers[worker].fetched(call.tag, Some((head, b"later".to_vec())), world.now);
        world.settle();
    }
}
