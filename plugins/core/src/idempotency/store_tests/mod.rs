//! The promises that every store keeps, and those of several stores that vote.

mod bench;
pub mod suite;

use super::*;
use crate::idempotency::etcd::testing::EtcdStage;
use crate::idempotency::store::{self, Kind};
use crate::idempotency::{fingerprint, scope};
use crate::redis::trouble;
use bench::Bench;
use suite::{Stage, claim, commit};

/// How many stores, and how many of them are away all the time.
const SHAPES: [(usize, &[usize]); 6] = [
    (1, &[]),
    (3, &[]),
    (3, &[0]),
    (3, &[2]),
    (5, &[]),
    (5, &[1, 4]),
];

#[test]
fn every_store_keeps_every_promise() {
    for promise in suite::ALL {
        // One Redis by itself, as the filter uses it.
        promise(&mut Bench::single());
        promise(&mut EtcdStage::new());
        for (stores, away) in SHAPES {
            let mut bench = Bench::redlock(stores);
            away.iter().for_each(|index| bench.away(*index, true));
            promise(&mut bench);
        }
    }
}

fn yours(outcome: &Result<Outcome, Trouble>) -> bool {
    matches!(outcome, Ok(Outcome::Acquire(Acquired::Yours { .. })))
}

#[test]
fn without_most_of_the_stores_nobody_gets_a_key_and_what_was_taken_is_given_back() {
    let mut bench = Bench::redlock(3);
    bench.away(0, true);
    bench.away(1, true);
    let mine = claim("k", 1);
    assert_eq!(
        bench.ask(&Operation::Acquire(mine.clone())),
        Err(Trouble::Timeout)
    );
    // The registry then releases, which most cannot confirm either; what can be freed is.
    assert!(bench.ask(&Operation::Release(mine)).is_err());
    assert!(bench.records(2).is_empty());
    bench.away(0, false);
    bench.away(1, false);
    let other = claim("k", 2);
    assert!(yours(&bench.ask(&Operation::Acquire(other))));
}

#[test]
fn the_rest_of_an_attempt_that_never_had_the_key_blocks_nobody() {
    let mut bench = Bench::redlock(3);
    bench.away(0, true);
    bench.away(1, true);
    let dead = claim("k", 1);
    assert!(bench.ask(&Operation::Acquire(dead)).is_err());
    bench.away(0, false);
    bench.away(1, false);
    assert_eq!(
        bench.records(2).len(),
        1,
        "its gateway died before it released"
    );
    let other = claim("k", 2);
    assert!(yours(&bench.ask(&Operation::Acquire(other))));
}

#[test]
fn who_has_most_has_the_key_although_one_store_is_lost_empty() {
    let mut bench = Bench::redlock(3);
    let mine = claim("k", 1);
    assert!(yours(&bench.ask(&Operation::Acquire(mine.clone()))));
    bench.forget(0);
    let other = bench.ask(&Operation::Acquire(claim("k", 2)));
    assert!(
        matches!(other, Ok(Outcome::Acquire(Acquired::InFlight { .. }))),
        "{other:?}"
    );
    // What the other took of the empty one was given back before it was told.
    assert!(bench.records(0).is_empty());
    let committed = bench.ask(&commit(&mine, b"made"));
    assert_eq!(committed, Ok(Outcome::Commit(Committed::Yes)));
    assert_eq!(bench.records(0).len(), 1, "all have it again");
}

#[test]
fn an_answer_that_one_store_has_is_found() {
    let mut bench = Bench::redlock(3);
    let mine = claim("k", 1);
    assert!(yours(&bench.ask(&Operation::Acquire(mine.clone()))));
    bench.away(0, true);
    bench.away(1, true);
    assert!(bench.ask(&commit(&mine, b"made")).is_err());
    bench.away(0, false);
    bench.away(1, false);
    let retry = bench.ask(&Operation::Acquire(claim("k", 2)));
    let kind = Kind::Answer;
    let bytes = b"made".to_vec();
    assert_eq!(
        retry,
        Ok(Outcome::Acquire(Acquired::Completed { kind, bytes }))
    );
}

/// Three attempts at once, their operations delivered to the stores in any order.
#[test]
fn of_those_that_come_at_once_one_at_most_has_the_key() {
    for seed in 0..400 {
        let mut random = fastrand_like(seed);
        let mut bench = Bench::redlocks(3, 3);
        for client in 0..3 {
            let mine = claim("k", client as u8 + 1);
            bench.start(client, &Operation::Acquire(mine));
        }
        let mut answers = Vec::new();
        for _ in 0..500 {
            let (client, store) = (random(3), random(3));
            if random(20) == 0 {
                bench.lose(client, store);
            } else {
                bench.deliver(client, store);
            }
            answers.extend(bench.collect(client));
        }
        answers.extend(bench.expire_all());
        assert_eq!(answers.len(), 3, "seed {seed}: each is answered once");
        let winners = answers.iter().filter(|answer| yours(answer)).count();
        assert!(winners <= 1, "seed {seed}: {answers:?}");
        assert_eq!(bench.open(), 0, "seed {seed}: nothing is left over");
    }
}

/// Numbers below what is asked for, by a seed.
fn fastrand_like(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}
