use proptest::prelude::*;

use super::super::testing::Fake;
use super::*;

fn claim(text: &str) -> JwtClaim {
    JwtClaim::from_text(text).unwrap()
}

fn token(payload: &[u8]) -> String {
    let encode = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    format!("e30.{}.c2ln", encode.encode(payload))
}

fn bearer(payload: &str) -> Fake {
    let value = format!("Bearer {}", token(payload.as_bytes()));
    Fake::new(&[("authorization", value)])
}

#[test]
fn scalars_are_found_by_name_and_by_pointer() {
    let payload = r#"{"sub": "alice", "n": 7, "neg": -7, "f": 1.5, "admin": true, "none": null, "list": ["a", {"b": "c"}],
        "realm": {"tenant": "t1", "x": [1]}, "https://example.com/tenant": "t2", "a/b": {"~": "t3"}, "a.b": "dot"}"#;
    for (path, expected) in [
        ("sub", Ok("alice")),
        ("n", Ok("7")),
        ("neg", Ok("-7")),
        ("f", Ok("1.5")),
        ("admin", Ok("true")),
        ("realm.tenant", Ok("t1")),
        ("/realm/tenant", Ok("t1")),
        ("/https:~1~1example.com~1tenant", Ok("t2")),
        ("/a~1b/~0", Ok("t3")),
        ("/a.b", Ok("dot")),
        ("/list/0", Ok("a")),
        ("list.1.b", Ok("c")),
        ("none", Err(Reason::Absent)),
        ("realm", Err(Reason::Absent)),
        ("list", Err(Reason::Absent)),
        ("list.2", Err(Reason::Absent)),
        ("list.b", Err(Reason::Absent)),
        ("sub.x", Err(Reason::Absent)),
        ("absent", Err(Reason::Absent)),
    ] {
        let found = claim(path).value(&bearer(payload));
        assert_eq!(found.as_deref().map_err(|e| *e), expected, "{path}");
    }
}

#[test]
fn what_is_no_token_has_no_claim() {
    let good = token(br#"{"sub": "a"}"#);
    for value in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        "Basic dXNlcjpwYXNz".into(),
        "Bearer a.b".into(),
        "Bearer a.%%%.c".into(),
        format!("Bearer {good}.d.e"),
        format!("Bearer {}", token(b"not json")),
        format!("Bearer {}", token(b"[]")),
        format!("Bearer {}", token(b"\xff")),
        format!("Bearer {}", token(br#"{"sub": "a"} trailing"#)),
        format!("Bearer {}", token("[".repeat(5_000).as_bytes())),
    ] {
        let request = Fake::new(&[("authorization", &value)]);
        assert_eq!(claim("sub").value(&request), Err(Reason::Absent), "{value}");
    }
}

/// What Envoy's check takes no token from, it has not checked.
#[test]
fn only_bearer_in_this_spelling_comes_before_a_token() {
    let good = token(br#"{"sub": "a"}"#);
    for value in [
        good.clone(),
        format!("bearer {good}"),
        format!("BEARER {good}"),
        format!("Basic {good}"),
        format!("Bearer\t{good}"),
    ] {
        let request = Fake::new(&[("authorization", &value)]);
        assert_eq!(claim("sub").value(&request), Err(Reason::Absent), "{value}");
    }
    let other = JwtClaim {
        header: HeaderName::from_static("x-token"),
        ..claim("sub")
    };
    for value in [good.clone(), format!("Bearer {good}")] {
        let request = Fake::new(&[("x-token", &value)]);
        assert_eq!(other.value(&request), Ok("a".into()), "{value}");
    }
}

/// Envoy's check finds the first token behind the first `Bearer `.
#[test]
fn the_token_that_is_read_is_the_one_that_is_checked() {
    let (checked, forged) = (token(br#"{"sub": "a"}"#), token(br#"{"sub": "b"}"#));
    for value in [
        format!("Bearer   {checked} "),
        format!("Bearer ,{checked}"),
        format!("Bearer {checked} {forged}"),
        format!("Bearer {checked},{forged}"),
        format!("Bearer {checked}, Bearer {forged}"),
    ] {
        let request = Fake::new(&[("authorization", &value)]);
        assert_eq!(claim("sub").value(&request), Ok("a".into()), "{value}");
    }
    for value in [
        format!("{forged} Bearer {checked}"),
        format!("Basic {forged}, Bearer {checked}"),
        format!(" Bearer {checked}"),
    ] {
        let request = Fake::new(&[("authorization", &value)]);
        let found = claim("sub").value(&request);
        assert_eq!(found, Err(Reason::Ambiguous), "{value}");
    }
}

#[test]
fn padding_is_accepted() {
    let payload = base64::engine::general_purpose::URL_SAFE.encode(br#"{"sub": "ab"}"#);
    assert!(payload.ends_with('='));
    let request = Fake::new(&[("authorization", format!("Bearer e30.{payload}.x"))]);
    assert_eq!(claim("sub").value(&request), Ok("ab".into()));
}

#[test]
fn two_tokens_are_ambiguous() {
    let good = token(br#"{"sub": "a"}"#);
    let request = Fake::new(&[("authorization", &good), ("authorization", &good)]);
    assert_eq!(claim("sub").value(&request), Err(Reason::Ambiguous));
}

proptest! {
    #[test]
    fn any_payload_is_read_without_a_panic(payload: Vec<u8>, path in "[a-z0-9/~]{1,8}") {
        if let Ok(claim) = JwtClaim::from_text(&path) {
            let value = format!("Bearer {}", token(&payload));
            let _ = claim.value(&Fake::new(&[("authorization", value)]));
        }
    }

    #[test]
    fn any_header_is_read_without_a_panic(value: Vec<u8>) {
        let _ = claim("sub").value(&Fake::new(&[("authorization", value)]));
    }

    #[test]
    fn a_claim_comes_back_whatever_it_holds(sub: String, before: String) {
        prop_assume!(before != "sub");
        let payload = serde_json::json!({ "sub": sub, before: [{ "sub": 1 }] });
        prop_assert_eq!(claim("sub").value(&bearer(&payload.to_string())), Ok(sub));
    }
}
