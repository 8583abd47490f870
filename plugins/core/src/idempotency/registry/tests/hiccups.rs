//! A store that is away for a moment: once it is back, nothing is lost that was not carried out, nor what is still held.

use super::matrix::{problem, retry, with, world};
use super::world::*;
use crate::idempotency::counts::Event;
use crate::idempotency::settings::*;
use std::time::Duration;

/// One whose breaker opens at the second failure, and stays open for longer than anything here lasts.
fn breaking() -> World {
    let mut settings = settings(route());
    settings.breaker.failures = 2;
    settings.breaker.open_for = 2 * LEASE;
    World::new(settings)
}

fn total(world: &World, event: Event) -> u64 {
    world.gateways[0].registry.counts.total(event)
}

fn open_breaker(world: &mut World) {
    for key in ["x", "y"] {
        world.request(0, key, b"body");
        world.send(0);
        world.deliver(0, 0, Fate::RequestLost);
    }
    let refused = world.request(0, "z", b"body");
    assert_eq!(world.problem(0, refused), problem(503, "store-unavailable"));
}

#[test]
fn row_9_answers_are_stored_although_the_breaker_is_open() {
    let mut world = breaking();
    let stream = world.first(0, "k");
    world.execute(0, stream);
    open_breaker(&mut world);
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    world.pump(0, Fate::Done);
    assert!(delivered(world.client(0, stream)));
    // The commit was the probe.
    let stream = world.first(0, "l");
    assert!(matches!(world.client(0, stream), Client::Sent { .. }));
}

#[test]
fn row_2_keys_are_given_back_although_the_breaker_is_open() {
    let mut world = breaking();
    world.request(0, "k", b"body");
    world.request(0, "l", b"body");
    world.send(0);
    world.deliver(0, 0, Fate::ReplyLost);
    open_breaker(&mut world);
    world.advance(TIMEOUT);
    world.pump(0, Fate::Done);
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
}

/// The answer of "k" cannot be stored, and its client has been told so.
fn unrecorded(world: &mut World) {
    let stream = world.first(0, "k");
    world.execute(0, stream);
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    while *world.client(0, stream) == Client::Held {
        world.pump(0, Fate::RequestLost);
        world.advance(TIMEOUT / 4);
    }
    assert_eq!(world.problem(0, stream), problem(503, "not-recorded"));
    world.leave(0, stream);
}

#[test]
fn row_9_an_answer_that_was_not_recorded_is_recorded_once_the_store_is_back() {
    let mut world = world();
    unrecorded(&mut world);
    assert_eq!(world.gateways[0].registry.open(), 0);
    for _ in 0..20 {
        world.pump(0, Fate::RequestLost);
        world.advance(TIMEOUT);
    }
    assert_eq!(retry(&mut world), problem(409, "in-flight"));
    for _ in 0..10 {
        world.pump(0, Fate::Done);
        world.advance(TIMEOUT);
    }
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 201, b"made"));
    assert_eq!(total(&world, Event::RecordedLate), 1);
    assert_eq!(world.gateways[0].registry.held(), 0);
}

#[test]
fn row_9_who_waits_gets_the_answer_that_is_recorded_late() {
    let mut world = with(|route| route.wait = Duration::from_secs(4));
    unrecorded(&mut world);
    let waits = world.first(0, "k");
    assert_eq!(*world.client(0, waits), Client::Waiting);
    world.advance(TIMEOUT);
    world.pump(0, Fate::Done);
    assert!(is_replay(world.client(0, waits), 201, b"made"));
}

#[test]
fn row_9_an_answer_is_held_for_no_longer_than_a_lease() {
    let mut world = world();
    unrecorded(&mut world);
    assert!(world.gateways[0].registry.held() > 0);
    for _ in 0..LEASE / TIMEOUT + 1 {
        world.pump(0, Fate::RequestLost);
        world.advance(TIMEOUT);
    }
    world.pump(0, Fate::RequestLost);
    assert_eq!(world.gateways[0].registry.held(), 0);
    world.advance(LEASE);
    assert_eq!(world.send(0), 0, "it is not tried any more");
    assert_eq!(retry(&mut world), problem(409, "unknown"));
}

#[test]
fn answers_that_are_stored_late_count_as_held() {
    let mut world = World::new(Settings {
        max_held: 100,
        ..settings(route())
    });
    unrecorded(&mut world);
    let stream = world.first(0, "l");
    world.respond(0, stream, 201, &[b'x'; 99], VIA_UPSTREAM);
    assert_eq!(total(&world, Event::Oversized), 1);
}

#[test]
fn row_10_an_answer_that_comes_late_after_another_took_the_key_is_refused() {
    let mut world = world();
    unrecorded(&mut world);
    let records = world.redis.keys().into_iter();
    let records: Vec<_> = records.filter(|key| key.kind == "hash").collect();
    world.redis.remove(&records);
    world.complete(1, "k", b"second");
    world.advance(TIMEOUT);
    world.pump(0, Fate::Done);
    assert_eq!(total(&world, Event::Superseded), 1);
    assert_eq!(world.gateways[0].registry.held(), 0);
    let stream = world.first(1, "k");
    assert!(is_replay(world.client(1, stream), 201, b"second"));
}

#[test]
fn row_2_a_key_that_is_taken_after_it_was_given_back_is_given_back_again() {
    let mut world = world();
    let stream = world.request(0, "k", b"body");
    world.send(0);
    world.deliver(0, 0, Fate::Late);
    assert_eq!(world.problem(0, stream), problem(503, "store-unavailable"));
    world.leave(0, stream);
    world.pump(0, Fate::Done);
    world.advance(6 * TIMEOUT);
    world.pump(0, Fate::Done);
    world.catch_up(0);
    assert_eq!(retry(&mut world), problem(409, "in-flight"));
    let mut looks = 0;
    for _ in 0..LEASE / TIMEOUT {
        world.advance(TIMEOUT);
        looks += world.send(0);
        world.pump(0, Fate::Done);
    }
    assert!((1..5).contains(&looks), "{looks}");
    assert_eq!(total(&world, Event::NotFreed), 0);
    let stream = world.first(1, "k");
    assert!(matches!(world.client(1, stream), Client::Sent { .. }));
}
