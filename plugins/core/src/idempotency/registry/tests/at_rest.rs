//! Answers that are sealed, and gateways whose keys differ.

use super::world::*;
use crate::idempotency::seal::{AtRest, Plain, SealingKey};
use crate::idempotency::settings::Settings;

fn world(keys: &[&str], plain: Plain) -> World {
    World::new(with(keys, plain))
}

fn with(keys: &[&str], plain: Plain) -> Settings {
    let key = |id: &&str| SealingKey::new(id, [id.len() as u8; 32]);
    Settings {
        at_rest: AtRest {
            compress_from: Some(100),
            keys: keys.iter().map(key).collect(),
            plain,
        },
        ..settings(route())
    }
}

/// All gateways start again with these keys.
fn rotate(world: &mut World, keys: &[&str], plain: Plain) {
    world.settings = with(keys, plain);
    (0..2).for_each(|gateway| world.crash(gateway));
}

#[test]
fn redis_never_sees_an_answer_and_retries_get_it_byte_for_byte() {
    let answer = b"card 4111 1111 1111 1111, ".repeat(20);
    let mut world = world(&["k"], Plain::Refuse);
    world.complete(0, "k", &answer);
    let stored = world.answer("answer");
    assert!(stored.len() < 200, "compressed: {}", stored.len());
    assert!(!stored.windows(4).any(|window| window == b"4111"));
    let retry = world.first(1, "k");
    assert!(is_replay(world.client(1, retry), 201, &answer));
    assert_eq!(world.ledger.len(), 1);
}

#[test]
fn a_key_is_replaced_without_losing_a_replay() {
    let mut world = world(&["old"], Plain::Refuse);
    world.complete(0, "a", b"one");
    for keys in [&["old", "newer"][..], &["newer", "old"]] {
        rotate(&mut world, keys, Plain::Refuse);
        let retry = world.first(1, "a");
        assert!(is_replay(world.client(1, retry), 201, b"one"));
    }
    world.complete(0, "b", b"two");
    rotate(&mut world, &["newer"], Plain::Refuse);
    let retry = world.first(0, "b");
    assert!(is_replay(world.client(0, retry), 201, b"two"));
    // Gone too soon: an error, and never a second execution.
    let retry = world.first(1, "a");
    assert_eq!(world.problem(1, retry), (500, "record-corrupt".into()));
    assert_eq!(world.ledger.len(), 2);
}

#[test]
fn sealing_begins_without_losing_a_replay() {
    let mut world = world(&[], Plain::Refuse);
    world.complete(0, "a", b"one");
    for plain in [Plain::Write, Plain::Read] {
        rotate(&mut world, &["k"], plain);
        let retry = world.first(1, "a");
        assert!(is_replay(world.client(1, retry), 201, b"one"));
    }
    rotate(&mut world, &["k"], Plain::Refuse);
    let retry = world.first(1, "a");
    assert_eq!(world.problem(1, retry), (500, "record-corrupt".into()));
}

#[test]
fn an_answer_moved_to_another_record_is_not_believed() {
    let mut world = world(&["k"], Plain::Refuse);
    world.complete(0, "mine", b"mine");
    let moved = world.answer("answer");
    world.complete(0, "yours", b"yours");
    for record in world.records() {
        world.redis_do(&[b"HSET", &record, b"answer", &moved]);
    }
    world.forget_records();
    let mine = world.first(1, "mine");
    assert!(is_replay(world.client(1, mine), 201, b"mine"));
    let yours = world.first(1, "yours");
    assert_eq!(world.problem(1, yours), (500, "record-corrupt".into()));
    assert_eq!(world.ledger.len(), 2);
}
