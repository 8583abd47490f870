//! Each script on a model of Redis, by every way through it.

use super::*;
use crate::idempotency::fingerprint::{Fingerprint, Hasher};
use crate::idempotency::scope::Token;
use crate::idempotency::store::Event;
use crate::redis::resp;
use proptest::prelude::*;
use sluice_model_redis::{Connection, Mode, Server};
use std::sync::Arc;

const SECOND: u64 = 1_000_000;
const START: u64 = 1_790_000_000 * SECOND;

struct Redis {
    server: Server,
    connection: Connection,
    now: u64,
    keys: Keys,
}

impl Redis {
    fn new() -> Self {
        let mut server = Server::new(sluice_model_redis::Settings::default());
        Self {
            connection: server.connect(),
            server,
            now: START,
            keys: Keys {
                prefix: "sluice".into(),
                partitions: 1,
            },
        }
    }

    fn run<T>(&mut self, command: &Command, read: impl FnOnce(&Reply<'_>) -> T) -> T {
        let mut bytes = Vec::new();
        let scripts = all();
        command.encode(&mut bytes, &scripts[command.script], true);
        let reply = self.server.feed(&mut self.connection, &bytes, self.now);
        let (reply, rest) = resp::decode(&reply).unwrap();
        assert!(rest.is_empty());
        read(&reply)
    }

    fn ask(&mut self, operation: &Operation) -> Result<Outcome, String> {
        let command = self.keys.command(operation);
        self.run(&command, |reply| match reply {
            Reply::Error(text) => Err(String::from_utf8_lossy(text).into_owned()),
            reply => Ok(outcome(Asked::from(operation), reply).unwrap()),
        })
    }

    fn acquire(&mut self, claim: &Arc<Claim>) -> Acquired {
        match self.ask(&Operation::Acquire(Arc::clone(claim))) {
            Ok(Outcome::Acquire(acquired)) => acquired,
            other => panic!("{other:?}"),
        }
    }

    fn fence(&mut self, claim: &Arc<Claim>) -> u64 {
        match self.acquire(claim) {
            Acquired::Yours { fence } => fence,
            other => panic!("{other:?}"),
        }
    }

    fn renew(&mut self, claim: &Arc<Claim>) -> Outcome {
        self.ask(&Operation::Renew(Arc::clone(claim))).unwrap()
    }

    fn release(&mut self, claim: &Arc<Claim>) -> Outcome {
        self.ask(&Operation::Release(Arc::clone(claim))).unwrap()
    }

    fn commit(&mut self, claim: &Arc<Claim>, bytes: &[u8], event: Option<Event>) -> Outcome {
        let commit = commit(claim, bytes, event);
        self.ask(&Operation::Commit(Arc::new(commit))).unwrap()
    }

    fn resolve(&mut self, claim: &Claim, fence: u64, force: bool, word: &Resolution) -> Resolved {
        let command = self.keys.resolve(&claim.scope, fence, force, word);
        self.run(&command, |reply| resolved(reply).unwrap())
    }

    fn plain(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        resp::encode(&mut bytes, words);
        self.server.feed(&mut self.connection, &bytes, self.now)
    }

    fn ttl(&mut self, claim: &Claim) -> i64 {
        let record = self.keys.record(&claim.scope);
        let reply = self.plain(&[b"PTTL", &record]);
        match resp::decode(&reply).unwrap().0 {
            Reply::Integer(left) => left,
            other => panic!("{other:?}"),
        }
    }
}

fn print(body: &[u8]) -> Fingerprint {
    let mut hasher = Hasher::new(b"POST", b"/pay");
    hasher.body(body);
    hasher.finish()
}

fn claim_of(token: u8, key: &[u8], body: &[u8]) -> Arc<Claim> {
    Arc::new(Claim {
        scope: Scope::new(b"alice", "pay", key),
        token: Token::new([token; 16]),
        fingerprint: print(body),
        lease: Duration::from_secs(30),
        retention: Duration::from_secs(3600),
        route: "pay".into(),
        key: key.to_vec(),
    })
}

fn claim(token: u8) -> Arc<Claim> {
    claim_of(token, b"k", b"body")
}

fn commit(claim: &Arc<Claim>, bytes: &[u8], event: Option<Event>) -> Commit {
    Commit {
        claim: Arc::clone(claim),
        fence: Some(7),
        kind: Kind::Answer,
        bytes: bytes.to_vec(),
        event,
    }
}

fn answer(bytes: &[u8]) -> Acquired {
    Acquired::Completed {
        kind: Kind::Answer,
        bytes: bytes.to_vec(),
    }
}

const COMMITTED: Outcome = Outcome::Commit(Committed::Yes);
const SUPERSEDED: Outcome = Outcome::Commit(Committed::Superseded);

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
        bytes: b"s".to_vec(),
    };
    assert_eq!(redis.acquire(&claim(2)), completed);
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
