//! What a store promises, one function for each promise. The tests on a real etcd include this file as well: what it
//! needs stands beside it.

use super::fingerprint::Hasher;
use super::scope::{Scope, Token};
use super::store::{
    Acquired, Claim, Commit, Committed, Kind, Operation, Outcome, Released, Renewed,
};
use super::trouble::Trouble;
use std::sync::Arc;
use std::time::Duration;

/// A store that is held to the promises.
pub trait Stage {
    /// An operation, and what it comes to.
    fn ask(&mut self, operation: &Operation) -> Result<Outcome, Trouble>;

    /// Time passes, for leases and for records.
    fn advance(&mut self, time: Duration);
}

pub fn claim(key: &str, token: u8) -> Arc<Claim> {
    claim_for(key, token, b"body")
}

pub fn claim_for(key: &str, token: u8, body: &[u8]) -> Arc<Claim> {
    let mut fingerprint = Hasher::new(b"POST", b"/pay");
    fingerprint.body(body);
    Arc::new(Claim {
        scope: Scope::new(b"ann", "pay", key.as_bytes()),
        token: Token::new([token; 16]),
        fingerprint: fingerprint.finish(),
        lease: Duration::from_secs(5),
        retention: Duration::from_secs(3_600),
        route: "pay".into(),
        key: key.as_bytes().to_vec(),
        max_answer: 0,
        at: 0,
    })
}

pub fn commit(claim: &Arc<Claim>, bytes: &[u8]) -> Operation {
    Operation::Commit(Arc::new(Commit {
        claim: claim.clone(),
        fence: Some(1),
        kind: Kind::Answer,
        bytes: bytes.to_vec().into(),
        event: None,
    }))
}

pub const ALL: [fn(&mut dyn Stage); 7] = [
    one_holds_a_key_until_it_is_released,
    a_lease_that_has_ended_frees_nothing,
    an_answer_is_there_for_all_and_never_changes,
    a_long_answer_is_there_whole,
    only_the_holder_changes_a_record,
    another_request_never_gets_the_key,
    fences_grow,
];

fn acquire(stage: &mut dyn Stage, key: &str, token: u8) -> Acquired {
    let claim = claim(key, token);
    match stage.ask(&Operation::Acquire(claim)) {
        Ok(Outcome::Acquire(acquired)) => acquired,
        other => panic!("{other:?}"),
    }
}

fn fence(stage: &mut dyn Stage, key: &str, token: u8) -> u64 {
    match acquire(stage, key, token) {
        Acquired::Yours { fence } => fence,
        other => panic!("{other:?}"),
    }
}

fn one_holds_a_key_until_it_is_released(stage: &mut dyn Stage) {
    let first = fence(stage, "k", 1);
    assert!(matches!(
        acquire(stage, "k", 2),
        Acquired::InFlight { left } if left <= Duration::from_secs(5)
    ));
    assert_eq!(fence(stage, "k", 1), first, "asked again, the same");
    let mine = claim("k", 1);
    let released = stage.ask(&Operation::Release(mine));
    assert_eq!(released, Ok(Outcome::Release(Released::Yes)));
    assert!(fence(stage, "k", 2) > first);
}

fn a_lease_that_has_ended_frees_nothing(stage: &mut dyn Stage) {
    fence(stage, "k", 1);
    stage.advance(Duration::from_secs(4));
    let mine = claim("k", 1);
    let renewed = stage.ask(&Operation::Renew(mine.clone()));
    assert_eq!(renewed, Ok(Outcome::Renew(Renewed::Yes)));
    stage.advance(Duration::from_secs(4));
    assert!(matches!(acquire(stage, "k", 2), Acquired::InFlight { .. }));
    stage.advance(Duration::from_secs(2));
    assert_eq!(acquire(stage, "k", 2), Acquired::Unknown);
    // The holder is late, and its word is the truth all the same.
    let committed = stage.ask(&commit(&mine, b"late"));
    assert_eq!(committed, Ok(Outcome::Commit(Committed::Yes)));
    // Until the record ends: not before its retention is over, and soon after that.
    stage.advance(Duration::from_secs(3_590));
    assert!(matches!(acquire(stage, "k", 3), Acquired::Completed { .. }));
    stage.advance(Duration::from_secs(600));
    fence(stage, "k", 3);
}

fn an_answer_is_there_for_all_and_never_changes(stage: &mut dyn Stage) {
    fence(stage, "k", 1);
    let mine = claim("k", 1);
    for _ in 0..2 {
        let committed = stage.ask(&commit(&mine, b"made"));
        assert_eq!(committed, Ok(Outcome::Commit(Committed::Yes)));
    }
    let made = Acquired::Completed {
        kind: Kind::Answer,
        bytes: b"made".to_vec().into(),
    };
    for token in 1..4 {
        assert_eq!(acquire(stage, "k", token), made);
    }
    let other = claim("k", 2);
    let superseded = stage.ask(&commit(&other, b"other"));
    assert_eq!(superseded, Ok(Outcome::Commit(Committed::Superseded)));
    assert_eq!(
        stage.ask(&Operation::Release(mine)),
        Ok(Outcome::Release(Released::Lost))
    );
    assert_eq!(acquire(stage, "k", 4), made);
}

fn a_long_answer_is_there_whole(stage: &mut dyn Stage) {
    for (key, length) in [("a", 8_192), ("b", 8_193), ("c", 100_000)] {
        fence(stage, key, 1);
        let mine = claim(key, 1);
        let bytes: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let committed = stage.ask(&commit(&mine, &bytes));
        assert_eq!(committed, Ok(Outcome::Commit(Committed::Yes)));
        let kind = Kind::Answer;
        let bytes = bytes.into();
        let whole = Acquired::Completed { kind, bytes };
        for token in 1..4 {
            assert_eq!(acquire(stage, key, token), whole);
        }
        let other = claim_for(key, 2, b"another body");
        let mismatch = Ok(Outcome::Acquire(Acquired::Mismatch));
        assert_eq!(stage.ask(&Operation::Acquire(other)), mismatch);
    }
}

fn only_the_holder_changes_a_record(stage: &mut dyn Stage) {
    fence(stage, "k", 1);
    let other = claim("k", 2);
    let renewed = stage.ask(&Operation::Renew(other.clone()));
    assert_eq!(renewed, Ok(Outcome::Renew(Renewed::Lost)));
    let released = stage.ask(&Operation::Release(other.clone()));
    assert_eq!(released, Ok(Outcome::Release(Released::Lost)));
    let committed = stage.ask(&commit(&other, b"other"));
    assert_eq!(committed, Ok(Outcome::Commit(Committed::Superseded)));
    fence(stage, "k", 1);
}

fn another_request_never_gets_the_key(stage: &mut dyn Stage) {
    fence(stage, "k", 1);
    let changed = claim_for("k", 2, b"another body");
    let mismatch = Ok(Outcome::Acquire(Acquired::Mismatch));
    assert_eq!(stage.ask(&Operation::Acquire(changed.clone())), mismatch);
    let mine = claim("k", 1);
    let committed = stage.ask(&commit(&mine, b"made"));
    assert_eq!(committed, Ok(Outcome::Commit(Committed::Yes)));
    assert_eq!(stage.ask(&Operation::Acquire(changed)), mismatch);
}

fn fences_grow(stage: &mut dyn Stage) {
    let mut last = 0;
    for number in 0..20 {
        let next = fence(stage, &format!("k{number}"), 1);
        assert!(next > last);
        last = next;
        stage.advance(Duration::from_millis(number));
    }
}
