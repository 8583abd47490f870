//! What [`Store`](crate::idempotency::store::Store) promises, one function for each promise.

use super::bench::Bench;
use crate::idempotency::store::{Acquired, Committed, Kind, Operation, Outcome, Released, Renewed};
use std::time::Duration;

pub const ALL: [fn(&mut Bench); 6] = [
    one_holds_a_key_until_it_is_released,
    a_lease_that_has_ended_frees_nothing,
    an_answer_is_there_for_all_and_never_changes,
    only_the_holder_changes_a_record,
    another_request_never_gets_the_key,
    fences_grow,
];

fn acquire(bench: &mut Bench, key: &str, token: u8) -> Acquired {
    let claim = bench.claim(key, token);
    match bench.ask(&Operation::Acquire(claim)) {
        Ok(Outcome::Acquire(acquired)) => acquired,
        other => panic!("{other:?}"),
    }
}

fn fence(bench: &mut Bench, key: &str, token: u8) -> u64 {
    match acquire(bench, key, token) {
        Acquired::Yours { fence } => fence,
        other => panic!("{other:?}"),
    }
}

fn one_holds_a_key_until_it_is_released(bench: &mut Bench) {
    let first = fence(bench, "k", 1);
    assert!(matches!(
        acquire(bench, "k", 2),
        Acquired::InFlight { left } if left <= Duration::from_secs(5)
    ));
    assert_eq!(fence(bench, "k", 1), first, "asked again, the same");
    let mine = bench.claim("k", 1);
    let released = bench.ask(&Operation::Release(mine));
    assert_eq!(released, Ok(Outcome::Release(Released::Yes)));
    assert!(fence(bench, "k", 2) > first);
}

fn a_lease_that_has_ended_frees_nothing(bench: &mut Bench) {
    fence(bench, "k", 1);
    bench.advance(Duration::from_secs(4));
    let mine = bench.claim("k", 1);
    let renewed = bench.ask(&Operation::Renew(mine.clone()));
    assert_eq!(renewed, Ok(Outcome::Renew(Renewed::Yes)));
    bench.advance(Duration::from_secs(4));
    assert!(matches!(acquire(bench, "k", 2), Acquired::InFlight { .. }));
    bench.advance(Duration::from_secs(2));
    assert_eq!(acquire(bench, "k", 2), Acquired::Unknown);
    // The holder is late, and its word is the truth all the same.
    let committed = bench.ask(&bench.commit(&mine, b"late"));
    assert_eq!(committed, Ok(Outcome::Commit(Committed::Yes)));
    // Until the record ends.
    bench.advance(Duration::from_secs(3_601));
    fence(bench, "k", 3);
}

fn an_answer_is_there_for_all_and_never_changes(bench: &mut Bench) {
    fence(bench, "k", 1);
    let mine = bench.claim("k", 1);
    for _ in 0..2 {
        let committed = bench.ask(&bench.commit(&mine, b"made"));
        assert_eq!(committed, Ok(Outcome::Commit(Committed::Yes)));
    }
    let made = Acquired::Completed {
        kind: Kind::Answer,
        bytes: b"made".to_vec(),
    };
    for token in 1..4 {
        assert_eq!(acquire(bench, "k", token), made);
    }
    let other = bench.claim("k", 2);
    let superseded = bench.ask(&bench.commit(&other, b"other"));
    assert_eq!(superseded, Ok(Outcome::Commit(Committed::Superseded)));
    assert_eq!(
        bench.ask(&Operation::Release(mine)),
        Ok(Outcome::Release(Released::Lost))
    );
    assert_eq!(acquire(bench, "k", 4), made);
}

fn only_the_holder_changes_a_record(bench: &mut Bench) {
    fence(bench, "k", 1);
    let other = bench.claim("k", 2);
    let renewed = bench.ask(&Operation::Renew(other.clone()));
    assert_eq!(renewed, Ok(Outcome::Renew(Renewed::Lost)));
    let released = bench.ask(&Operation::Release(other.clone()));
    assert_eq!(released, Ok(Outcome::Release(Released::Lost)));
    let committed = bench.ask(&bench.commit(&other, b"other"));
    assert_eq!(committed, Ok(Outcome::Commit(Committed::Superseded)));
    fence(bench, "k", 1);
}

fn another_request_never_gets_the_key(bench: &mut Bench) {
    fence(bench, "k", 1);
    let changed = bench.claim_for("k", 2, b"another body");
    let mismatch = Ok(Outcome::Acquire(Acquired::Mismatch));
    assert_eq!(bench.ask(&Operation::Acquire(changed.clone())), mismatch);
    let mine = bench.claim("k", 1);
    let committed = bench.ask(&bench.commit(&mine, b"made"));
    assert_eq!(committed, Ok(Outcome::Commit(Committed::Yes)));
    assert_eq!(bench.ask(&Operation::Acquire(changed)), mismatch);
}

fn fences_grow(bench: &mut Bench) {
    let mut last = 0;
    for number in 0..20 {
        let next = fence(bench, &format!("k{number}"), 1);
        assert!(next > last);
        last = next;
        bench.advance(Duration::from_millis(number));
    }
}
