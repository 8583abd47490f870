//! What the scripts write beside records, what they leave alone, and how their replies are read.

use super::super::*;
use super::harness::*;
use crate::idempotency::store::Event;
use crate::redis::resp;
use proptest::prelude::*;
use sluice_model_redis::Mode;
use std::sync::Arc;

#[test]
fn an_event_is_written_with_its_answer_once() {
    let mut redis = Redis::new();
    let event = |trim| Event {
        status: 201,
        headers: vec![(b"x-order".to_vec(), b"\xff7".to_vec())],
        trim,
    };
    let outbox = redis.keys.outbox(&claim(1).scope);
    let fence = redis.fence(&claim(1));
    assert_eq!(
        redis.commit(&claim(1), b"x", Some(event(Trim::Nothing))),
        COMMITTED
    );
    assert_eq!(
        redis.commit(&claim(1), b"x", Some(event(Trim::Nothing))),
        COMMITTED
    );
    assert_eq!(
        redis.commit(&claim(2), b"x", Some(event(Trim::Nothing))),
        SUPERSEDED
    );
    let reply = redis.plain(&[b"XRANGE", &outbox, b"-", b"+"]);
    let Reply::Array(entries) = resp::decode(&reply).unwrap().0 else {
        panic!()
    };
    let [Reply::Array(entry)] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    let Reply::Array(fields) = &entry[1] else {
        panic!()
    };
    let fields: Vec<Vec<u8>> = fields
        .iter()
        .map(|field| match field {
            Reply::Bulk(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        })
        .collect();
    let scope = claim(1).scope.hex();
    let expected: Vec<Vec<u8>> = [
        b"fence",
        fence.to_string().as_bytes(),
        b"scope",
        scope.as_bytes(),
        b"route",
        b"pay",
        b"key",
        b"k",
        b"status",
        b"201",
        b"header:x-order",
        b"\xff7",
    ]
    .iter()
    .map(|text: &&[u8]| text.to_vec())
    .collect();
    assert_eq!(fields, expected);
    assert!(outbox.starts_with(b"sluice:idem:{00}:"));

    let length = |trim, redis: &mut Redis| {
        for step in 0..300u16 {
            let claim = claim_of(1, &[b"n".as_slice(), &step.to_be_bytes()].concat(), b"");
            redis.now += SECOND;
            redis.fence(&claim);
            redis.commit(&claim, b"x", Some(event(trim)));
            redis.release(&claim);
            redis.now += 3600 * SECOND;
        }
        let reply = redis.plain(&[b"XLEN", &outbox]);
        match resp::decode(&reply).unwrap().0 {
            Reply::Integer(length) => length,
            other => panic!("{other:?}"),
        }
    };
    assert!((10..=110).contains(&length(Trim::Length(10), &mut redis)));
    let day = Trim::Age(Duration::from_secs(86_400));
    assert!((24..=130).contains(&length(day, &mut redis)));
}

#[test]
fn what_is_no_record_is_corrupt_and_nothing_is_written_over_it() {
    let record = Redis::new().keys.record(&claim(1).scope);
    let print = print(b"body");
    let valid: [&[u8]; 12] = [
        b"v",
        b"1",
        b"fp",
        print.bytes(),
        b"state",
        b"flight",
        b"token",
        b"t",
        b"fence",
        b"5",
        b"lease",
        b"6",
    ];
    let with = |at: usize, value: &'static [u8]| {
        let mut words = vec![b"HSET".as_slice(), &record];
        words.extend(valid);
        words[2 + at] = value;
        words.iter().map(|word| word.to_vec()).collect::<Vec<_>>()
    };
    let plain = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    for damage in [
        plain(&[b"SET", &record, b"text"]),
        plain(&[b"HSET", &record, b"v", b"1"]),
        with(1, b"2"),
        with(3, b"short"),
        with(5, b"answer"),
        with(5, b"flying"),
        with(7, b""),
        with(9, b"-5"),
        with(9, b"99999999999999999"),
        with(11, b"1e9"),
        with(10, b"else"),
    ] {
        let mut redis = Redis::new();
        let words: Vec<&[u8]> = damage.iter().map(Vec::as_slice).collect();
        redis.plain(&words);
        assert_eq!(redis.acquire(&claim(1)), Acquired::Corrupt, "{damage:?}");
        assert_eq!(redis.commit(&claim(1), b"x", None), SUPERSEDED);
        assert_eq!(redis.release(&claim(1)), Outcome::Release(Released::Lost));
        assert_eq!(redis.acquire(&claim(1)), Acquired::Corrupt);
    }
}

#[test]
fn a_script_that_may_not_write_writes_nothing() {
    let mut redis = Redis::new();
    redis.fence(&claim(1));
    let event = Event {
        status: 200,
        headers: vec![],
        trim: Trim::Nothing,
    };
    for mode in [Mode::ReadOnly, Mode::OutOfMemory] {
        redis.server.set_mode(mode);
        let commit = commit(&claim(1), b"x", Some(event.clone()));
        assert!(redis.ask(&Operation::Commit(Arc::new(commit))).is_err());
        assert!(
            redis
                .ask(&Operation::Acquire(claim_of(2, b"new", b"")))
                .is_err()
        );
    }
    redis.server.set_mode(Mode::Normal);
    assert!(matches!(
        redis.acquire(&claim(2)),
        Acquired::InFlight { .. }
    ));
    assert!(matches!(
        redis.acquire(&claim_of(3, b"new", b"")),
        Acquired::Yours { .. }
    ));
    // An outbox that is none: neither half is written.
    let outbox = redis.keys.outbox(&claim(1).scope);
    redis.plain(&[b"SET", &outbox, b"x"]);
    let commit = commit(&claim(1), b"x", Some(event));
    assert!(redis.ask(&Operation::Commit(Arc::new(commit))).is_err());
    assert!(matches!(
        redis.acquire(&claim(2)),
        Acquired::InFlight { .. }
    ));
}

#[test]
fn a_record_shares_its_partition_with_its_counter_and_its_outbox() {
    let keys = Keys {
        prefix: "p".into(),
        partitions: 256,
    };
    let scope = Scope::new(b"a", "r", b"k");
    let tag = format!("p:idem:{{{:02x}}}:", scope.partition(256));
    for key in [keys.record(&scope), keys.fence(&scope), keys.outbox(&scope)] {
        assert!(key.starts_with(tag.as_bytes()));
    }
}

fn reply() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "acquired",
        "mismatch",
        "answer",
        "flight",
        "unknown",
        "committed",
        "renewed",
        "released",
        "x",
    ]);
    let part = prop_oneof![
        word.prop_map(|word| format!("${}\r\n{word}\r\n", word.len())),
        any::<i64>().prop_map(|number| format!(":{number}\r\n")),
        Just("+OK\r\n".to_owned()),
        Just("$-1\r\n".to_owned()),
        Just("*0\r\n".to_owned()),
    ];
    prop::collection::vec(part, 0..4)
        .prop_map(|parts| format!("*{}\r\n{}", parts.len(), parts.concat()).into_bytes())
}

proptest! {
    #[test]
    fn a_reply_is_read_as_what_was_asked_or_refused(bytes in reply()) {
        let (reply, _) = resp::decode(&bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for asked in [Asked::Acquire, Asked::Renew, Asked::Commit, Asked::Release] {
            match outcome(asked, &reply) {
                Ok(Outcome::Acquire(_)) => prop_assert_eq!(asked, Asked::Acquire),
                Ok(Outcome::Renew(_)) => prop_assert_eq!(text.as_ref(), "*1\r\n$7\r\nrenewed\r\n"),
                Ok(Outcome::Commit(_)) => prop_assert_eq!(text.as_ref(), "*1\r\n$9\r\ncommitted\r\n"),
                Ok(Outcome::Release(_)) => prop_assert_eq!(text.as_ref(), "*1\r\n$8\r\nreleased\r\n"),
                Err(trouble) => prop_assert_eq!(trouble, Trouble::Malformed),
            }
        }
        // The one reply of these that both have.
        let flight = text.starts_with("*2\r\n$6\r\nflight\r\n:") && !text.contains(":-");
        prop_assert_eq!(resolved(&reply).is_ok(), flight);
    }
}
