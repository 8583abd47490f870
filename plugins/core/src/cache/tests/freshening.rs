//! What a 304 from the origin makes of a stored answer (RFC 9111, 3.2 and 4.3.4).

use super::*;

fn stored() -> Head {
    let fields = [
        ("cache-control", "max-age=2"),
        ("etag", "\"a\""),
        ("date", &*at(-60)),
        ("x-kept", "1"),
        ("x-test", "old"),
        ("x-test", "older"),
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
    ];
    shared(judge(
        &lookup(&[]),
        &answer(200, &fields),
        &Rule::default(),
        NOW - 60_000,
        NOW - 60_000,
    ))
    .head
}

fn freshened(fields: &[(&str, &str)]) -> Freshened {
    freshen(
        &lookup(&[]),
        &stored(),
        &answer(304, fields),
        &Rule::default(),
        NOW,
        NOW,
    )
}

fn updated(fields: &[(&str, &str)]) -> (Head, Verdict) {
    match freshened(fields) {
        Freshened::Updated { head, verdict } => (head, verdict),
        Freshened::Mismatch => panic!("{fields:?}"),
    }
}

fn values<'h>(head: &'h Head, name: &str) -> Vec<&'h str> {
    let values = head.fields.all(name);
    values
        .map(|value| std::str::from_utf8(value).unwrap())
        .collect()
}

#[test]
fn fields_of_the_304_replace_those_stored_and_the_others_stay() {
    let (head, verdict) = updated(&[
        ("cache-control", "max-age=100"),
        ("x-test", "new"),
        ("x-more", "2"),
        ("content-type", "text/html"),
    ]);
    assert_eq!(head.status, 200);
    assert_eq!(values(&head, "x-test"), ["new"]);
    assert_eq!(values(&head, "x-more"), ["2"]);
    assert_eq!(values(&head, "x-kept"), ["1"]);
    assert_eq!(values(&head, "content-type"), ["text/html"]);
    let share = shared(verdict);
    assert_eq!(share.head, head);
    assert_eq!(share.terms.ttl(NOW), 100);
}

#[test]
fn what_says_how_the_body_is_read_is_never_changed() {
    let (head, _) = updated(&[
        ("content-length", "10"),
        ("content-encoding", "br"),
        ("content-range", "bytes 0-1/2"),
        ("transfer-encoding", "chunked"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ]);
    assert_eq!(values(&head, "content-encoding"), ["gzip"]);
    for name in [
        "content-length",
        "content-range",
        "transfer-encoding",
        "connection",
        "x-hop",
    ] {
        assert_eq!(values(&head, name), [""; 0], "{name}");
    }
}

#[test]
fn it_is_as_old_as_the_304_says_and_not_as_the_answer_was() {
    let (head, verdict) = updated(&[]);
    assert_eq!(values(&head, "date"), [at(0)]);
    assert_eq!(shared(verdict).terms.age(NOW), 0);
    let (head, verdict) = updated(&[("age", "1"), ("date", &at(-1))]);
    assert_eq!(shared(verdict).terms.age(NOW), 1_000);
    assert_eq!(values(&head, "age"), [""; 0]);
}

#[test]
fn a_304_about_another_answer_changes_nothing() {
    for etag in ["\"b\"", "W/\"b\""] {
        assert_eq!(freshened(&[("etag", etag)]), Freshened::Mismatch, "{etag}");
    }
    for etag in ["\"a\"", "W/\"a\""] {
        updated(&[("etag", etag)]);
    }
}

#[test]
fn what_a_304_forbids_is_for_the_client_that_asked_only() {
    for (name, value, reason) in [
        ("set-cookie", "sid=1", Reason::SetCookie),
        ("cache-control", "no-store", Reason::NoStore),
        ("cache-control", "private, max-age=9", Reason::Private),
        ("vary", "*", Reason::Vary),
    ] {
        let (head, verdict) = updated(&[(name, value)]);
        assert_eq!(values(&head, name), [value]);
        assert_eq!(refused(verdict), reason);
    }
}
