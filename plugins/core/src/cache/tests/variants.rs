//! The request fields that an answer depends on (RFC 9111, 4.1).

use super::*;
use proptest::prelude::*;

fn key(vary: &str, request: &[(&str, &str)]) -> Vec<u8> {
    let fields = [("cache-control", "max-age=60"), ("vary", vary)];
    let share = shared(verdict(&fields));
    secondary_key(&share.vary, &get(request))
}

#[test]
fn names_are_sorted_lower_case_and_each_there_once() {
    let fields = [
        ("cache-control", "max-age=60"),
        ("vary", "Foo, bar ,"),
        ("vary", "BAR"),
        ("vary", ""),
    ];
    assert_eq!(shared(verdict(&fields)).vary, ["bar", "foo"]);
    assert_eq!(shared(verdict(&fields[..1])).vary, [""; 0]);
}

#[test]
fn every_field_that_is_named_must_match() {
    let mine = [("foo", "1"), ("bar", "abc"), ("baz", "789")];
    let same = |other: &[(&str, &str)]| key("Foo, Bar, Baz", &mine) == key("foo,bar,baz", other);
    assert!(same(&[("foo", "1"), ("baz", "789"), ("bar", "abc")]));
    assert!(same(&[
        ("foo", "1"),
        ("bar", "abc"),
        ("baz", "789"),
        ("other", "2")
    ]));
    assert!(!same(&[("foo", "2"), ("bar", "abc"), ("baz", "789")]));
    assert!(!same(&[("foo", "1"), ("baz", "789"), ("bar", "abcde")]));
    assert!(!same(&[("foo", "1"), ("bar", "abc")]));
    assert!(!same(&[]));
}

#[test]
fn absent_matches_only_absent() {
    let absent = key("foo, bar", &[("bar", "1")]);
    assert_eq!(absent, key("foo, bar", &[("bar", "1")]));
    for other in ["", "0", "1"] {
        assert_ne!(absent, key("foo, bar", &[("foo", other), ("bar", "1")]));
    }
}

#[test]
fn a_value_cannot_be_spelled_to_be_another() {
    assert_ne!(
        key("a, b", &[("a", "x"), ("b", "yz")]),
        key("a, b", &[("a", "xy"), ("b", "z")])
    );
    assert_ne!(
        key("a, b", &[("a", "\u{1}\0\0\0\u{1}y")]),
        key("a, b", &[("a", ""), ("b", "y")])
    );
}

#[test]
fn lines_of_one_field_are_one_list() {
    let joined = key("foo", &[("foo", "1, 2")]);
    assert_eq!(joined, key("foo", &[("foo", "1"), ("foo", "2")]));
    assert_eq!(joined, key("foo", &[("foo", " 1, 2 ")]));
    assert_ne!(joined, key("foo", &[("foo", "2"), ("foo", "1")]));
    // What a field means that nobody knows is not guessed.
    assert_ne!(joined, key("foo", &[("foo", "1,2")]));
    assert_ne!(key("foo", &[("foo", "A")]), key("foo", &[("foo", "a")]));
}

#[test]
fn lists_of_tokens_have_one_spelling() {
    let mine = key("accept-language", &[("accept-language", "en, de")]);
    for other in ["en,de", " en ,   de", "eN, De", "en,,de"] {
        assert_eq!(
            mine,
            key("accept-language", &[("accept-language", other)]),
            "{other}"
        );
    }
    for other in ["de, en", "en", "en, de, fr", "en, de;q=0.5"] {
        assert_ne!(
            mine,
            key("accept-language", &[("accept-language", other)]),
            "{other}"
        );
    }
}

proptest! {
    #[test]
    fn requests_with_other_values_have_other_keys(a: Option<Vec<u8>>, b: Option<Vec<u8>>, c: Option<Vec<u8>>, d: Option<Vec<u8>>) {
        let vary = ["x".to_owned(), "y".to_owned()];
        let request = |x: &Option<Vec<u8>>, y: &Option<Vec<u8>>| {
            let mut pairs = Vec::new();
            pairs.extend(x.as_ref().map(|x| ("x", x.clone())));
            pairs.extend(y.as_ref().map(|y| ("y", y.clone())));
            Headers::from_pairs(&pairs)
        };
        let trimmed = |value: &Option<Vec<u8>>| value.as_ref().map(|value| value.trim_ascii().to_vec());
        let same = trimmed(&a) == trimmed(&c) && trimmed(&b) == trimmed(&d);
        let keys = (secondary_key(&vary, &request(&a, &b)), secondary_key(&vary, &request(&c, &d)));
        prop_assert_eq!(keys.0 == keys.1, same);
    }
}
