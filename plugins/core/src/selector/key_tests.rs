use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::Fake;
use super::*;

fn key(json: Value) -> Key {
    serde_json::from_value(json).unwrap()
}

/// The values, taken apart again by the documented encoding.
fn values(key: &Key, request: &Fake) -> Result<Vec<String>, (usize, Reason)> {
    let mut out = b"before".to_vec();
    match key.extract(request, &ClientIp::default(), &mut out) {
        Ok(()) => Ok(split(&out[6..])
            .iter()
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()),
        Err(missing) => {
            assert_eq!(out, b"before", "a failure leaves the buffer alone");
            Err((missing.part, missing.reason))
        }
    }
}

fn split(mut subject: &[u8]) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    while let Some((length, rest)) = subject.split_first_chunk::<4>() {
        let (value, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        values.push(value.to_vec());
        subject = rest;
    }
    values
}

/// A key of one part, headers, and the value or why there is none.
fn check(part: Value, headers: &[(&str, &str)], expected: Result<&str, Reason>) {
    let found = values(&key(json!([part])), &Fake::new(headers));
    let expected = expected
        .map(|value| vec![value.to_owned()])
        .map_err(|reason| (0, reason));
    assert_eq!(found, expected, "{part} {headers:?}");
}

use Reason::{Absent, Ambiguous, TooLong};

#[test]
fn headers() {
    check(
        json!({"header": "X-Api-Key"}),
        &[("x-api-key", "Ab")],
        Ok("Ab"),
    );
    check(json!({"header": "x"}), &[("y", "1")], Err(Absent));
    check(json!({"header": "x"}), &[("x", "")], Err(Absent));
    check(
        json!({"header": "x"}),
        &[("x", "1"), ("x", "2")],
        Err(Ambiguous),
    );
    check(
        json!({"header": "x"}),
        &[("x", "1"), ("x", "")],
        Err(Ambiguous),
    );
    let twice = &[("x", "1"), ("x", "2"), ("x", "3")];
    check(
        json!({"header": {"name": "x", "duplicates": "first"}}),
        twice,
        Ok("1"),
    );
    check(
        json!({"header": {"name": "x", "duplicates": "last"}}),
        twice,
        Ok("3"),
    );
    check(
        json!({"header": {"name": "x", "lowercase": true}}),
        &[("x", "AbÄ")],
        Ok("abÄ"),
    );
    check(
        json!({"header": ":authority"}),
        &[(":authority", "a.example")],
        Ok("a.example"),
    );
    check(
        json!({"header": "x"}),
        &[("x", &"v".repeat(4096))],
        Ok(&"v".repeat(4096)),
    );
    check(
        json!({"header": "x"}),
        &[("x", &"v".repeat(4097))],
        Err(TooLong),
    );
}

#[test]
fn cookies() {
    let part = || json!({"cookie": "sid"});
    check(part(), &[("cookie", "sid=1")], Ok("1"));
    check(part(), &[("cookie", "a=b; sid=1;c=d")], Ok("1"));
    check(part(), &[("cookie", "a=b"), ("cookie", "sid=1")], Ok("1"));
    check(part(), &[("cookie", "sid=\"1\"")], Ok("1"));
    check(part(), &[("cookie", "  sid = 1=2 ")], Ok("1=2"));
    check(part(), &[("cookie", "SID=1; xsid=2; sid; =3")], Err(Absent));
    check(part(), &[("cookie", "sid=")], Err(Absent));
    check(part(), &[("cookie", "sid=1; sid=2")], Ok("1"));
    let deny = json!({"cookie": {"name": "sid", "duplicates": "deny"}});
    check(
        deny,
        &[("cookie", "sid=1"), ("cookie", "sid=2")],
        Err(Ambiguous),
    );
}

#[test]
fn query_parameters() {
    let part = || json!({"query": "api key"});
    for (path, expected) in [
        ("/?api+key=1", Ok("1")),
        ("/?api%20key=a%2Bb+c%3D", Ok("a+b c=")),
        ("/?%61pi%20key=x=y", Ok("x=y")),
        ("/?a=b&api+key=1&api+key=2", Ok("1")),
        ("/?api+key=1#frag", Ok("1")),
        ("/?api+key", Err(Absent)),
        ("/?api+key=", Err(Absent)),
        ("/", Err(Absent)),
        ("/#?api+key=1", Err(Absent)),
        ("/api+key=1", Err(Absent)),
    ] {
        check(part(), &[(":path", path)], expected);
    }
    let last = json!({"query": {"name": "a", "duplicates": "last", "lowercase": true}});
    check(last, &[(":path", "/?a=X&a=%59")], Ok("y"));
}

#[test]
fn path_variables() {
    let mut one = key(json!([{"path": {"template": "/users/{id}/**", "variable": "id"}}]));
    one.bind(&Matcher::default()).unwrap();
    for (path, expected) in [
        ("/users/7", Some("7")),
        ("/users/7/orders?x=1", Some("7")),
        ("/users/%61lice", Some("alice")),
        ("/%75sers/a%2Fb/", Some("a/b")),
        ("/users/", None),
        ("/users", None),
        ("/other/7", None),
    ] {
        let expected = expected
            .map(|value| vec![value.to_owned()])
            .ok_or((0, Absent));
        assert_eq!(values(&one, &Fake::path(path)), expected, "{path}");
    }
    let beside: Matcher = serde_json::from_value(json!({"path": {"template": "/t/{t}"}})).unwrap();
    let mut short = key(json!([{"const": "c"}, {"path": "t"}]));
    short.bind(&beside).unwrap();
    let expected = Ok(vec!["c".to_owned(), "9".to_owned()]);
    assert_eq!(values(&short, &Fake::path("/t/9")), expected);
    assert_eq!(values(&short, &Fake::path("/x/9")), Err((1, Absent)));
}

#[test]
fn the_rest() {
    check(json!("consumer"), &[("x-consumer-id", "c1")], Ok("c1"));
    check(json!("consumer"), &[], Err(Absent));
    check(
        json!({"property": ["request", "host"]}),
        &[],
        Ok("example.com"),
    );
    check(json!({"property": ["empty"]}), &[], Err(Absent));
    check(json!({"property": ["no", "such"]}), &[], Err(Absent));
    check(json!({"const": "all"}), &[], Ok("all"));
    let request = Fake::new::<&str, &str>(&[]);
    let mut out = Vec::new();
    let ip = key(json!(["client_ip"]));
    ip.extract(&request, &ClientIp::default(), &mut out)
        .unwrap();
    assert_eq!(out, [0, 0, 0, 4, 198, 51, 100, 7]);
    let nobody = request.with_peer(None);
    assert_eq!(values(&ip, &nobody), Err((0, Absent)));
}

#[test]
fn a_default_stands_for_what_is_absent_and_for_nothing_else() {
    let mut key = key(json!([{"header": "a"}, {"header": "b"}]));
    key.set_default("none");
    let found = values(&key, &Fake::new(&[("b", "2")]));
    assert_eq!(found, Ok(vec!["none".to_owned(), "2".to_owned()]));
    let found = values(&key, &Fake::new(&[("b", "2"), ("b", "3")]));
    assert_eq!(found, Err((1, Ambiguous)));
}

#[test]
fn a_written_client_has_the_subject_of_the_real_one() {
    let key =
        key(json!([{"header": {"name": "x", "lowercase": true}}, "client_ip", {"query": "q"}]));
    let request = Fake::new(&[("x", "ALICE"), (":path", "/?q=%C3%A4")]);
    let mut real = Vec::new();
    key.extract(&request, &ClientIp::default(), &mut real)
        .unwrap();
    let written = ["Alice", "::ffff:198.51.100.7", "ä"].map(str::to_owned);
    assert_eq!(key.subject_of(&written, &ClientIp::default()), Ok(real));
}

proptest! {
    #[test]
    fn different_values_are_different_subjects(
        a in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6), 1..4),
        b in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6), 1..4),
    ) {
        let join = |values: &[Vec<u8>]| {
            let mut out = Vec::new();
            for value in values {
                append(&mut out, value).unwrap();
            }
            out
        };
        prop_assert_eq!(join(&a) == join(&b), a == b);
        prop_assert_eq!(split(&join(&a)), a);
    }

    #[test]
    fn any_request_is_read_without_a_panic(
        path: Vec<u8>, cookie: Vec<u8>, header: Vec<u8>, token: Vec<u8>, forwarded: Vec<u8>,
    ) {
        let request = Fake::new(&[
            (&b":path"[..], &path), (b"cookie", &cookie), (b"x", &header), (b"authorization", &token),
            (b"x-forwarded-for", &forwarded),
        ]);
        for part in [
            json!({"header": "x"}), json!({"cookie": "a"}), json!({"query": "a"}), json!({"jwt_claim": "sub"}),
            json!({"path": {"template": "/{a}/**", "variable": "a"}}), json!("client_ip"), json!("consumer"),
        ] {
            let mut out = Vec::new();
            let _ = key(json!([part])).extract(&request, &ClientIp::default(), &mut out);
            prop_assert!(out.len() <= 4 + MAX_VALUE_BYTES);
        }
    }

    #[test]
    fn a_parameter_comes_back_however_it_is_encoded(value in prop::collection::vec(any::<u8>(), 1..20)) {
        let encoded: String = value.iter().map(|byte| format!("%{byte:02x}")).collect();
        let request = Fake::path(&format!("/?b=1&a={encoded}&c"));
        let mut out = Vec::new();
        key(json!([{"query": "a"}])).extract(&request, &ClientIp::default(), &mut out).unwrap();
        prop_assert_eq!(split(&out), vec![value]);
    }
}
