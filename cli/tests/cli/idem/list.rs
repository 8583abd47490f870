//! `sluice idem list` and `show`: what there is.

use std::fs;

use super::{Desk, MINUTE, POLICY, Said, answer};
use sluice_core::idempotency::store::Kind;

#[test]
fn what_is_open_is_listed_and_what_is_done_when_asked_for() {
    let desk = Desk::new(POLICY);
    let store = &desk.store;
    let nothing = desk.idem(&["list"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (0, ""));
    assert_eq!(nothing.error, "0 records\n");

    store.unknown("ann", "lost");
    store.acquire(&store.claim("ann", "running", 1, MINUTE));
    let done = store.claim("bob", "done", 1, MINUTE);
    store.acquire(&done);
    store.commit(&done, Kind::Answer, answer(b"x").to_bytes(), None);
    let bad = store.claim("bob", "bad", 1, MINUTE);
    let name = String::from_utf8(store.policy.keys().record(&bad.scope)).unwrap();
    let _ = store.redis.cmd(&["SET", &name, "no hash"]);
    // Of another installation, and no record at all.
    let _ = store
        .redis
        .cmd(&["HSET", &name.replace("sluice:", "other:"), "v", "1"]);
    let _ = store.redis.cmd(&["SET", "sluice:idem:{00}:x", "1"]);

    let states = |arguments: &[&str]| {
        let mut all: Vec<_> = desk
            .list(arguments)
            .iter()
            .map(|record| {
                format!(
                    "{} {}",
                    record["key"].as_str().unwrap(),
                    record["state"].as_str().unwrap()
                )
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(states(&[]), ["lost unknown", "running in-flight"]);
    assert_eq!(states(&["--state", "unknown"]), ["lost unknown"]);
    assert_eq!(
        states(&["--state", "completed", "--state", "corrupt"]),
        [" corrupt", "done completed"]
    );
    assert_eq!(states(&["--route", "other"]), [""; 0]);

    let said = desk.idem(&["list", "--state", "unknown"]);
    let scope = store.scope("ann", "lost").hex();
    assert!(
        said.out.starts_with(&format!("{scope}  unknown for ")),
        "{}",
        said.out
    );
    assert!(said.out.contains("route pay  key \"lost\""), "{}", said.out);
    assert_eq!(said.error, "1 record\n");
}

#[test]
fn many_records_are_found_in_every_partition() {
    let desk = Desk::new(POLICY);
    for number in 0..1_200 {
        let key = format!("k{number}");
        desk.store
            .acquire(&desk.store.claim("ann", &key, 1, MINUTE));
    }
    let records = desk.list(&[]);
    assert_eq!(records.len(), 1_200);
    let mut hashes: Vec<_> = records
        .iter()
        .map(|record| record["record"].to_string())
        .collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 1_200);
}

#[test]
fn a_record_is_found_by_its_digits_and_by_what_it_belongs_to() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.claim("ann", "k", 1, MINUTE);
    desk.store.acquire(&claim);
    desk.store
        .commit(&claim, Kind::Answer, answer(b"made\n").to_bytes(), None);
    let digits = claim.scope.hex();
    let by_digits = desk.idem(&["show", &digits]);
    assert_eq!(by_digits.code, 0, "{}", by_digits.error);
    for part in [
        "state      completed",
        "status     201",
        "field      x-charge: 17",
        "body       5 bytes",
    ] {
        assert!(by_digits.out.contains(part), "{}", by_digits.out);
    }
    let by_values = desk.idem(&["show", "--route", "pay", "--scope", "ann", "--key", "k"]);
    let first = |said: &Said| said.out.lines().next().unwrap().to_owned();
    assert_eq!(first(&by_values), format!("record     {digits}"));
    let body = desk.folder.path().join("body");
    let with_body = desk.idem(&["show", &digits, "--body", body.to_str().unwrap()]);
    assert_eq!(
        (with_body.code, fs::read(&body).unwrap()),
        (0, b"made\n".to_vec())
    );

    for (arguments, code, why) in [
        (
            &["show", "--route", "pay", "--scope", "bob", "--key", "k"][..],
            1,
            "no record ",
        ),
        (
            &["show", "--route", "play", "--scope", "ann", "--key", "k"],
            1,
            "found route \"play\"",
        ),
        (
            &["show", "--route", "pay", "--key", "k"],
            1,
            "scope: found 0 values, expected 1",
        ),
        (&["show", "abc"], 1, "expected 64 digits"),
        (&["show"], 2, "required"),
        (&["show", "--key", "k"], 2, "--route"),
    ] {
        let said = desk.idem(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.error);
        assert!(said.error.contains(why), "{arguments:?}: {}", said.error);
    }
}
