use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::Fake;
use super::*;

fn matcher(json: Value) -> Matcher {
    serde_json::from_value(json).unwrap()
}

fn check_paths(path: Value, yes: &[&str], no: &[&str]) {
    let matcher = matcher(json!({ "path": path }));
    for path in yes {
        assert!(matcher.matches(&Fake::path(path)), "{matcher:?} {path}");
    }
    for path in no {
        assert!(!matcher.matches(&Fake::path(path)), "{matcher:?} {path}");
    }
}

#[test]
fn a_match_without_conditions_is_for_all() {
    assert!(matcher(json!({})).matches(&Fake::path("/x")));
    assert!(matcher(json!({})).matches(&Fake::new::<&str, &str>(&[])));
}

#[test]
fn methods_are_compared_as_they_are() {
    let get = matcher(json!({ "methods": ["GET", "HEAD"] }));
    for (method, expected) in [
        ("GET", true),
        ("HEAD", true),
        ("POST", false),
        ("get", false),
    ] {
        let request = Fake::new(&[(":method", method)]);
        assert_eq!(get.matches(&request), expected, "{method}");
    }
    assert!(!get.matches(&Fake::new::<&str, &str>(&[])));
}

#[test]
fn exact_paths() {
    check_paths(
        json!({ "exact": "/a~b" }),
        &["/a~b", "/a~b?x=1", "/a%7Eb", "/%61%7eb#f"],
        &["/a~b/", "/a", "/A~b", "", "/a~bc", "a~b"],
    );
    check_paths(
        json!({ "exact": "/café" }),
        &["/caf%c3%a9", "/café"],
        &["/cafe"],
    );
}

#[test]
fn prefixes_end_at_a_segment() {
    check_paths(
        json!({ "prefix": "/api" }),
        &["/api", "/api/", "/api/x", "/api?x", "/%61pi/x"],
        &["/apix", "/ap", "/", "/API", "", "/x/api"],
    );
    check_paths(
        json!({ "prefix": "/api/" }),
        &["/api/", "/api/x"],
        &["/api", "/apix"],
    );
    check_paths(json!({ "prefix": "/" }), &["/", "/x", "/x/y"], &["", "*"]);
}

#[test]
fn templates_go_by_segments() {
    check_paths(
        json!({ "template": "/users/{id}" }),
        &["/users/7", "/users/a%2Fb", "/users/7?x"],
        &[
            "/users/",
            "/users",
            "/users/7/",
            "/users/7/x",
            "/user/7",
            "",
            "users/7",
        ],
    );
    check_paths(
        json!({ "template": "/users/{id}/**" }),
        &["/users/7", "/users/7/", "/users/7/a/b"],
        &["/users", "/users/", "/users//a"],
    );
    check_paths(
        json!({ "template": "/a/*/b" }),
        &["/a/x/b"],
        &["/a//b", "/a/x/y/b", "/a/x/b/"],
    );
    check_paths(json!({ "template": "/" }), &["/"], &["/x", ""]);
    check_paths(json!({ "template": "/x/" }), &["/x/"], &["/x", "/x/y"]);
    check_paths(
        json!({ "template": "/**" }),
        &["/", "/x", "/x/y"],
        &["", "*"],
    );
}

#[test]
fn expressions_match_the_whole_path() {
    check_paths(
        json!({ "regex": "/v[0-9]+/(a|b)" }),
        &["/v1/a", "/v22/b?x", "/%761/a"],
        &["/v1/ab", "x/v1/a", "/v1/a/", "/v1/c"],
    );
    check_paths(
        json!({ "regex": "/a|/b" }),
        &["/a", "/b"],
        &["/ab", "/a/b", "x/b"],
    );
    check_paths(
        json!({ "regex": "/caf%C3%A9" }),
        &["/café", "/caf%c3%a9"],
        &["/cafe"],
    );
}

#[test]
fn header_conditions() {
    for (test, value, expected) in [
        (json!({"present": true}), Some("x"), true),
        (json!({"present": true}), Some(""), true),
        (json!({"present": true}), None, false),
        (json!({"absent": true}), None, true),
        (json!({"absent": true}), Some(""), false),
        (json!({"exact": "ab"}), Some("ab"), true),
        (json!({"exact": "ab"}), Some("abc"), false),
        (json!({"exact": "ab"}), Some("AB"), false),
        (json!({"exact": ""}), None, false),
        (json!({"prefix": "ab"}), Some("abc"), true),
        (json!({"prefix": "ab"}), Some("ba"), false),
        (json!({"suffix": "bc"}), Some("abc"), true),
        (json!({"suffix": "bc"}), Some("bcd"), false),
        (json!({"contains": "b"}), Some("abc"), true),
        (json!({"contains": "x"}), Some("abc"), false),
        (json!({"contains": ""}), Some("abc"), true),
        (json!({"regex": "a.c"}), Some("abc"), true),
        (json!({"regex": "a.c"}), Some("abcd"), false),
    ] {
        let mut condition = test.clone();
        condition["name"] = json!("X-Test");
        let headers: Vec<_> = value.map(|value| ("x-test", value)).into_iter().collect();
        let matcher = matcher(json!({ "headers": [condition] }));
        assert_eq!(
            matcher.matches(&Fake::new(&headers)),
            expected,
            "{test} {value:?}"
        );
    }
}

#[test]
fn a_value_cannot_hide_behind_another() {
    let free = matcher(json!({ "headers": [{ "name": "x-plan", "exact": "free" }] }));
    assert!(free.matches(&Fake::new(&[("x-plan", "paid"), ("x-plan", "free")])));
}

#[test]
fn conditions_combine() {
    let both = matcher(json!({
        "methods": ["GET"],
        "any": [{ "path": { "prefix": "/a" } }, { "path": { "prefix": "/b" } }],
        "not": { "path": { "exact": "/a/health" } }
    }));
    for (path, expected) in [
        ("/a", true),
        ("/b/x", true),
        ("/c", false),
        ("/a/health", false),
    ] {
        assert_eq!(both.matches(&Fake::path(path)), expected, "{path}");
    }
}

#[test]
fn bytes_that_are_no_text_are_matched() {
    let odd = Fake::new(&[(&b"x"[..], &b"a\xff"[..]), (b":path", b"/\xff")]);
    assert!(matcher(json!({ "headers": [{ "name": "x", "prefix": "a" }] })).matches(&odd));
    assert!(matcher(json!({ "headers": [{ "name": "x", "regex": "a." }] })).matches(&odd));
    assert!(matcher(json!({ "path": { "exact": "/%FF" } })).matches(&odd));
}

proptest! {
    #[test]
    fn a_prefix_matches_itself_and_what_is_below(
        prefix in "(/[a-z]{1,5}){1,3}", below in "(/[a-z]{0,5}){0,3}", more in "[a-z]{1,5}",
    ) {
        let matcher = matcher(json!({ "path": { "prefix": &prefix } }));
        let matches = |path: String| matcher.matches(&Fake::path(&path));
        let lower = format!("{prefix}{below}");
        prop_assert!(matches(lower));
        let longer = format!("{prefix}{more}");
        prop_assert!(!matches(longer));
    }

    #[test]
    fn a_template_matches_what_it_spells_and_yields_its_variables(
        segments in prop::collection::vec(("[a-z]{1,5}", any::<bool>()), 1..5), open: bool,
    ) {
        let mut template = String::new();
        let mut path = String::new();
        for (index, (segment, variable)) in segments.iter().enumerate() {
            path.push_str(&format!("/{segment}"));
            let written = if *variable { format!("{{v{index}}}") } else { segment.clone() };
            template.push_str(&format!("/{written}"));
        }
        if open {
            template.push_str("/**");
        }
        let template = Template::parse(&template).unwrap();
        prop_assert!(template.matches(path.as_bytes()));
        for (index, (segment, variable)) in segments.iter().enumerate() {
            let found = template.variable(path.as_bytes(), &format!("v{index}"));
            prop_assert_eq!(found, variable.then_some(segment.as_bytes()));
        }
        let longer = format!("{path}/x");
        prop_assert_eq!(template.matches(longer.as_bytes()), open);
    }

    #[test]
    fn encoding_letters_changes_nothing(path in "(/[a-z]{1,6}){1,3}", at in any::<prop::sample::Index>()) {
        let letters: Vec<usize> = (0..path.len()).filter(|i| path.as_bytes()[*i] != b'/').collect();
        let at = *at.get(&letters);
        let spelled = format!("{}%{:02x}{}", &path[..at], path.as_bytes()[at], &path[at + 1..]);
        for kind in ["exact", "prefix", "template", "regex"] {
            let matcher = matcher(json!({ "path": { kind: &path } }));
            prop_assert!(matcher.matches(&Fake::path(&spelled)), "{kind} {spelled}");
        }
    }

    #[test]
    fn any_request_is_matched_without_a_panic(path: Vec<u8>, header: Vec<u8>) {
        let request = Fake::new(&[(&b":path"[..], path), (b"x", header)]);
        for path in [json!({"exact": "/a"}), json!({"prefix": "/a"}), json!({"template": "/{a}/**"}), json!({"regex": ".*"})] {
            let headers = json!([{"name": "x", "contains": "ab"}, {"name": "x", "regex": ".*"}]);
            let _ = matcher(json!({ "path": path, "headers": headers })).matches(&request);
        }
    }

    #[test]
    fn any_template_is_read_without_a_panic(text in "[/a{}*?.]{0,12}") {
        let _ = Template::parse(&text);
    }
}
