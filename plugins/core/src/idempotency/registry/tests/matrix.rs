//! The failure matrix, as far as it is decided here, rows 1 to 14: each test is a row or one of its promises.

use super::world::*;
use crate::idempotency::counts::Event;
use crate::idempotency::settings::*;
use sluice_model_redis::Mode;

pub fn world() -> World {
    World::new(settings(route()))
}

pub fn with(change: impl FnOnce(&mut Route)) -> World {
    let mut route = route();
    change(&mut route);
    World::new(settings(route))
}

pub fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

pub fn retry(world: &mut World) -> (u16, String) {
    let stream = world.first(1, "k");
    world.problem(1, stream)
}

#[test]
fn row_1_an_acquire_that_never_reaches_the_store_is_503_and_nothing_is_sent() {
    let mut world = world();
    let stream = world.request(0, "k", b"body");
    world.pump(0, Fate::RequestLost);
    assert_eq!(world.problem(0, stream), problem(503, "store-unavailable"));
    let stream = world.first(0, "k");
    assert!(matches!(world.client(0, stream), Client::Sent { .. }));
}

#[test]
fn row_2_an_acquire_whose_reply_is_lost_frees_the_key_again() {
    for fate in [Fate::ReplyLost, Fate::ReplyCut] {
        let mut world = world();
        let stream = world.request(0, "k", b"body");
        world.send(0);
        world.deliver(0, 0, fate);
        assert_eq!(world.problem(0, stream), problem(503, "store-unavailable"));
        world.pump(0, Fate::Done);
        let stream = world.first(1, "k");
        assert!(matches!(world.client(1, stream), Client::Sent { .. }));
    }
}

#[test]
fn row_2_a_key_that_cannot_be_freed_is_tried_again_for_as_long_as_its_lease() {
    let mut world = world();
    world.request(0, "k", b"body");
    world.send(0);
    world.deliver(0, 0, Fate::ReplyLost);
    world.pump(0, Fate::RequestLost);
    world.advance(TIMEOUT);
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert!(
        matches!(world.client(1, stream), Client::Sent { .. }),
        "the second try freed it"
    );

    world.request(0, "l", b"body");
    world.send(0);
    world.deliver(0, 0, Fate::ReplyLost);
    let not_freed = |world: &World| world.gateways[0].registry.counts.total(Event::NotFreed);
    let mut tries = 0;
    while not_freed(&world) == 0 {
        tries += world.send(0);
        world.pump(0, Fate::RequestLost);
        world.advance(TIMEOUT);
    }
    assert!((6..=10).contains(&tries), "pauses grow: {tries}");
    world.advance(LEASE);
    let stream = world.first(1, "l");
    assert_eq!(world.problem(1, stream), problem(409, "unknown"));
}

#[test]
fn row_3_and_7_a_gateway_that_dies_leaves_unknown_and_never_a_second_execution() {
    for executed in [false, true] {
        let mut world = world();
        let stream = world.first(0, "k");
        if executed {
            world.execute(0, stream);
        }
        world.crash(0);
        assert_eq!(retry(&mut world), problem(409, "in-flight"));
        world.advance(LEASE);
        for _ in 0..100 {
            assert_eq!(retry(&mut world), problem(409, "unknown"));
            world.advance(600_000 * MS);
        }
    }
}

#[test]
fn row_4_a_refused_connection_frees_the_key_before_the_client_hears_of_it() {
    let mut world = world();
    let stream = world.first(0, "k");
    world.respond(0, stream, 503, b"refused", REFUSED);
    assert_eq!(*world.client(0, stream), Client::Held);
    world.pump(0, Fate::Done);
    assert_eq!(world.problem(0, stream), problem(503, "not-sent"));
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
}

#[test]
fn row_5_a_reset_mid_request_is_unknown() {
    let mut world = world();
    let stream = world.first(0, "k");
    world.respond(0, stream, 503, b"reset", RESET);
    assert!(flagged(world.client(0, stream), "unknown"));
    world.pump(0, Fate::Done);
    world.advance(LEASE);
    assert_eq!(retry(&mut world), problem(409, "unknown"));
}

#[test]
fn row_6_a_timeout_is_unknown_or_stored_as_the_policy_says() {
    let mut world = world();
    let stream = world.first(0, "k");
    world.respond(0, stream, 504, b"late", TIMED_OUT);
    assert!(flagged(world.client(0, stream), "unknown"));
    world.advance(LEASE);
    assert_eq!(retry(&mut world), problem(409, "unknown"));

    let mut world = with(|route| route.on_timeout = OnTimeout::Store);
    let stream = world.first(0, "k");
    world.respond(0, stream, 504, b"late", TIMED_OUT);
    world.pump(0, Fate::Done);
    assert!(delivered(world.client(0, stream)));
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 504, b"late"));
}

#[test]
fn row_8_a_commit_whose_reply_is_lost_is_repeated_without_effect() {
    let mut world = world();
    let stream = world.first(0, "k");
    world.execute(0, stream);
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    world.send(0);
    world.deliver(0, 0, Fate::ReplyLost);
    assert_eq!(*world.client(0, stream), Client::Held);
    world.advance(TIMEOUT / 4);
    world.pump(0, Fate::Done);
    assert!(delivered(world.client(0, stream)));
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 201, b"made"));
}

#[test]
fn row_9_an_answer_that_cannot_be_stored_is_unknown_and_never_freed() {
    for mode in [Mode::OutOfMemory, Mode::ReadOnly] {
        for on_commit_error in [OnCommitError::Strict, OnCommitError::Deliver] {
            let mut world = with(|route| route.on_commit_error = on_commit_error);
            let stream = world.first(0, "k");
            world.execute(0, stream);
            world.redis.set_mode(mode);
            world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
            for _ in 0..10 {
                world.pump(0, Fate::Done);
                world.advance(TIMEOUT / 4);
            }
            match on_commit_error {
                OnCommitError::Strict => {
                    assert_eq!(world.problem(0, stream), problem(503, "not-recorded"))
                }
                OnCommitError::Deliver => assert!(flagged(world.client(0, stream), "unrecorded")),
            }
            world.redis.set_mode(Mode::Normal);
            world.advance(LEASE);
            assert_eq!(retry(&mut world), problem(409, "unknown"));
        }
    }
}

#[test]
fn row_10_a_commit_after_the_record_went_to_another_is_refused_and_counted() {
    let mut world = world();
    let slow = world.first(0, "k");
    world.execute(0, slow);
    // An operator frees the key by hand, and another takes it.
    let record = world
        .redis
        .keys()
        .into_iter()
        .filter(|key| key.kind == "hash")
        .collect::<Vec<_>>();
    world.redis.remove(&record);
    world.complete(1, "k", b"second");
    world.respond(0, slow, 201, b"first", VIA_UPSTREAM);
    world.pump(0, Fate::Done);
    assert_eq!(world.problem(0, slow), problem(503, "not-recorded"));
    assert_eq!(
        world.gateways[0].registry.counts.total(Event::Superseded),
        1
    );
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 201, b"second"));
    let fences: Vec<_> = world
        .ledger
        .iter()
        .map(|(_, fence)| fence.unwrap())
        .collect();
    assert!(
        fences[0] < fences[1],
        "the origin can tell which is the older"
    );
}

#[test]
fn row_11_a_client_that_leaves_after_the_answer_came_finds_it_stored() {
    let mut world = world();
    let stream = world.first(0, "k");
    world.execute(0, stream);
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    world.leave(0, stream);
    world.send(0);
    world.deliver(0, 0, Fate::RequestLost);
    world.advance(TIMEOUT / 4);
    world.pump(0, Fate::Done);
    assert_eq!(world.gateways[0].registry.open(), 0);
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 201, b"made"));
}

#[test]
fn row_11_a_client_that_leaves_before_the_answer_finds_it_unknown() {
    let mut world = world();
    let stream = world.first(0, "k");
    world.leave(0, stream);
    world.advance(LEASE);
    assert_eq!(retry(&mut world), problem(409, "unknown"));
    assert_eq!(world.gateways[0].registry.open(), 0);
}

#[test]
fn row_11_a_client_that_leaves_before_the_request_is_sent_leaves_the_key_free() {
    let mut world = world();
    let stream = world.request(0, "k", b"body");
    world.send(0);
    world.leave(0, stream);
    world.deliver(0, 0, Fate::Done);
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
}

#[test]
fn row_12_an_answer_that_is_stored_is_replayed_for_as_long_as_its_retention() {
    let mut world = world();
    let stream = world.complete(0, "k", b"made");
    assert!(delivered(world.client(0, stream)));
    for _ in 0..23 {
        world.advance(3_600_000 * MS);
        let stream = world.first(1, "k");
        assert!(is_replay(world.client(1, stream), 201, b"made"));
    }
    assert_eq!(world.ledger.len(), 1);
}

#[test]
fn row_13_of_many_at_once_one_executes() {
    let mut world = world();
    let streams: Vec<_> = (0..10)
        .map(|n| (n % 2, world.request(n % 2, "k", b"body")))
        .collect();
    world.pump(0, Fate::Done);
    world.pump(1, Fate::Done);
    let is_sent = |(gateway, stream): &&(usize, u32)| {
        matches!(world.client(*gateway, *stream), Client::Sent { .. })
    };
    assert_eq!(streams.iter().filter(is_sent).count(), 1);
    let told = streams.iter().filter(|stream| !is_sent(stream));
    told.for_each(|(gateway, stream)| {
        assert_eq!(world.problem(*gateway, *stream), problem(409, "in-flight"))
    });
}

#[test]
fn row_14_another_request_with_the_key_is_422_whatever_the_first_is_doing() {
    let mut world = world();
    let first = world.first(0, "k");
    let other = |world: &mut World| {
        let stream = world.request(1, "k", b"other");
        world.pump(1, Fate::Done);
        assert_eq!(world.problem(1, stream), problem(422, "key-reused"));
    };
    other(&mut world);
    world.execute(0, first);
    world.respond(0, first, 201, b"made", VIA_UPSTREAM);
    world.pump(0, Fate::Done);
    other(&mut world);
    let lost = world.first(0, "l");
    world.leave(0, lost);
    world.advance(LEASE);
    let stream = world.request(1, "l", b"other");
    world.pump(1, Fate::Done);
    assert_eq!(world.problem(1, stream), problem(422, "key-reused"));
}
