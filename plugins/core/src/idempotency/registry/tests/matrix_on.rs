//! The failure matrix from row 16 on.

use super::matrix::{problem, retry, with, world};
use super::world::*;
use crate::idempotency::origin::Provenance;
use crate::idempotency::settings::*;
use crate::redis::resp;
use std::time::Duration;

#[test]
fn row_16_the_lease_of_a_slow_upstream_is_renewed_and_then_no_more() {
    let mut world = world();
    let stream = world.first(0, "k");
    world.execute(0, stream);
    for _ in 0..59 {
        world.advance(1000 * MS);
        world.pump(0, Fate::Done);
        assert_eq!(retry(&mut world), problem(409, "in-flight"));
    }
    // `execution` is over.
    for _ in 0..8 {
        world.advance(1000 * MS);
        world.pump(0, Fate::Done);
    }
    assert_eq!(retry(&mut world), problem(409, "unknown"));
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    world.pump(0, Fate::Done);
    assert!(delivered(world.client(0, stream)), "late, but the truth");
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 201, b"made"));
}

#[test]
fn row_21_a_gateway_cut_off_from_the_store_sends_nothing() {
    let mut world = world();
    let stream = world.request(0, "k", b"body");
    world.send(0);
    world.advance(TIMEOUT);
    assert_eq!(world.problem(0, stream), problem(503, "store-unavailable"));
    // The reply comes after all: the key is given back.
    world.deliver(0, 0, Fate::Done);
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
}

#[test]
fn row_21_where_the_policy_is_open_the_request_is_sent_and_its_answer_recorded_if_it_can_be() {
    let open = |route: &mut Route| route.on_store_error = OnStoreError::Open;
    for fate in [Fate::RequestLost, Fate::ReplyLost] {
        let mut world = with(open);
        let stream = world.request(0, "k", b"body");
        world.send(0);
        world.deliver(0, 0, fate);
        assert_eq!(*world.client(0, stream), Client::Sent { fence: None });
        world.execute(0, stream);
        world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
        world.pump(0, Fate::Done);
        assert!(delivered(world.client(0, stream)));
        let stream = world.first(1, "k");
        assert!(is_replay(world.client(1, stream), 201, b"made"), "{fate:?}");
    }
    // The store stays away: the client gets its answer, flagged.
    let mut world = with(open);
    let stream = world.request(0, "k", b"body");
    world.pump(0, Fate::RequestLost);
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    for _ in 0..10 {
        world.pump(0, Fate::RequestLost);
        world.advance(TIMEOUT / 4);
    }
    assert!(flagged(world.client(0, stream), "unrecorded"));
}

#[test]
fn row_21_a_late_acquire_of_an_unprotected_request_does_not_free_its_key() {
    let mut world = with(|route| route.on_store_error = OnStoreError::Open);
    let stream = world.request(0, "k", b"body");
    world.send(0);
    world.advance(TIMEOUT);
    world.execute(0, stream);
    world.deliver(0, 0, Fate::Done);
    world.leave(0, stream);
    world.pump(0, Fate::Done);
    assert_eq!(retry(&mut world), problem(409, "in-flight"));
}

#[test]
fn row_24_no_jump_of_the_stores_clock_authorises_a_second_execution() {
    for jump in [-7200, 7200] {
        let mut world = world();
        let stream = world.first(0, "k");
        world.execute(0, stream);
        world.jump = jump * 1_000_000;
        let (status, _) = retry(&mut world);
        assert_eq!(status, 409);
        world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
        world.pump(0, Fate::Done);
        let stream = world.first(1, "k");
        assert!(is_replay(world.client(1, stream), 201, b"made"));
    }
}

#[test]
fn row_26_of_an_oversized_or_endless_answer_the_status_is_kept() {
    let long = vec![b'x'; 1001];
    let stream_of_events = [("content-type", "Text/Event-Stream; charset=utf-8")];
    let announced = [("content-length", "1001")];
    for (headers, body) in [
        (&[][..], &long[..]),
        (&stream_of_events[..], b"data"),
        (&announced[..], b"HEAD"),
    ] {
        let mut world = world();
        let stream = world.first(0, "k");
        world.execute(0, stream);
        world.respond_with(0, stream, 206, headers, body, VIA_UPSTREAM);
        assert_eq!(
            *world.client(0, stream),
            Client::Held,
            "until the tombstone is stored"
        );
        world.pump(0, Fate::Done);
        assert!(delivered(world.client(0, stream)));
        assert_eq!(retry(&mut world), problem(409, "answer-not-kept"));
    }
    // What the gateway could not hold goes on meanwhile; its tombstone is stored all the same.
    for length in [4_000, 6_000] {
        let mut world = world();
        let stream = world.first(0, "k");
        world.execute(0, stream);
        world.respond(0, stream, 201, &vec![b'x'; length], VIA_UPSTREAM);
        assert!(delivered(world.client(0, stream)), "{length}");
        world.pump(0, Fate::Done);
        assert_eq!(retry(&mut world), problem(409, "answer-not-kept"));
    }
    // At the cap it fits.
    let mut world = world();
    world.complete(0, "k", &long[..1000]);
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 201, &long[..1000]));
}

#[test]
fn row_27_a_corrupt_record_is_500_and_nothing_is_sent() {
    let mut world = world();
    world.complete(0, "k", b"made");
    let record = world
        .redis
        .keys()
        .into_iter()
        .find(|key| key.kind == "hash")
        .unwrap()
        .name;
    let mut connection = world.redis.connect();
    for (field, value) in [("answer", "SI\x01 not what was stored"), ("fence", "x")] {
        let mut command = Vec::new();
        resp::encode(
            &mut command,
            &[b"HSET", &record, field.as_bytes(), value.as_bytes()],
        );
        world
            .redis
            .feed(&mut connection, &command, 1_790_000_002_000_000);
        world.forget_records();
        assert_eq!(retry(&mut world), problem(500, "record-corrupt"));
    }
}

#[test]
fn row_28_after_the_retention_a_key_is_a_new_one() {
    let mut world = with(|route| route.retention = Duration::from_secs(60));
    world.complete(0, "k", b"made");
    world.advance(60_001 * MS);
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
}

#[test]
fn row_29_what_was_tried_more_than_once_below_is_not_taken_for_never_sent() {
    let mut world = world();
    let stream = world.first(0, "k");
    let tried_twice = Provenance {
        attempts: Some(2),
        ..REFUSED
    };
    world.respond(0, stream, 503, b"refused", tried_twice);
    world.advance(LEASE);
    assert_eq!(retry(&mut world), problem(409, "unknown"));
}

#[test]
fn row_30_a_wait_ends_with_the_answer_or_with_its_budget() {
    let waiting = |route: &mut Route| route.wait = Duration::from_secs(2);
    let mut world = with(waiting);
    let first = world.first(0, "k");
    world.execute(0, first);
    let near = world.request(0, "k", b"body");
    let far = world.request(1, "k", b"body");
    for _ in 0..10 {
        world.pump(0, Fate::Done);
        world.pump(1, Fate::Done);
        world.advance(100 * MS);
    }
    assert_eq!(
        (world.client(0, near), world.client(1, far)),
        (&Client::Waiting, &Client::Waiting)
    );
    world.respond(0, first, 201, b"made", VIA_UPSTREAM);
    world.pump(0, Fate::Done);
    assert!(
        is_replay(world.client(0, near), 201, b"made"),
        "at once, in the same worker"
    );
    for _ in 0..5 {
        world.advance(100 * MS);
        world.pump(1, Fate::Done);
    }
    assert!(is_replay(world.client(1, far), 201, b"made"));

    let mut world = with(waiting);
    world.first(0, "k");
    let stream = world.request(1, "k", b"body");
    for _ in 0..20 {
        assert_eq!(*world.client(1, stream), Client::Waiting);
        world.pump(1, Fate::Done);
        world.advance(100 * MS);
    }
    world.pump(1, Fate::Done);
    assert_eq!(world.problem(1, stream), problem(409, "in-flight"));
}

#[test]
fn row_30_a_store_that_fails_while_another_is_waited_for_sends_nothing_even_where_the_policy_is_open()
 {
    let mut world = with(|route| {
        route.wait = Duration::from_secs(2);
        route.on_store_error = OnStoreError::Open;
    });
    world.first(0, "k");
    let stream = world.request(1, "k", b"body");
    world.pump(1, Fate::Done);
    world.advance(100 * MS);
    world.pump(1, Fate::RequestLost);
    assert_eq!(world.problem(1, stream), problem(409, "in-flight"));
}

#[test]
fn row_31_the_event_is_there_when_the_answer_is_and_not_before() {
    let mut world = with(|route| {
        route.outbox = Some(Outbox {
            trim: Trim::Nothing,
            headers: vec![],
        })
    });
    let streams = |world: &World| {
        world
            .redis
            .keys()
            .iter()
            .filter(|key| key.kind == "stream")
            .count()
    };
    let stream = world.first(0, "k");
    world.execute(0, stream);
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    assert_eq!(streams(&world), 0);
    world.pump(0, Fate::Done);
    assert_eq!(streams(&world), 1);
}
