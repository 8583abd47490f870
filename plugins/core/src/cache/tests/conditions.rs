//! Conditional requests of clients, answered from the store, and ours to the origin (RFC 9110, 13; RFC 9111, 4.3).

use super::*;
use proptest::prelude::*;

fn matched(request: &[(&str, &str)], stored: &[(&str, &str)]) -> bool {
    conditional(&get(request), &answer(200, stored), NOW) == Match::NotModified
}

#[test]
fn an_entity_tag_matches_by_its_opaque_part() {
    for (etag, tags, expected) in [
        ("\"abc\"", "\"abc\"", true),
        ("\"abc\"", "W/\"abc\"", true),
        ("W/\"abc\"", "W/\"abc\"", true),
        ("W/\"abc\"", "\"abc\"", true),
        ("\"abc\"", "\"abc\", \"1\", \"2\"", true),
        ("\"abc\"", "\"1\",\"abc\",\"2\"", true),
        ("\"abc\"", "\"1\", \"2\", \"abc\"", true),
        ("\"a,b\"", "\"a,b\"", true),
        ("\"b\"", "\"a, \\\", \"b\"", false),
        ("\"abc\"", "*", true),
        ("\"abc\"", "\"*\"", false),
        ("\"abc\"", "abc", false),
        ("abc", "\"abc\"", false),
        ("abc", "abc", true),
        ("\"abc\"", "\"ABC\"", false),
        ("\"abc\"", "\"abcd\"", false),
        ("\"abc\"", "w/\"abc\"", false),
        ("\"abc\"", "", false),
    ] {
        let found = matched(&[("if-none-match", tags)], &[("etag", etag)]);
        assert_eq!(found, expected, "{etag} {tags}");
    }
    let lines = [("if-none-match", "\"1\""), ("if-none-match", "\"abc\"")];
    assert!(matched(&lines, &[("etag", "\"abc\"")]));
    assert!(!matched(&[("if-none-match", "\"abc\"")], &[]));
    assert!(matched(&[("if-none-match", "*")], &[]));
}

#[test]
fn if_none_match_goes_before_if_modified_since() {
    let stored = [("etag", "\"a\""), ("last-modified", &*at(-5_000))];
    let matched = |tag: &str, since: &str| {
        matched(
            &[("if-none-match", tag), ("if-modified-since", since)],
            &stored,
        )
    };
    assert!(matched("\"a\"", &at(-10_000)));
    assert!(!matched("\"b\"", &at(0)));
}

#[test]
fn if_modified_since_is_held_against_the_last_modification_or_the_date() {
    let stored = [("last-modified", &*at(-3_000)), ("date", &*at(0))];
    for (since, expected) in [(-3_000, true), (-2_000, true), (-3_001, false)] {
        assert_eq!(
            matched(&[("if-modified-since", &at(since))], &stored),
            expected,
            "{since}"
        );
    }
    assert!(matched(
        &[("if-modified-since", &at(-5))],
        &[("date", &at(-5))]
    ));
    assert!(!matched(
        &[("if-modified-since", &at(-6))],
        &[("date", &at(-5))]
    ));
    assert!(
        matched(&[("if-modified-since", &at(0))], &[]),
        "when it came"
    );
    assert!(!matched(&[("if-modified-since", &at(-1))], &[]));
    for value in ["", "0", "yesterday"] {
        assert!(
            !matched(&[("if-modified-since", value)], &stored),
            "{value}"
        );
    }
    assert!(!matched(
        &[("if-modified-since", &at(0))],
        &[("last-modified", "soon")]
    ));
    let two = [
        ("if-modified-since", &*at(0)),
        ("if-modified-since", &*at(0)),
    ];
    assert!(!matched(&two, &stored));
    let rfc850 = [("if-modified-since", "Tuesday, 14-Nov-23 22:13:20 GMT")];
    assert!(matched(&rfc850, &stored));
}

#[test]
fn only_an_ok_can_be_the_copy_that_a_client_has() {
    for status in [203, 204, 301, 404, 410, 500] {
        let stored = answer(status, &[("etag", "\"a\"")]);
        let found = conditional(&get(&[("if-none-match", "\"a\"")]), &stored, NOW);
        assert_eq!(found, Match::Full, "{status}");
    }
}

#[test]
fn a_304_has_what_updates_a_copy_and_nothing_of_a_body() {
    let stored = answer(
        200,
        &[
            ("etag", "\"a\""),
            ("cache-control", "max-age=60"),
            ("content-location", "/a"),
            ("date", "d"),
            ("expires", "e"),
            ("vary", "accept"),
            ("content-security-policy", "p"),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("content-language", "en"),
        ],
    );
    let fields = not_modified_fields(hit_fields(&stored, 5, "sluice; hit"));
    let names: Vec<_> = fields
        .iter()
        .map(|(name, _)| String::from_utf8_lossy(name))
        .collect();
    let expected = [
        "etag",
        "cache-control",
        "content-location",
        "date",
        "expires",
        "vary",
        "content-security-policy",
        "age",
        "cache-status",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_leaders_request_asks_for_what_serves_everybody() {
    let stored = answer(200, &[("etag", "W/\"a\""), ("last-modified", "m")]);
    let set = [
        ("if-none-match", Some(b"W/\"a\"".to_vec())),
        ("if-modified-since", Some(b"m".to_vec())),
    ];
    assert_eq!(lead_fields(&get(&[]), Some(&stored)), set);
    let asked = [("if-none-match", "\"mine\""), ("if-modified-since", "then")];
    assert_eq!(lead_fields(&get(&asked), Some(&stored)), set);
    let removed = [("if-none-match", None), ("if-modified-since", None)];
    assert_eq!(lead_fields(&get(&asked), None), removed);
    assert_eq!(lead_fields(&get(&asked), Some(&answer(200, &[]))), removed);
    assert_eq!(lead_fields(&get(&[]), None), []);
    let by_date = answer(200, &[("last-modified", "m")]);
    assert_eq!(
        lead_fields(&get(&asked[..1]), Some(&by_date)),
        [
            ("if-none-match", None),
            ("if-modified-since", Some(b"m".to_vec()))
        ]
    );
}

proptest! {
    #[test]
    fn any_condition_is_read_without_a_panic(tags: Vec<u8>, since: Vec<u8>, etag: Vec<u8>) {
        let request = Headers::from_pairs(&[("if-none-match", &tags), ("if-modified-since", &since)]);
        let stored = Head { status: 200, fields: Headers::from_pairs(&[("etag", &etag)]) };
        let _ = conditional(&request, &stored, NOW);
    }
}
