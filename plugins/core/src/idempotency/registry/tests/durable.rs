//! Records that replicas must have before they count.

use super::policy::redis;
use super::world::*;
use crate::gcra::PS_PER_S;
use crate::idempotency::counts::Event;
use crate::idempotency::settings::{OnCommitError, Settings};
use crate::redis::durability::Durability;
use crate::redis::trouble::Trouble;
use sluice_model_redis::{Server, Settings as RedisSettings};
use std::time::Duration;

fn world(aof: bool, on_commit_error: OnCommitError) -> World {
    let mut settings: Settings = settings(crate::idempotency::settings::Route {
        on_commit_error,
        ..route()
    });
    redis(&mut settings).durability = Some(Durability {
        replicas: 1,
        aof,
        timeout: Duration::from_millis(25),
    });
    let mut world = World::new(settings);
    world.redis = Server::new(RedisSettings {
        replicas: 1,
        append_only: aof,
        ..RedisSettings::default()
    });
    world
}

/// What a worker has met, by kind.
fn troubles(world: &mut World, gateway: usize, trouble: Trouble) -> u64 {
    let index = Trouble::ALL.iter().position(|known| *known == trouble);
    world.gateways[gateway].registry.counts.troubles[index.unwrap()]
}

#[test]
fn a_record_that_the_replicas_have_is_one_like_any_other() {
    for aof in [false, true] {
        let mut world = world(aof, OnCommitError::Strict);
        let first = world.complete(0, "k", b"made");
        assert!(delivered(world.client(0, first)));
        let retry = world.first(1, "k");
        assert!(is_replay(world.client(1, retry), 201, b"made"));
        assert_eq!(troubles(&mut world, 0, Trouble::NotDurable), 0);
    }
}

#[test]
fn a_key_that_a_failover_could_lose_is_given_back_and_nothing_is_sent() {
    let mut world = world(false, OnCommitError::Strict);
    world.redis.set_replicas_follow(false);
    let stream = world.first(0, "k");
    assert_eq!(
        world.problem(0, stream),
        (503, "store-unavailable".to_owned())
    );
    assert_eq!(troubles(&mut world, 0, Trouble::NotDurable), 1);
    assert!(world.records().is_empty(), "released");
    world.redis.set_replicas_follow(true);
    let retry = world.complete(1, "k", b"made");
    assert!(delivered(world.client(1, retry)));
    assert_eq!(world.ledger.len(), 1);
}

#[test]
fn an_answer_that_a_failover_could_lose_counts_as_not_stored() {
    for deliver in [false, true] {
        let mut world = world(
            false,
            if deliver {
                OnCommitError::Deliver
            } else {
                OnCommitError::Strict
            },
        );
        let stream = world.first(0, "k");
        world.execute(0, stream);
        world.redis.set_replicas_follow(false);
        world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
        world.pump(0, Fate::Done);
        assert!(
            matches!(world.client(0, stream), Client::Held),
            "tried again"
        );
        for _ in 0..2 {
            world.advance(PS_PER_S / 4);
            world.pump(0, Fate::Done);
        }
        if deliver {
            assert!(flagged(world.client(0, stream), "unrecorded"));
        } else {
            assert_eq!(world.problem(0, stream), (503, "not-recorded".to_owned()));
        }
        let counts = &world.gateways[0].registry.counts;
        assert_eq!(counts.total(Event::NotRecorded), 1);
        assert_eq!(troubles(&mut world, 0, Trouble::NotDurable), 3);
        // What the primary has it tells, and nothing runs twice.
        world.redis.set_replicas_follow(true);
        let retry = world.first(1, "k");
        assert!(is_replay(world.client(1, retry), 201, b"made"));
        assert_eq!(world.ledger.len(), 1);
    }
}

#[test]
fn replicas_that_come_back_in_time_are_enough() {
    let mut world = world(false, OnCommitError::Strict);
    let stream = world.first(0, "k");
    world.execute(0, stream);
    world.redis.set_replicas_follow(false);
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    world.pump(0, Fate::Done);
    world.redis.set_replicas_follow(true);
    world.advance(PS_PER_S / 4);
    world.pump(0, Fate::Done);
    assert!(delivered(world.client(0, stream)));
}

#[test]
fn replays_need_no_replica() {
    let mut world = world(false, OnCommitError::Strict);
    world.complete(0, "k", b"made");
    world.redis.set_replicas_follow(false);
    for _ in 0..20 {
        let retry = world.first(1, "k");
        assert!(is_replay(world.client(1, retry), 201, b"made"));
    }
}

#[test]
fn without_the_file_that_it_needs_nothing_is_sent() {
    let mut world = world(true, OnCommitError::Strict);
    world.redis = Server::new(RedisSettings {
        replicas: 1,
        ..RedisSettings::default()
    });
    let stream = world.first(0, "k");
    assert_eq!(
        world.problem(0, stream),
        (503, "store-unavailable".to_owned())
    );
    assert_eq!(troubles(&mut world, 0, Trouble::Error), 1);
}

/// Since Redis 7.2 a connection that wrote nothing has nothing to wait for.
#[test]
fn a_commit_that_finds_its_work_done_writes_all_the_same() {
    let mut world = world(false, OnCommitError::Strict);
    world.redis = Server::new(RedisSettings {
        replicas: 1,
        replica_backlog: 10,
        ..RedisSettings::default()
    });
    let stream = world.first(0, "k");
    world.execute(0, stream);
    let commit = include_bytes!("../../lua/commit.lua");
    world.redis_do(&[b"SCRIPT", b"LOAD", commit]);
    world.respond(0, stream, 201, b"made", VIA_UPSTREAM);
    world.send(0);
    world.deliver(0, 0, Fate::ReplyLost);
    // The replica has all of that, and nothing of what follows.
    world.redis.set_replicas_follow(false);
    world.advance(PS_PER_S / 4);
    world.pump(0, Fate::Done);
    assert_eq!(world.redis.failover(10), 1);
}
