//! `sluice idem resolve`: what became of a request whose fate is unknown.

use redis::Value;
use sluice_core::idempotency::store::Kind;
use sluice_core::idempotency::stored::Stored;

use super::{Desk, MINUTE, POLICY, answer};

#[test]
fn what_was_not_carried_out_is_freed() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.unknown("ann", "k");
    let done = desk.idem(&["resolve", &claim.scope.hex(), "--free", "--yes"]);
    assert_eq!(done.code, 0, "{}", done.error);
    assert!(
        done.out.starts_with("done: the next request"),
        "{}",
        done.out
    );
    assert!(desk.list(&[]).is_empty());
    let next = desk.store.claim("ann", "k", 2, MINUTE);
    assert_eq!(desk.store.acquire(&next).0, "acquired");
    assert_eq!(
        desk.idem(&[
            "resolve",
            &desk.store.scope("ann", "no").hex(),
            "--free",
            "--yes"
        ])
        .code,
        1
    );
}

#[test]
fn what_was_carried_out_gets_its_answer_and_the_late_gateway_is_refused() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.unknown("ann", "k");
    let body = desk.file("body.json", b"{\"charge\": 17}");
    let done = desk.idem(&[
        "resolve",
        "--route",
        "pay",
        "--scope",
        "ann",
        "--key",
        "k",
        "--completed",
        "201",
        "--header",
        "Content-Type: application/json",
        "--body",
        body.to_str().unwrap(),
        "--yes",
    ]);
    assert_eq!(done.code, 0, "{}", done.error);
    let (word, parts) = desk.store.acquire(&desk.store.claim("ann", "k", 2, MINUTE));
    let Value::BulkString(bytes) = &parts[0] else {
        panic!("{parts:?}")
    };
    let stored = Stored::from_bytes(&bytes.clone().into()).unwrap();
    assert_eq!((word.as_str(), stored.status), ("answer", 201));
    assert_eq!(
        stored.fields,
        [(b"content-type".to_vec(), b"application/json".to_vec())]
    );
    assert_eq!(&stored.body[..], b"{\"charge\": 17}");
    let late = desk
        .store
        .commit(&claim, Kind::Answer, answer(b"late").to_bytes(), None);
    assert_eq!(late, "superseded");
    // Once is for ever.
    let again = desk.idem(&["resolve", &claim.scope.hex(), "--free", "--yes"]);
    assert_eq!(again.code, 1);
    assert!(again.error.contains("never changes"), "{}", again.error);
    // As long as the route says.
    let name = String::from_utf8(desk.store.policy.keys().record(&claim.scope)).unwrap();
    let left: u64 = desk.store.redis.query(&["PTTL", &name]);
    assert!((86_000_000..=86_400_000).contains(&left), "{left}");
}

#[test]
fn an_answer_that_is_lost_is_a_tombstone() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.unknown("ann", "k");
    let done = desk.idem(&[
        "resolve",
        &claim.scope.hex(),
        "--lost",
        "202",
        "--retention",
        "1h",
        "--yes",
    ]);
    assert_eq!(done.code, 0, "{}", done.error);
    assert_eq!(
        desk.store
            .acquire(&desk.store.claim("ann", "k", 2, MINUTE))
            .0,
        "tombstone"
    );
    let shown = desk.idem(&["show", &claim.scope.hex()]);
    assert!(
        shown.out.contains("status     202\nbody       not kept"),
        "{}",
        shown.out
    );
}

#[test]
fn nothing_happens_without_a_yes() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.unknown("ann", "k");
    let digits = claim.scope.hex();
    for input in ["", "no\n", "y\n", "YES\n"] {
        let said = desk.told(&["resolve", &digits, "--free"], input);
        assert_eq!((said.code, said.error.as_str()), (1, "nothing was done\n"));
        assert!(
            said.out.contains("key        \"k\"") && said.out.contains("Type yes"),
            "{}",
            said.out
        );
    }
    assert_eq!(desk.list(&[]).len(), 1);
    assert_eq!(desk.told(&["resolve", &digits, "--free"], "yes\n").code, 0);
    assert!(desk.list(&[]).is_empty());
}

#[test]
fn what_still_runs_is_resolved_only_by_force() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.claim("ann", "k", 1, MINUTE);
    desk.store.acquire(&claim);
    let digits = claim.scope.hex();
    let refused = desk.idem(&["resolve", &digits, "--free", "--yes"]);
    assert_eq!(refused.code, 1);
    assert!(refused.error.contains("--in-flight"), "{}", refused.error);
    assert_eq!(desk.list(&[]).len(), 1);
    let forced = desk.idem(&["resolve", &digits, "--free", "--in-flight", "--yes"]);
    assert_eq!(forced.code, 0, "{}", forced.error);
    assert!(desk.list(&[]).is_empty());
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let desk = Desk::new(POLICY);
    let digits = desk.store.unknown("ann", "k").scope.hex();
    for (arguments, code) in [
        (&["--yes"][..], 2),
        (&["--free", "--completed", "200", "--yes"], 2),
        (&["--completed", "99", "--yes"], 2),
        (&["--free", "--body", "x", "--yes"], 2),
        (&["--completed", "200", "--header", "no colon", "--yes"], 2),
        (
            &["--completed", "200", "--header", "Set-Cookie: a=b", "--yes"],
            1,
        ),
        (
            &["--completed", "200", "--body", "/there/is/none", "--yes"],
            1,
        ),
    ] {
        let said = desk.idem(&[&["resolve", &digits], arguments].concat());
        assert_eq!(said.code, code, "{arguments:?}: {}", said.error);
    }
    assert_eq!(desk.list(&["--state", "unknown"]).len(), 1);
}
