//! Each script on a model of Redis, by every way through it.

mod harness;
mod written;

use super::*;
use bytes::Bytes;
use harness::*;
use std::sync::Arc;

#[test]
fn the_first_gets_the_key_and_all_others_are_told_how_it_stands() {
    let mut redis = Redis::new();
    assert_eq!(redis.fence(&claim(1)), START);
    let left = Duration::from_secs(30);
    assert_eq!(redis.acquire(&claim(2)), Acquired::InFlight { left });
    assert_eq!(
        redis.acquire(&claim_of(2, b"k", b"other")),
        Acquired::Mismatch
    );
    redis.now += 30 * SECOND - 1;
    let left = Duration::from_millis(1);
    assert_eq!(redis.acquire(&claim(2)), Acquired::InFlight { left });
    redis.now += 1;
    assert_eq!(redis.acquire(&claim(2)), Acquired::Unknown);
    redis.now += 3000 * SECOND;
    assert_eq!(redis.acquire(&claim(3)), Acquired::Unknown);
    assert_eq!(redis.commit(&claim(1), b"bytes", None), COMMITTED);
    assert_eq!(redis.acquire(&claim(2)), answer(b"bytes"));
    // 422 outranks all that is said of a key.
    assert_eq!(
        redis.acquire(&claim_of(2, b"k", b"other")),
        Acquired::Mismatch
    );
    assert_eq!(
        redis.acquire(&claim_of(2, b"K", b"other")),
        Acquired::Yours { fence: redis.now }
    );
}

#[test]
fn an_acquisition_repeated_by_its_token_is_the_same_acquisition() {
    let mut redis = Redis::new();
    let fence = redis.fence(&claim(1));
    redis.now += 29 * SECOND;
    assert_eq!(redis.fence(&claim(1)), fence);
    redis.now += 29 * SECOND;
    assert!(matches!(
        redis.acquire(&claim(2)),
        Acquired::InFlight { .. }
    ));
    // Not after it is complete, though.
    redis.commit(&claim(1), b"x", None);
    assert_eq!(redis.acquire(&claim(1)), answer(b"x"));
}

#[test]
fn after_the_retention_the_key_is_free_and_the_fence_still_grows() {
    let mut redis = Redis::new();
    let first = redis.fence(&claim(1));
    redis.commit(&claim(1), b"x", None);
    redis.now += 3600 * SECOND - 1000;
    assert_eq!(redis.acquire(&claim(2)), answer(b"x"));
    redis.now += 2000;
    assert!(redis.fence(&claim(2)) > first);
}

#[test]
fn the_fence_grows_when_the_clock_goes_back_or_the_counter_is_lost() {
    let mut redis = Redis::new();
    let mut last = 0;
    for (step, back) in [(1u8, 0), (2, 3600), (3, 7200), (4, 0)] {
        redis.now = START - back * SECOND;
        let claim = claim_of(step, &[step], b"");
        let fence = redis.fence(&claim);
        assert!(fence > last, "{fence} after {last}");
        last = fence;
    }
    let counter = redis.keys.fence(&claim(1).scope);
    redis.plain(&[b"DEL", &counter]);
    redis.now = START + SECOND;
    assert!(redis.fence(&claim(9)) > last);
    // Exact to the last number that a script can count to.
    redis.plain(&[b"SET", &counter, b"9007199254740990"]);
    assert_eq!(redis.fence(&claim_of(10, b"a", b"")), 9_007_199_254_740_991);
    assert!(
        redis
            .ask(&Operation::Acquire(claim_of(11, b"b", b"")))
            .is_err()
    );
    redis.plain(&[b"SET", &counter, b"x"]);
    assert!(
        redis
            .ask(&Operation::Acquire(claim_of(12, b"c", b"")))
            .is_err()
    );
    assert_eq!(
        redis.ttl(&claim_of(12, b"c", b"")),
        -2,
        "nothing was written"
    );
}

#[test]
fn a_lease_is_renewed_by_its_holder_only_and_late_as_well() {
    let mut redis = Redis::new();
    assert_eq!(redis.renew(&claim(1)), Outcome::Renew(Renewed::Lost));
    redis.fence(&claim(1));
    redis.now += 40 * SECOND;
    assert_eq!(redis.renew(&claim(2)), Outcome::Renew(Renewed::Lost));
    assert_eq!(redis.acquire(&claim(2)), Acquired::Unknown);
    assert_eq!(redis.renew(&claim(1)), Outcome::Renew(Renewed::Yes));
    let left = Duration::from_secs(30);
    assert_eq!(redis.acquire(&claim(2)), Acquired::InFlight { left });
    assert_eq!(redis.ttl(&claim(1)), 3_600_000);
    redis.commit(&claim(1), b"x", None);
    assert_eq!(redis.renew(&claim(1)), Outcome::Renew(Renewed::Lost));
}

#[test]
fn a_commit_is_accepted_once_and_repeated_by_its_token_without_effect() {
    let mut redis = Redis::new();
    redis.fence(&claim(1));
    assert_eq!(redis.commit(&claim(2), b"theirs", None), SUPERSEDED);
    // Late, but the truth.
    redis.now += 60 * SECOND;
    assert_eq!(redis.commit(&claim(1), b"mine", None), COMMITTED);
    redis.now += 100 * SECOND;
    assert_eq!(redis.commit(&claim(1), b"changed", None), COMMITTED);
    assert_eq!(redis.acquire(&claim(3)), answer(b"mine"));
    assert_eq!(redis.commit(&claim(2), b"theirs", None), SUPERSEDED);
    assert_eq!(redis.acquire(&claim(3)), answer(b"mine"));
    assert_eq!(redis.ttl(&claim(1)), 3_500_000, "counted from the commit");
}

#[test]
fn a_record_that_the_store_lost_is_there_again_after_the_commit() {
    let mut redis = Redis::new();
    redis.fence(&claim(1));
    redis.plain(&[b"FLUSHALL"]);
    let restored = Outcome::Commit(Committed::Restored);
    assert_eq!(redis.commit(&claim(1), b"x", None), restored);
    assert_eq!(redis.acquire(&claim(2)), answer(b"x"));
    assert_eq!(
        redis.acquire(&claim_of(2, b"k", b"other")),
        Acquired::Mismatch
    );
    assert_eq!(redis.commit(&claim(1), b"y", None), COMMITTED);
}

#[test]
fn only_the_holder_frees_a_key_and_only_in_flight() {
    let mut redis = Redis::new();
    assert_eq!(redis.release(&claim(1)), Outcome::Release(Released::Absent));
    redis.fence(&claim(1));
    assert_eq!(redis.release(&claim(2)), Outcome::Release(Released::Lost));
    assert_eq!(redis.release(&claim(1)), Outcome::Release(Released::Yes));
    assert_eq!(redis.release(&claim(1)), Outcome::Release(Released::Absent));
    redis.fence(&claim(2));
    assert_eq!(redis.release(&claim(1)), Outcome::Release(Released::Lost));
    redis.commit(&claim(2), b"x", None);
    assert_eq!(redis.release(&claim(2)), Outcome::Release(Released::Lost));
}

#[test]
fn a_tombstone_is_told_from_an_answer() {
    let mut redis = Redis::new();
    redis.fence(&claim(1));
    let tombstone = Commit {
        kind: Kind::Tombstone,
        ..commit(&claim(1), b"s", None)
    };
    assert_eq!(
        redis.ask(&Operation::Commit(Arc::new(tombstone))),
        Ok(COMMITTED)
    );
    let completed = Acquired::Completed {
        kind: Kind::Tombstone,
        bytes: b"s".to_vec().into(),
    };
    assert_eq!(redis.acquire(&claim(2)), completed);
}

#[test]
fn a_long_answer_is_left_where_it_is_and_read_after_it() {
    let mut redis = Redis::new();
    let (short, long) = (vec![b's'; INLINE], vec![b'l'; INLINE + 1]);
    let by = Some(Bytes::from(claim(1).token.hex()));
    let left_there = Some(Found {
        answer: None,
        by: by.clone(),
    });
    let here = |bytes: &[u8]| {
        Some(Found {
            answer: Some(answer(bytes)),
            by: by.clone(),
        })
    };
    redis.fence(&claim(1));
    redis.commit(&claim(1), &short, None);
    let left = claim(1).retention;
    let said = |found: Option<Found>| found.map(|found| (found, left));
    assert_eq!(redis.stored(&claim(2), INLINE), said(here(&short)));
    assert_eq!(redis.stored(&claim(2), 0), said(left_there.clone()));
    assert_eq!(redis.acquire(&claim(2)), answer(&short));
    let other = claim_of(1, b"long", b"body");
    assert_eq!(redis.read(&other), Ok(None), "nothing is there");
    redis.fence(&other);
    assert_eq!(redis.read(&other), Ok(None), "it is in flight");
    redis.commit(&other, &long, None);
    assert_eq!(redis.stored(&other, INLINE), said(left_there));
    assert_eq!(redis.stored(&other, INLINE + 1), said(here(&long)));
    assert_eq!(redis.read(&other), Ok(here(&long)));
    // How long the record stays comes with it; of one that has no end nothing is known.
    redis.now += 5 * SECOND;
    let (_, now_left) = redis.stored(&other, 0).unwrap();
    assert_eq!(now_left, left - Duration::from_secs(5));
    let record = redis.keys.record(&other.scope);
    redis.plain(&[b"PERSIST", &record]);
    assert_eq!(redis.stored(&other, 0).unwrap().1, Duration::ZERO);
    // Another request is told nothing of it, neither way.
    let changed = claim_of(2, b"long", b"other");
    assert_eq!(redis.acquire(&changed), Acquired::Mismatch);
    assert_eq!(redis.read(&changed), Ok(None));
    // Without its bytes it is no answer.
    redis.plain(&[b"HDEL", &record, b"answer"]);
    assert_eq!(redis.acquire(&other), Acquired::Corrupt);
    assert_eq!(redis.read(&other), Ok(None));
    redis.plain(&[b"SET", &record, b"text"]);
    let command = redis.keys.read(&other);
    assert!(redis.run(&command, |reply, _| matches!(reply, Reply::Error(_))));
}

#[test]
fn an_operator_resolves_what_is_unknown_and_nothing_else() {
    let mut redis = Redis::new();
    let complete = Resolution::Complete {
        kind: Kind::Answer,
        bytes: b"by hand".to_vec(),
        retention: Duration::from_secs(60),
    };
    assert_eq!(
        redis.resolve(&claim(1), 1, false, &complete),
        Resolved::Absent
    );
    let fence = redis.fence(&claim(1));
    let left = Duration::from_secs(30);
    assert_eq!(
        redis.resolve(&claim(1), fence, false, &complete),
        Resolved::InFlight { left }
    );
    assert_eq!(
        redis.resolve(&claim(1), fence + 1, true, &complete),
        Resolved::Changed
    );
    redis.now += 30 * SECOND;
    assert_eq!(
        redis.resolve(&claim(1), fence, false, &complete),
        Resolved::Yes
    );
    assert_eq!(redis.acquire(&claim(2)), answer(b"by hand"));
    let by_hand = Found {
        answer: Some(answer(b"by hand")),
        by: None,
    };
    assert_eq!(redis.read(&claim(2)), Ok(Some(by_hand)));
    assert_eq!(redis.ttl(&claim(1)), 60_000);
    // The holder comes back: its word is refused and counted.
    assert_eq!(redis.commit(&claim(1), b"late", None), SUPERSEDED);
    assert_eq!(redis.renew(&claim(1)), Outcome::Renew(Renewed::Lost));
    assert_eq!(
        redis.resolve(&claim(1), fence, true, &Resolution::Free),
        Resolved::Completed
    );
}

#[test]
fn an_operator_frees_a_key_for_a_new_execution() {
    let mut redis = Redis::new();
    let fence = redis.fence(&claim(1));
    assert_eq!(
        redis.resolve(&claim(1), fence, true, &Resolution::Free),
        Resolved::Yes
    );
    assert!(redis.fence(&claim(2)) > fence);
    assert_eq!(redis.commit(&claim(1), b"late", None), SUPERSEDED);
    assert_eq!(redis.commit(&claim(2), b"x", None), COMMITTED);
}
