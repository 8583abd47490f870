//! A key in a JSON body, by a JSON Pointer (RFC 6901).

use crate::policy::tree::Json;
use crate::policy::value::{Text, text_value};
use crate::selector::{MAX_VALUE_BYTES, Reason};

/// Where in a document a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Text for Pointer {
    const PATTERN: &'static str = "^(/([^/~]|~[01])*)+$";

    fn expected() -> String {
        "a JSON Pointer such as \"/user/id\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let steps = text.strip_prefix('/').ok_or_else(Self::expected)?;
        let unescaped = |step: &str| {
            let escapes = step.matches('~').count();
            let known = step.matches("~0").count() + step.matches("~1").count();
            (escapes == known).then(|| step.replace("~1", "/").replace("~0", "~"))
        };
        let steps: Option<Vec<String>> = steps.split('/').map(unescaped).collect();
        steps.map(Self).ok_or_else(Self::expected)
    }
}
text_value!(Pointer);

/// The text or whole number that `pointer` leads to, as it is written.
///
/// # Errors
/// [`Reason::Absent`] where nothing, `null` or an empty text is; [`Reason::Ambiguous`] where an object on the way has the
/// name twice, for another reader may take the other one, and for a body that is no JSON or a value of another kind.
pub fn pointed(body: &[u8], pointer: &Pointer) -> Result<Vec<u8>, Reason> {
    let document: Json = serde_json::from_slice(body).map_err(|_| Reason::Ambiguous)?;
    let mut at = &document;
    for step in &pointer.0 {
        at = match at {
            Json::Object(fields) => {
                let mut named = fields.iter().filter(|(name, _)| name == step);
                let (_, value) = named.next().ok_or(Reason::Absent)?;
                if named.next().is_some() {
                    return Err(Reason::Ambiguous);
                }
                value
            }
            Json::List(items) => {
                let index = Some(step)
                    .filter(|step| *step == "0" || !step.starts_with(['0', '+']))
                    .and_then(|step| step.parse::<usize>().ok());
                index
                    .and_then(|index| items.get(index))
                    .ok_or(Reason::Absent)?
            }
            _ => return Err(Reason::Absent),
        };
    }
    let value = match at {
        Json::Null => return Err(Reason::Absent),
        Json::Text(text) => text.as_bytes().to_vec(),
        Json::Unsigned(number) => number.to_string().into_bytes(),
        Json::Signed(number) => number.to_string().into_bytes(),
        Json::Bool(_) | Json::Float(_) | Json::List(_) | Json::Object(_) => {
            return Err(Reason::Ambiguous);
        }
    };
    match value.len() {
        0 => Err(Reason::Absent),
        1..=MAX_VALUE_BYTES => Ok(value),
        _ => Err(Reason::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(body: &str, pointer: &str) -> Result<String, Reason> {
        let pointer = Pointer::parse(pointer).unwrap();
        pointed(body.as_bytes(), &pointer).map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn a_pointer_leads_where_the_rfc_says() {
        let body = r#"{"user": {"id": 7, "a/b": "slash", "m~n": "tilde", "": "blank", "x": null, "e": ""},
            "list": ["zero", {"id": -1}], "float": 1.5, "user2": true}"#;
        for (pointer, expected) in [
            ("/user/id", Ok("7")),
            ("/user/a~1b", Ok("slash")),
            ("/user/m~0n", Ok("tilde")),
            ("/user/", Ok("blank")),
            ("/list/0", Ok("zero")),
            ("/list/1/id", Ok("-1")),
            ("/list/01", Err(Reason::Absent)),
            ("/list/-", Err(Reason::Absent)),
            ("/list/2", Err(Reason::Absent)),
            ("/nobody", Err(Reason::Absent)),
            ("/user/id/more", Err(Reason::Absent)),
            ("/user/x", Err(Reason::Absent)),
            ("/user/e", Err(Reason::Absent)),
            ("/user", Err(Reason::Ambiguous)),
            ("/float", Err(Reason::Ambiguous)),
            ("/user2", Err(Reason::Ambiguous)),
        ] {
            assert_eq!(
                found(body, pointer),
                expected.map(str::to_owned),
                "{pointer}"
            );
        }
        assert_eq!(found("not json", "/a"), Err(Reason::Ambiguous));
        assert_eq!(found("", "/a"), Err(Reason::Ambiguous));
        let twice = r#"{"id": 1, "id": 2}"#;
        assert_eq!(found(twice, "/id"), Err(Reason::Ambiguous));
        let long = format!(r#"{{"id": "{}"}}"#, "x".repeat(MAX_VALUE_BYTES + 1));
        assert_eq!(found(&long, "/id"), Err(Reason::TooLong));
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for text in ["", "user", "/a~", "/a~2b"] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_a_panic(body: Vec<u8>) {
            let _ = pointed(&body, &Pointer::parse("/a/0").unwrap());
        }
    }
}
