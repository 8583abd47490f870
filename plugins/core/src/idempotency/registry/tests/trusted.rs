//! Replays for which the store is not asked.

use super::policy::redis;
use super::world::*;
use crate::idempotency::settings::Settings;
use crate::redis::durability::Durability;
use sluice_model_redis::{Server, Settings as RedisSettings};
use std::time::Duration;

const TRUSTED: u128 = 10_000 * MS;

fn trusting() -> Settings {
    let mut settings = settings(route());
    settings.memory.trusted_for = TRUSTED;
    settings
}

/// What a request comes to before anything was sent to the store.
fn unasked(world: &mut World, gateway: usize, body: &[u8]) -> u32 {
    let stream = world.request(gateway, "k", body);
    assert_eq!(world.callouts(gateway), 0);
    stream
}

#[test]
fn who_stored_an_answer_replays_it_without_asking_until_it_is_too_old() {
    let mut world = World::new(trusting());
    world.complete(0, "k", b"made");
    let retry = unasked(&mut world, 0, b"body");
    assert!(is_replay(world.client(0, retry), 201, b"made"));
    world.advance(TRUSTED);
    let retry = unasked(&mut world, 0, b"body");
    assert!(matches!(world.client(0, retry), Client::Waiting));
    // The word of the store makes it good for as long again.
    world.pump(0, Fate::Done);
    assert!(is_replay(world.client(0, retry), 201, b"made"));
    world.advance(TRUSTED - MS);
    let retry = unasked(&mut world, 0, b"body");
    assert!(is_replay(world.client(0, retry), 201, b"made"));
    assert_eq!(world.ledger.len(), 1);
}

#[test]
fn who_read_an_answer_replays_it_and_another_request_is_the_stores_to_refuse() {
    let mut world = World::new(trusting());
    world.complete(0, "k", b"made");
    let read = world.first(1, "k");
    assert!(is_replay(world.client(1, read), 201, b"made"));
    world.forget_records();
    let retry = unasked(&mut world, 1, b"body");
    assert!(is_replay(world.client(1, retry), 201, b"made"));
    let other = unasked(&mut world, 1, b"other");
    assert!(matches!(world.client(1, other), Client::Waiting));
}

#[test]
fn no_record_is_outlived() {
    let mut settings = trusting();
    settings.routes[0].retention = Duration::from_secs(12);
    let mut world = World::new(settings);
    world.complete(0, "k", b"made");
    // Another gateway hears of it late.
    world.advance(9_000 * MS);
    let read = world.first(1, "k");
    assert!(is_replay(world.client(1, read), 201, b"made"));
    world.advance(3_001 * MS);
    for gateway in [0, 1] {
        let retry = unasked(&mut world, gateway, b"body");
        assert!(matches!(world.client(gateway, retry), Client::Waiting));
    }
}

#[test]
fn an_answer_that_a_failover_could_lose_is_not_trusted() {
    let mut settings = trusting();
    redis(&mut settings).durability = Some(Durability {
        replicas: 1,
        aof: false,
        timeout: Duration::from_millis(25),
    });
    let mut world = World::new(settings);
    world.redis = Server::new(RedisSettings {
        replicas: 1,
        ..RedisSettings::default()
    });
    let stream = world.first(0, "k");
    world.execute(0, stream);
    world.redis.set_replicas_follow(false);
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    world.pump(0, Fate::Done);
    assert!(matches!(world.client(0, stream), Client::Held));
    let retry = unasked(&mut world, 0, b"body");
    assert!(matches!(world.client(0, retry), Client::Waiting));
    // Once the replica has it, it is.
    world.redis.set_replicas_follow(true);
    world.advance(250 * MS);
    world.pump(0, Fate::Done);
    assert!(delivered(world.client(0, stream)));
    let retry = unasked(&mut world, 0, b"body");
    assert!(is_replay(world.client(0, retry), 201, b"made"));
}
