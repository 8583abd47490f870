//! The promises that every store keeps, and those of several stores that vote.

mod bench;
pub mod suite;

use super::*;
use crate::idempotency::etcd::testing::EtcdStage;
use crate::idempotency::store::{self, Commit, Kind};
use crate::idempotency::{fingerprint, scope};
use crate::redis::trouble;
use bench::Bench;
use std::time::Duration;
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
    let bytes = b"made".to_vec().into();
    assert_eq!(
        retry,
        Ok(Outcome::Acquire(Acquired::Completed { kind, bytes }))
    );
}

/// An attempt that takes the key and ends with a long answer, for which it knows its fence.
fn commit_long(bench: &mut Bench, client: usize, token: u8, length: usize) {
    let mine = claim("k", token);
    let acquired = bench.run(client, &Operation::Acquire(mine.clone()));
    let Ok(Outcome::Acquire(Acquired::Yours { fence })) = acquired else {
        panic!("{acquired:?}")
    };
    let commit = Commit {
        claim: mine,
        fence: Some(fence),
        kind: Kind::Answer,
        bytes: vec![token; length].into(),
        event: None,
    };
    let committed = bench.run(client, &Operation::Commit(Arc::new(commit)));
    assert_eq!(committed, Ok(Outcome::Commit(Committed::Yes)));
}

/// A long answer of the first gateway, and another gateway that does not remember it.
fn with_a_long_answer(length: usize) -> (Bench, usize) {
    let mut bench = Bench::single();
    commit_long(&mut bench, 0, 1, length);
    let other = bench.another();
    (bench, other)
}

/// Whether that is all that was told. (Not an equality: a difference would fill the screen.)
fn is_answer(told: &[Result<Outcome, Trouble>], token: u8, length: usize) -> bool {
    let answer = Acquired::Completed {
        kind: Kind::Answer,
        bytes: vec![token; length].into(),
    };
    *told == [Ok(Outcome::Acquire(answer))]
}

#[test]
fn an_answer_is_read_once_and_remembered_then() {
    let (mut bench, other) = with_a_long_answer(200_000);
    for (client, rounds) in [(0, 1), (other, 2), (other, 1)] {
        bench.start(client, &Operation::Acquire(claim("k", 2)));
        for round in 1..=rounds {
            assert_eq!(bench.collect(client), [], "round {round}");
            assert!(bench.deliver(client, 0));
        }
        assert!(is_answer(&bench.collect(client), 1, 200_000));
    }
}

#[test]
fn what_comes_with_the_first_reply_depends_on_what_else_there_is_to_do() {
    let (mut bench, other) = with_a_long_answer(10_000);
    // Nothing else: at once.
    bench.start(other, &Operation::Acquire(claim("k", 2)));
    assert!(bench.deliver(other, 0));
    assert!(is_answer(&bench.collect(other), 1, 10_000));
    // Of two that come together the second has to be read.
    let other = bench.another();
    for token in 2..4 {
        bench.start(other, &Operation::Acquire(claim("k", token)));
    }
    let mut rounds = Vec::new();
    while bench.deliver(other, 0) {
        rounds.push(bench.collect(other).len());
    }
    assert_eq!(rounds, [2], "the first one's is remembered by then");
}

#[test]
fn several_stores_trust_what_one_of_them_remembers() {
    for mut bench in [Bench::single(), Bench::redlock(3)] {
        bench.trust(Duration::from_secs(10));
        commit_long(&mut bench, 0, 1, 20);
        let told = |known: Option<Acquired>| known.map(|known| Ok(Outcome::Acquire(known)));
        let known = told(bench.known(&claim("k", 2)));
        assert!(is_answer(known.as_slice(), 1, 20));
        assert_eq!(bench.known(&claim("other", 2)), None);
        bench.advance(Duration::from_secs(10));
        assert_eq!(bench.known(&claim("k", 2)), None);
    }
}

#[test]
fn an_answer_that_ends_before_it_is_read_is_asked_for_again() {
    let (mut bench, other) = with_a_long_answer(200_000);
    bench.start(other, &Operation::Acquire(claim("k", 2)));
    assert!(bench.deliver(other, 0));
    bench.forget(0);
    assert!(bench.deliver(other, 0), "it is not there");
    assert_eq!(bench.collect(other), []);
    // A Redis that is empty does not know the script either.
    while bench.deliver(other, 0) {}
    assert!(yours(&bench.collect(other)[0]));
    // What is remembered is of an execution that the key does not have any more.
    let retry = Operation::Acquire(claim("k", 3));
    let found = bench.run(0, &retry);
    assert!(matches!(
        found,
        Ok(Outcome::Acquire(Acquired::InFlight { .. }))
    ));
    commit_long(&mut bench, other, 2, 20_000);
    assert!(is_answer(&[bench.run(0, &retry)], 2, 20_000));
}

#[test]
fn what_is_lost_while_a_long_answer_is_read_is_told_by_the_deadline() {
    let (mut bench, other) = with_a_long_answer(200_000);
    bench.start(other, &Operation::Acquire(claim("k", 2)));
    assert!(bench.deliver(other, 0));
    bench.lose(other, 0);
    assert_eq!(bench.collect(other), [Err(Trouble::Timeout)]);
    // Or the time is up before it can be asked for.
    bench.start(other, &Operation::Acquire(claim("k", 3)));
    assert!(bench.deliver(other, 0));
    bench.advance(Duration::from_secs(1));
    assert!(!bench.deliver(other, 0));
    assert_eq!(bench.collect(other), [Err(Trouble::Timeout)]);
}

#[test]
fn a_long_answer_that_there_is_no_room_to_ask_for_is_told_at_once() {
    let (mut bench, other) = with_a_long_answer(200_000);
    bench.start(other, &Operation::Acquire(claim("k", 2)));
    bench.fill(other, &Operation::Acquire(claim("another", 3)));
    assert_eq!(bench.collect(other), []);
    assert!(bench.deliver(other, 0));
    assert_eq!(bench.collect(other), [Err(Trouble::Overloaded)]);
    // Nothing is lost: with room it is there.
    while bench.deliver(other, 0) {}
    bench.collect(other);
    assert!(is_answer(
        &[bench.run(other, &Operation::Acquire(claim("k", 4)))],
        1,
        200_000
    ));
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
