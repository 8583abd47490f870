//! Leaders and those who follow.

use super::*;

const ROUTE: &str = r#""stale_if_error": "0s""#;

/// A leader on worker 0, and `followers` on the others in turn.
fn herd(world: &mut World, followers: usize) -> (usize, Vec<usize>) {
    let leader = world.get(0, "/a");
    assert!(world.got(leader).is_upstream());
    let workers = world.workers.len();
    let followers = (0..followers).map(|number| world.get(number % workers, "/a"));
    let followers: Vec<usize> = followers.collect();
    assert_eq!(world.waiting(), followers.len());
    (leader, followers)
}

#[test]
fn a_herd_on_four_workers_is_one_request_upstream() {
    let mut world = World::new(4, ROUTE);
    let (leader, followers) = herd(&mut world, 500);
    let got = world.origin(leader, FRESH, "answer");
    assert_eq!(got.cache(), "c; fwd=uri-miss; stored");
    world.settle();
    for follower in followers {
        assert_eq!(world.got(follower).body(), "answer");
        assert_eq!(
            world.got(follower).cache(),
            "c; fwd=uri-miss; collapsed; ttl=60"
        );
    }
    for worker in 0..4 {
        let late = world.get(worker, "/a");
        assert_eq!(world.got(late).cache(), "c; hit; ttl=60");
    }
    world.assert_over();
}

#[test]
fn nothing_waits_for_a_message_that_says_nothing_new() {
    let mut world = World::new(2, ROUTE);
    let (leader, _) = herd(&mut world, 4);
    // Another's, an old one, and one of a key that nobody waits for.
    for (hash, id) in [(1, 1), (2, 2)] {
        let outcome = crate::flight::message::Outcome::Stored;
        let message = Message::Ended { hash, id, outcome }.encode();
        world.workers[1].message(&message, world.now);
        world.release(1);
    }
    assert_eq!(world.waiting(), 4);
    world.origin(leader, FRESH, "answer");
    world.settle();
    world.assert_over();
}

#[test]
fn a_leader_that_leaves_before_the_head_is_replaced_as_often_as_it_takes() {
    let mut world = World::new(4, ROUTE);
    let (leader, _) = herd(&mut world, 10);
    world.leave(leader);
    for round in 0..9 {
        world.settle();
        let upstream = world.upstream();
        assert_eq!(upstream.len(), 1, "round {round}");
        world.leave(upstream[0]);
    }
    world.settle();
    let upstream = world.upstream();
    assert_eq!((upstream.len(), world.waiting()), (1, 0));
    world.origin(upstream[0], FRESH, "answer");
    world.assert_over();
}

#[test]
fn a_leader_that_leaves_in_the_body_is_replaced_and_what_it_had_is_not_stored() {
    let mut world = World::new(2, ROUTE);
    let (leader, followers) = herd(&mut world, 6);
    world.origin_head(leader, FRESH, false);
    world.origin_body(leader, "hal", false);
    world.leave(leader);
    world.settle();
    let upstream = world.upstream();
    assert_eq!(upstream.len(), 1);
    world.origin(upstream[0], FRESH, "whole");
    world.settle();
    let whole = |follower: &usize| world.got(*follower).body() == "whole";
    assert!(followers.iter().all(whole));
    world.assert_over();
}

#[test]
fn when_all_clients_leave_the_next_one_is_served() {
    let mut world = World::new(4, ROUTE);
    let (leader, followers) = herd(&mut world, 40);
    for client in followers.into_iter().chain([leader]) {
        world.leave(client);
    }
    world.settle();
    world.assert_over();
    let fresh = world.get(3, "/a");
    assert!(world.got(fresh).is_upstream());
    world.origin(fresh, FRESH, "answer");
    world.assert_over();
}

#[test]
fn a_worker_that_vanished_with_its_leader_delays_the_others_by_a_lease() {
    let mut world = World::new(2, r#""flight": {"lease": "1s", "wait": "8s"}"#);
    let leader = world.get(0, "/a");
    let follower = world.get(1, "/a");
    // The worker crashes: nobody tells of its streams.
    world.clients[leader].1 = Got::Left;
    let crashed = world.workers.remove(0);
    world.queues.0.borrow_mut().remove(&1);
    drop(crashed);
    world.clients[follower].0 = 0;
    world.pass(3_000);
    assert!(world.got(follower).is_upstream());
    world.origin(follower, FRESH, "answer");
    world.assert_over();
}

#[test]
fn a_failed_leader_is_followed_by_one_more_then_each_goes_for_itself() {
    let mut world = World::new(4, ROUTE);
    let (leader, _) = herd(&mut world, 12);
    let fails = &[(":status", "500"), ("cache-control", "max-age=60")];
    let got = world.origin(leader, fails, "broken");
    assert_eq!(got.status(), 500);
    world.settle();
    let second = world.upstream();
    assert_eq!((second.len(), world.waiting()), (1, 11));
    world.origin(second[0], fails, "broken");
    world.settle();
    assert_eq!((world.upstream().len(), world.waiting()), (11, 0));
    for client in world.upstream() {
        world.origin(client, fails, "broken");
    }
    world.assert_over();
}

#[test]
fn a_worker_that_hears_late_of_the_first_failure_does_not_try_a_third_time() {
    let mut world = World::new(2, ROUTE);
    let (leader, waiter) = (world.get(0, "/a"), world.get(0, "/a"));
    let late = [world.get(1, "/a"), world.get(1, "/a")];
    let fails = &[(":status", "502")];
    world.origin(leader, fails, "");
    while world.deliver(0) {}
    assert_eq!(world.upstream(), [waiter], "the other worker has not heard");
    world.origin(waiter, fails, "");
    world.settle();
    assert_eq!(world.upstream(), late, "each for itself");
    for client in late {
        world.origin(client, FRESH, "a");
    }
    world.assert_over();
}

#[test]
fn a_clock_that_goes_back_has_nobody_wait_longer_and_nothing_served_that_may_be_too_old() {
    let mut world = World::new(2, r#""flight": {"wait": "2s"}"#);
    let stored = world.get(0, "/b");
    world.origin(stored, FRESH, "b");
    let (leader, follower) = (world.get(0, "/a"), world.get(1, "/a"));
    world.pass(1_000);
    world.now -= 3_600_000;
    world.pass(950);
    assert_eq!(*world.got(follower), Got::Waits);
    world.pass(100);
    assert!(world.got(follower).is_upstream());
    let anew = world.get(1, "/b");
    assert!(world.got(anew).is_upstream());
    for client in [leader, follower, anew] {
        world.origin(client, FRESH, "new");
    }
    let hit = world.get(0, "/b");
    assert_eq!(world.got(hit).body(), "new");
    world.assert_over();
}

#[test]
fn what_cannot_be_shared_has_nobody_wait_and_goes_to_its_client_only() {
    for (name, value) in [
        ("set-cookie", "id=1"),
        ("cache-control", "private, max-age=60"),
        ("cache-control", "no-store"),
        ("vary", "*"),
        ("content-type", "text/event-stream"),
        ("x-nothing", "says how long"),
    ] {
        let mut world = World::new(2, ROUTE);
        let (leader, _) = herd(&mut world, 20);
        let mut fields = vec![(":status", "200"), (name, value)];
        if !["cache-control", "x-nothing"].contains(&name) {
            fields.push(("cache-control", "max-age=60"));
        }
        // Known by the head: nobody waits for the body.
        world.origin_head(leader, &fields, false);
        world.settle();
        assert_eq!((world.upstream().len(), world.waiting()), (20, 0), "{name}");
        let next = world.get(1, "/a");
        assert!(world.got(next).is_upstream(), "hit-for-miss");
        for client in world.upstream() {
            world.origin(client, &fields, "own");
        }
        world.assert_over();
        // Its time ends.
        world.pass(11_000);
        let (leader, _) = herd(&mut world, 3);
        world.origin(leader, FRESH, "shared");
        world.settle();
        world.assert_over();
    }
}

#[test]
fn an_answer_that_turns_shareable_is_shared_again() {
    let mut world = World::new(2, ROUTE);
    let first = world.get(0, "/a");
    world.origin(first, &[(":status", "200"), ("set-cookie", "a=b")], "own");
    let second = world.get(1, "/a");
    world.origin(second, FRESH, "shared");
    let third = world.get(0, "/a");
    assert_eq!(world.got(third).body(), "shared");
    world.assert_over();
}

#[test]
fn a_body_too_large_is_cut_loose_as_soon_as_that_is_known() {
    let route = r#""flight": {"max_body": "1KiB"}"#;
    let mut world = World::new(2, route);
    let (leader, _) = herd(&mut world, 5);
    let mut sized = FRESH.to_vec();
    sized.push(("content-length", "1025"));
    world.origin_head(leader, &sized, false);
    world.settle();
    assert_eq!(world.waiting(), 0);

    let mut world = World::new(2, route);
    let (leader, _) = herd(&mut world, 5);
    world.origin_head(leader, FRESH, false);
    world.origin_body(leader, &"x".repeat(1000), false);
    world.settle();
    assert_eq!(world.waiting(), 5);
    world.origin_body(leader, &"x".repeat(1000), false);
    world.settle();
    assert_eq!(world.waiting(), 0);
    world.origin_body(leader, "the rest", true);
    for client in world.upstream() {
        world.origin(client, FRESH, "small");
    }
    world.assert_over();
}

#[test]
fn a_body_that_takes_too_long_is_cut_loose_and_one_that_gets_on_is_waited_for() {
    let route = r#""flight": {"lease": "500ms", "max_time": "3s", "wait": "1m"}"#;
    let mut world = World::new(2, route);
    let (leader, _) = herd(&mut world, 5);
    world.origin_head(leader, FRESH, false);
    for _ in 0..5 {
        world.pass(500);
        world.origin_body(leader, "drop", false);
        assert_eq!(world.waiting(), 5);
    }
    world.pass(600);
    assert_eq!(world.waiting(), 0, "each for itself");
    world.origin_body(leader, "drop", true);
    for client in world.upstream() {
        world.origin(client, FRESH, "quick");
    }
    world.assert_over();
}

#[test]
fn a_body_cut_short_is_not_shared() {
    let mut world = World::new(2, ROUTE);
    let (leader, _) = herd(&mut world, 3);
    let mut sized = FRESH.to_vec();
    sized.push(("content-length", "10"));
    world.origin_head(leader, &sized, false);
    world.origin_body(leader, "short", true);
    world.settle();
    assert_eq!((world.upstream().len(), world.waiting()), (1, 2));
    let second = world.upstream()[0];
    world.origin_head(second, &sized, false);
    world.cut(second);
    world.settle();
    assert_eq!(world.waiting(), 0, "the second failure was the last");
}

#[test]
fn a_follower_waits_as_long_as_it_may_and_then_goes_alone() {
    let mut world = World::new(2, r#""flight": {"wait": "1s", "max_time": "10s"}"#);
    let (leader, followers) = herd(&mut world, 4);
    world.pass(900);
    assert_eq!(world.waiting(), 4);
    world.pass(200);
    assert_eq!(world.waiting(), 0);
    for follower in followers {
        world.origin(follower, FRESH, "own");
    }
    world.origin(leader, FRESH, "late");
    world.settle();
    world.assert_over();
}

#[test]
fn more_followers_than_allowed_go_alone() {
    let mut world = World::new(1, r#""flight": {"max_followers": 3}"#);
    let leader = world.get(0, "/a");
    for _ in 0..5 {
        world.get(0, "/a");
    }
    assert_eq!((world.waiting(), world.upstream().len()), (3, 3));
    world.origin(leader, FRESH, "answer");
    world.settle();
    for client in world.upstream() {
        world.origin(client, FRESH, "own");
    }
    world.assert_over();
}

#[test]
fn leaders_that_leave_and_answers_that_miss_do_not_mix_up_keys() {
    let mut world = World::new(2, ROUTE);
    let a = world.get(0, "/a");
    let b = world.get(0, "/b");
    let (a2, b2) = (world.get(1, "/a"), world.get(1, "/b"));
    world.origin(b, FRESH, "b");
    world.origin(a, FRESH, "a");
    world.settle();
    assert_eq!(world.got(a2).body(), "a");
    assert_eq!(world.got(b2).body(), "b");
    let crafted = world.get(1, "/a\u{0}/b");
    assert!(world.got(crafted).is_upstream());
}
