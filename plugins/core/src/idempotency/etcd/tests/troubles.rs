//! What is lost on the way, what etcd has forgotten, and what it does not let in.

use super::model::refusal;
use super::stage::{Answers, EtcdStage, IN_FLIGHT, TIMEOUT, settings};
use crate::gcra::PS_PER_S;
use crate::idempotency::etcd::Login;
use crate::idempotency::etcd::record::{Record, What};
use crate::idempotency::redlock::testing::suite::{Stage, claim, commit};
use crate::idempotency::store::{Acquired, Committed, Kind, Operation, Outcome, Released};
use crate::redis::trouble::Trouble;
use std::time::Duration;

fn acquire(key: &str, token: u8) -> Operation {
    Operation::Acquire(claim(key, token))
}

fn yours(fence: u64) -> Result<Outcome, Trouble> {
    Ok(Outcome::Acquire(Acquired::Yours { fence }))
}

fn committed(how: Committed) -> Result<Outcome, Trouble> {
    Ok(Outcome::Commit(how))
}

/// A stage whose lease is there already, so that each operation is one request.
fn ready() -> EtcdStage {
    let mut stage = EtcdStage::new();
    assert_eq!(stage.ask(&acquire("first", 9)), yours(1));
    stage
}

/// Sends what is begun, has etcd do it, and loses the reply.
fn lose_reply(stage: &mut EtcdStage) -> Answers {
    for (token, request) in stage.send(0) {
        stage.model.answer(&request, stage.now);
        stage.hear(0, token, Err(Trouble::Reset));
    }
    stage.answered(0)
}

/// Row 2 of the failure matrix.
#[test]
fn a_key_whose_reply_was_lost_is_given_back_by_its_token() {
    let mut stage = ready();
    stage.start(0, &acquire("k", 1)).unwrap();
    assert_eq!(lose_reply(&mut stage), [Err(Trouble::Reset)]);
    let free = Operation::Release(claim("k", 1));
    assert_eq!(stage.ask(&free), Ok(Outcome::Release(Released::Yes)));
    assert_eq!(stage.ask(&free), Ok(Outcome::Release(Released::Absent)));
    assert_eq!(stage.ask(&acquire("k", 2)), yours(4));
}

/// Row 8.
#[test]
fn a_commit_whose_reply_was_lost_is_repeated_without_effect() {
    let mut stage = ready();
    assert_eq!(stage.ask(&acquire("k", 1)), yours(2));
    let mine = commit(&claim("k", 1), b"made");
    stage.start(0, &mine).unwrap();
    assert_eq!(lose_reply(&mut stage), [Err(Trouble::Reset)]);
    let before = stage.model.keys.clone();
    assert_eq!(stage.ask(&mine), committed(Committed::Yes));
    assert_eq!(stage.model.keys, before);
}

/// Rows 10 and 23: whoever wrote the record meanwhile, it stays as it is.
#[test]
fn a_commit_changes_nothing_that_is_not_in_flight_under_its_token() {
    let mut stage = ready();
    assert_eq!(stage.ask(&acquire("k", 1)), yours(2));
    let key = stage.model.keys.keys().next().unwrap().clone();
    for value in [
        // An operator's word, another's record, and no record at all.
        r#"{"v":1,"state":"answer","fp":"F","fence":2,"route":"pay","key":"k"}"#,
        r#"{"v":1,"state":"flight","token":"T","fp":"F","lease":1,"route":"pay","key":"k"}"#,
        "what is this",
    ] {
        let value = value.replace('F', &"0".repeat(64)) + "\n";
        let key = stage
            .model
            .keys
            .keys()
            .find(|name| **name != key)
            .unwrap_or(&key)
            .clone();
        for kv in stage.model.keys.values_mut() {
            kv.value = value.clone().into_bytes();
        }
        let late = commit(&claim("k", 1), b"late");
        assert_eq!(
            stage.ask(&late),
            committed(Committed::Superseded),
            "{value}"
        );
        assert_eq!(stage.model.keys[&key].value, value.as_bytes());
    }
}

#[test]
fn a_commit_whose_record_is_gone_restores_it_once() {
    let mut stage = ready();
    assert_eq!(stage.ask(&acquire("k", 1)), yours(2));
    stage.model.keys.clear();
    let mine = commit(&claim("k", 1), b"made");
    assert_eq!(stage.ask(&mine), committed(Committed::Restored));
    assert_eq!(stage.ask(&mine), committed(Committed::Yes));
    // Another has taken the key between the two steps of a commit.
    let mut stage = ready();
    stage.start(0, &mine).unwrap();
    let first = stage.send(0).remove(0);
    stage.deliver(0, &first);
    let second = stage.send(0).remove(0);
    stage.model.revision += 1;
    let others = stage.model.keys.values().next().unwrap().clone();
    let key = String::from_utf8(second.1.body.clone()).unwrap();
    let key = key
        .split(r#""key":""#)
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let key = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, key).unwrap();
    stage.model.keys.insert(key, others);
    stage.deliver(0, &second);
    assert_eq!(stage.answered(0), [committed(Committed::Superseded)]);
}

#[test]
fn a_record_that_cannot_be_read_is_nobodys() {
    let mut stage = ready();
    assert_eq!(stage.ask(&acquire("k", 1)), yours(2));
    for kv in stage.model.keys.values_mut() {
        kv.value = b"{}\n".to_vec();
    }
    let corrupt = Ok(Outcome::Acquire(Acquired::Corrupt));
    assert_eq!(stage.ask(&acquire("k", 1)), corrupt);
    assert_eq!(stage.ask(&acquire("k", 2)), corrupt);
}

/// Leases are shared, and the next is there before it is needed.
#[test]
fn a_herd_asks_for_one_lease() {
    let mut stage = EtcdStage::new();
    for number in 0..20 {
        stage.start(0, &acquire(&format!("k{number}"), 1)).unwrap();
    }
    let first = stage.send(0);
    assert_eq!(first.len(), 1, "nothing can be written without one");
    stage.deliver(0, &first[0]);
    assert_eq!(stage.send(0).len(), IN_FLIGHT, "no more at once");
    assert_eq!(stage.model.granted, 1);

    let mut stage = ready();
    // A record of an hour hangs on leases that are up to an eighth longer.
    stage.advance(Duration::from_secs(300));
    stage.start(0, &acquire("k", 1)).unwrap();
    let sent = stage.send(0);
    let paths: Vec<&str> = sent.iter().map(|(_, request)| request.path).collect();
    assert_eq!(paths, ["/v3/kv/txn", "/v3/lease/grant"]);
}

/// As after a restore from a backup: what the store takes for granted is not there.
#[test]
fn a_lease_that_etcd_has_lost_is_replaced_and_nothing_is_lost() {
    let mut stage = ready();
    stage.model.leases.clear();
    assert_eq!(stage.ask(&acquire("k", 1)), yours(2));
    assert_eq!(stage.model.granted, 2);
    // One that loses each at once is not asked for ever.
    stage.start(0, &acquire("k2", 1)).unwrap();
    for _ in 0..20 {
        stage.model.leases.clear();
        for request in stage.send(0) {
            stage.deliver(0, &request);
        }
    }
    assert_eq!(stage.answered(0), [Err(Trouble::Error)]);
}

#[test]
fn without_a_lease_nothing_is_written_and_what_waits_is_told_so() {
    let mut stage = EtcdStage::new();
    stage.start(0, &acquire("k", 1)).unwrap();
    stage.start(0, &Operation::Release(claim("k", 1))).unwrap();
    let full = refusal(429, 8, "etcdserver: mvcc: database space exceeded");
    for request in stage.send(0) {
        match request.1.path {
            "/v3/lease/grant" => stage.hear(0, request.0, Ok(&full)),
            _ => stage.deliver(0, &request),
        }
    }
    let absent = Ok(Outcome::Release(Released::Absent));
    assert_eq!(stage.answered(0), [absent, Err(Trouble::OutOfMemory)]);
    assert!(stage.model.keys.is_empty());
}

/// A record never ends before its retention is over, whenever it was last written.
#[test]
fn records_are_kept_for_their_retention_at_least() {
    let mut stage = EtcdStage::new();
    let hour = 3_600 * PS_PER_S;
    for step in 0..400u64 {
        let key = format!("k{step}");
        assert!(stage.ask(&acquire(&key, 1)).is_ok());
        let written = stage.now;
        let ends = stage.model.leases.values().copied().max().unwrap();
        assert!(ends >= written + hour, "{step}");
        assert!(ends <= written + hour + hour / 8, "{step}");
        stage.advance(Duration::from_secs(step % 97));
    }
    assert!(stage.model.granted > 20);
    assert!(
        stage.model.leases.len() < 20,
        "those that are over are gone"
    );
}

/// Row 24, and clocks that differ: they may say "unknown" too soon or too late, and never free a key.
#[test]
fn no_clock_of_a_gateway_frees_a_key() {
    let mut stage = EtcdStage::with(&settings(None), 2);
    stage.skew = vec![0, 60_000_000];
    let fence = |outcome| match outcome {
        Ok(Outcome::Acquire(Acquired::Yours { fence })) => fence,
        other => panic!("{other:?}"),
    };
    let first = fence(stage.ask_by(0, &acquire("k", 1)));
    let other = acquire("k", 2);
    let unknown = Ok(Outcome::Acquire(Acquired::Unknown));
    assert_eq!(stage.ask_by(1, &other), unknown, "a minute ahead");
    stage.skew[1] = -60_000_000;
    stage.advance(Duration::from_secs(30));
    assert!(matches!(
        stage.ask_by(1, &other),
        Ok(Outcome::Acquire(Acquired::InFlight { .. }))
    ));
    stage.skew[1] = 400 * 86_400 * 1_000_000;
    assert_eq!(stage.ask_by(1, &other), unknown, "a year ahead");
    // What ends a record is etcd's own time, and then the fence goes on growing.
    stage.advance(Duration::from_secs(4_100));
    assert!(fence(stage.ask_by(1, &other)) > first);
}

#[test]
fn what_waits_too_long_is_not_sent() {
    let mut stage = ready();
    for number in 0..IN_FLIGHT + 1 {
        stage.start(0, &acquire(&format!("k{number}"), 1)).unwrap();
    }
    let sent = stage.send(0);
    assert_eq!(sent.len(), IN_FLIGHT);
    stage.now += TIMEOUT;
    stage.deliver(0, &sent[0]);
    assert!(stage.send(0).is_empty());
    assert_eq!(stage.answered(0), [yours(2), Err(Trouble::Timeout)]);
    // Callouts that the gateway never ends are given up.
    assert!(stage.stores[0].overdue(stage.now).is_empty());
    stage.now += 2 * PS_PER_S;
    let lost = stage.stores[0].overdue(stage.now);
    assert_eq!(lost.len(), IN_FLIGHT - 1);
    lost.iter()
        .for_each(|token| stage.hear(0, *token, Err(Trouble::Timeout)));
    assert_eq!(stage.answered(0), vec![Err(Trouble::Timeout); 3]);
    assert_eq!(stage.ask(&acquire("k", 1)), yours(3));
}

#[test]
fn no_more_wait_than_can_be_sent_in_time() {
    let mut stage = ready();
    let full = (0..IN_FLIGHT * 64).map(|_| stage.start(0, &acquire("k", 1)));
    assert!(full.collect::<Vec<_>>().iter().all(Result::is_ok));
    let more = stage.start(0, &acquire("k", 1));
    assert_eq!(more, Err(Trouble::Overloaded));
}

#[test]
fn an_etcd_that_fails_is_left_alone_for_a_while() {
    let mut settings = settings(None);
    settings.breaker.failures = 2;
    settings.breaker.open_for = 3 * TIMEOUT;
    let mut stage = EtcdStage::with(&settings, 1);
    for number in 0..2 {
        let key = format!("k{number}");
        stage.start(0, &acquire(&key, 1)).unwrap();
        for (token, _) in stage.send(0) {
            stage.hear(0, token, Err(Trouble::Connect));
        }
        assert_eq!(stage.answered(0), [Err(Trouble::Connect)]);
    }
    assert!(stage.stores[0].breaker.is_open());
    let refused = stage.ask(&acquire("k", 1));
    assert_eq!(refused, Err(Trouble::BreakerOpen));
    // What only this gateway can say is said all the same.
    let free = Operation::Release(claim("k", 1));
    assert_eq!(stage.start(0, &free), Ok(()));
    for (token, _) in stage.send(0) {
        stage.hear(0, token, Err(Trouble::Connect));
    }
    assert_eq!(stage.answered(0), [Err(Trouble::Connect)]);
    stage.now += 3 * TIMEOUT;
    assert_eq!(stage.ask(&acquire("k", 1)), yours(1), "one tries");
    assert!(!stage.stores[0].breaker.is_open());
}

fn login() -> Login {
    Login {
        name: "slu\"ice".into(),
        password: "pass\\word".into(),
    }
}

#[test]
fn who_has_to_log_in_does_so_once_and_again_when_the_token_has_ended() {
    let mut stage = EtcdStage::with(&settings(Some(login())), 1);
    stage.model.login = Some(login());
    for number in 0..3 {
        stage.start(0, &acquire(&format!("k{number}"), 1)).unwrap();
    }
    assert_eq!(stage.settle(0), [yours(1), yours(2), yours(3)]);
    assert_eq!(stage.model.logins, 1);
    stage.model.token += 1;
    assert_eq!(stage.ask(&acquire("again", 1)), yours(4));
    assert_eq!(stage.model.logins, 2);
    // Also where the next thing that is asked for is a lease.
    stage.model.token += 1;
    stage.advance(Duration::from_secs(3_000));
    assert_eq!(stage.ask(&acquire("later", 1)), yours(5));
    assert_eq!(stage.model.logins, 3);
}

#[test]
fn a_login_that_is_refused_is_told_to_all_that_wait() {
    let wrong = Login {
        password: "wrong".into(),
        ..login()
    };
    for asks in [Some(wrong), None] {
        let mut stage = EtcdStage::with(&settings(asks), 1);
        stage.model.login = Some(login());
        for number in 0..3 {
            stage.start(0, &acquire(&format!("k{number}"), 1)).unwrap();
        }
        assert_eq!(stage.settle(0), vec![Err(Trouble::Auth); 3]);
        assert!(stage.model.keys.is_empty());
    }
}

#[test]
fn a_record_says_what_operators_look_for() {
    let mut stage = EtcdStage::new();
    stage.advance(Duration::from_secs(1));
    let mine = claim("say \"hi\"", 1);
    assert_eq!(stage.ask(&Operation::Acquire(mine.clone())), yours(1));
    let record = |stage: &EtcdStage| {
        let kv = stage.model.keys.values().next().unwrap();
        Record::read(&kv.value).unwrap()
    };
    let found = record(&stage);
    let token = "01".repeat(16);
    let ends = 1_790_000_000_000_000 + 2_000_000 + 5_000_000;
    assert_eq!(found.what, What::Flight { token, ends });
    assert_eq!(
        (found.route.as_str(), found.key.as_str()),
        ("pay", "say \"hi\"")
    );
    assert_eq!(found.started, Some(1_790_000_000_000_000));
    let key = stage.model.keys.keys().next().unwrap();
    let name = format!("t:idem:{{00}}:{}", mine.scope.hex());
    assert_eq!(key, name.as_bytes());

    assert_eq!(
        stage.ask(&commit(&mine, b"a\nb\0")),
        committed(Committed::Yes)
    );
    let done = record(&stage);
    let by = Some("01".repeat(16));
    let bytes = b"a\nb\0".to_vec();
    let kind = Kind::Answer;
    assert_eq!(done.what, What::Done { by, kind, bytes });
    assert_eq!(done.started, found.started);
    assert_eq!(done.fence, Some(1));
}
