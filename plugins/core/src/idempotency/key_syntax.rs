//! The Idempotency-Key field as clients write it: a Structured Field String (draft-ietf-httpapi-idempotency-key-header
//! and RFC 9651), or, for the many clients that never quoted it, a bare value.
//!
//! Whoever gets this wrong in favour of a client runs its request twice or hands it another's answer, so nothing is
//! guessed: what could be read in two ways is no key.

use std::convert::Infallible;
use std::fmt;

use sfv::visitor::{Ignored, ItemVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, Parser};

use super::settings::KeyMode;

/// A key has at most this many characters, all of them ASCII.
pub const MAX_KEY_LENGTH: usize = 255;

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// The field is there several times.
    Repeated,
    /// It is not of the syntax that this mode accepts.
    Malformed(KeyMode),
    /// The key has no character.
    Empty,
    /// The key has more than [`MAX_KEY_LENGTH`] characters.
    TooLong,
}

/// Completes "the Idempotency-Key field ...", for the client's developer.
impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated => f.write_str("is there more than once"),
            Self::Malformed(KeyMode::Strict) => {
                f.write_str("is no quoted string (RFC 9651) such as \"8e03978e-40d5\"")
            }
            Self::Malformed(KeyMode::Compat) => f.write_str(
                "is neither a quoted string (RFC 9651) such as \"8e03978e-40d5\" nor a bare value such as 8e03978e-40d5",
            ),
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {MAX_KEY_LENGTH} characters"),
        }
    }
}

impl std::error::Error for Invalid {}

/// Reads the key: in [`KeyMode::Strict`] a String whose parameters are checked and ignored, in [`KeyMode::Compat`] a
/// bare value as well, so that `abc` is the same key as `"abc"`. `values` are all of the field's, in the order
/// received; `None` when there is none.
///
/// # Errors
/// When there is a field and no key in it.
pub fn parse<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    mode: KeyMode,
) -> Result<Option<String>, Invalid> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Invalid::Repeated);
    }
    let bare = match mode {
        KeyMode::Strict => None,
        KeyMode::Compat => bare(value),
    };
    let key = match bare {
        Some(key) => key.to_owned(),
        None => quoted(value).ok_or(Invalid::Malformed(mode))?,
    };
    match key.len() {
        0 => Err(Invalid::Empty),
        1..=MAX_KEY_LENGTH => Ok(Some(key)),
        _ => Err(Invalid::TooLong),
    }
}

/// A bare value, with spaces around it. It has no quote of either kind, backslash, comma or semicolon: a value with one
/// is more likely a string gone wrong, or two fields that a proxy joined, or one with parameters.
fn bare(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?.trim_matches(' ');
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\,;".contains(&byte);
    (!text.is_empty() && text.bytes().all(plain)).then_some(text)
}

/// The content of a Structured Field Item that is a String.
fn quoted(value: &[u8]) -> Option<String> {
    let mut text = None;
    Parser::new(value)
        .parse_item_with_visitor(StringOnly(&mut text))
        .ok()?;
    text
}

/// Keeps a String, and nothing of another type.
struct StringOnly<'t>(&'t mut Option<String>);

impl<'de> ItemVisitor<'de> for StringOnly<'_> {
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        if let BareItemFromInput::String(text) = item {
            *self.0 = Some(text.as_str().to_owned());
        }
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::KeyMode::{Compat, Strict};
    use super::*;
    use proptest::prelude::*;

    fn key(value: &[u8], mode: KeyMode) -> Result<String, Invalid> {
        parse([value], mode).map(Option::unwrap)
    }

    const UUID: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

    #[test]
    fn a_string_is_a_key_in_both_modes() {
        let quoted_uuid = format!("\"{UUID}\"");
        for (value, expected) in [
            (quoted_uuid.as_str(), UUID),
            (r#""a b""#, "a b"),
            (r#""a,b""#, "a,b"),
            (r#""a\"b""#, "a\"b"),
            (r#""a\\b""#, "a\\b"),
            (r#""%22""#, "%22"),
            (r#"  "a"  "#, "a"),
            (r#""a";v=1"#, "a"),
            (r#""a"; v=1"#, "a"),
            (r#""a";v"#, "a"),
            (r#""Aa""#, "Aa"),
            (r#""'""#, "'"),
        ] {
            for mode in [Strict, Compat] {
                let found = key(value.as_bytes(), mode);
                assert_eq!(found.as_deref(), Ok(expected), "{value} {mode:?}");
            }
        }
    }

    /// `None`: no key in compat mode either.
    #[test]
    fn an_item_of_another_type_is_no_key_in_strict_mode() {
        for (value, compat) in [
            ("c4ab45ef-4515-4b5f-84dc-3bead623a9c2", true),
            ("KG5LxwFBepaKHyUD", true),
            ("1234", true),
            ("1.5", true),
            ("?1", true),
            (":aGVsbG8=:", true),
            ("@1659578233", true),
            (r#"%"f%c3%bc""#, false),
        ] {
            let strict = key(value.as_bytes(), Strict);
            assert_eq!(strict, Err(Invalid::Malformed(Strict)), "{value}");
            let expected = if compat {
                Ok(value.to_owned())
            } else {
                Err(Invalid::Malformed(Compat))
            };
            assert_eq!(key(value.as_bytes(), Compat), expected, "{value}");
        }
    }

    #[test]
    fn what_is_no_item_is_no_key_in_either_mode() {
        for value in [
            &b""[..],
            b" ",
            b"'abc'",
            b"\"abc",
            b"abc\"",
            b"\"ab\"c",
            br#""a\nb""#,
            br#""a\x41""#,
            br#""foo\"#,
            b"\"a\tb\"",
            b"\"a\0b\"",
            b"\"a\x7fb\"",
            "\"ü\"".as_bytes(),
            b"\"\xff\"",
            b"\t\"a\"",
            b"\"a\"\t",
            b"a\tb",
            b"a\0",
            b"a\x7f",
            "ü".as_bytes(),
            br#""a" ;v=1"#,
            br#""a";V=1"#,
            br#""a";v="#,
            br#""a";"#,
            br#"("a" "b")"#,
            br#""a", "b""#,
            br#""a","a""#,
            b"a, b",
            b"a,a",
            b"a b",
            b"a;v=1",
            br"a\b",
        ] {
            for mode in [Strict, Compat] {
                let shown = String::from_utf8_lossy(value);
                let found = key(value, mode);
                assert_eq!(found, Err(Invalid::Malformed(mode)), "{shown:?}");
            }
        }
    }

    #[test]
    fn a_bare_uuid_that_starts_with_a_digit_is_a_key_in_compat_mode_only() {
        assert_eq!(
            key(UUID.as_bytes(), Strict),
            Err(Invalid::Malformed(Strict))
        );
        assert_eq!(key(UUID.as_bytes(), Compat).as_deref(), Ok(UUID));
        assert_eq!(key(b"  abc ", Compat), key(b"\"abc\"", Compat));
        assert_ne!(key(b"ABC", Compat), key(b"abc", Compat));
    }

    #[test]
    fn the_field_twice_is_refused_even_if_both_say_the_same() {
        for mode in [Strict, Compat] {
            let twice = parse([&b"\"a\""[..], b"\"a\""], mode);
            assert_eq!(twice, Err(Invalid::Repeated));
            assert_eq!(parse([], mode), Ok(None));
        }
    }

    #[test]
    fn a_key_has_1_to_255_characters_after_parsing() {
        for mode in [Strict, Compat] {
            assert_eq!(key(b"\"\"", mode), Err(Invalid::Empty));
            let escaped = format!("\"{}\"", r"\\".repeat(MAX_KEY_LENGTH));
            assert_eq!(
                key(escaped.as_bytes(), mode),
                Ok("\\".repeat(MAX_KEY_LENGTH))
            );
            let longer = format!("\"{}\"", "k".repeat(MAX_KEY_LENGTH + 1));
            assert_eq!(key(longer.as_bytes(), mode), Err(Invalid::TooLong));
        }
        let [longest, longer] = [MAX_KEY_LENGTH, MAX_KEY_LENGTH + 1].map(|n| "k".repeat(n));
        assert_eq!(key(longest.as_bytes(), Compat), Ok(longest));
        assert_eq!(key(longer.as_bytes(), Compat), Err(Invalid::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(values: Vec<Vec<u8>>) {
            for mode in [Strict, Compat] {
                let _ = parse(values.iter().map(Vec::as_slice), mode);
            }
        }

        #[test]
        fn every_printable_text_is_a_key_when_it_is_quoted(text in "[ -~]{1,255}") {
            let quoted = format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
            for mode in [Strict, Compat] {
                prop_assert_eq!(key(quoted.as_bytes(), mode), Ok(text.clone()));
            }
        }

        #[test]
        fn a_value_means_the_same_in_both_modes_or_only_something_in_compat(value in "[ -~]{0,24}") {
            if let Ok(strict) = key(value.as_bytes(), Strict) {
                prop_assert_eq!(key(value.as_bytes(), Compat), Ok(strict));
            }
        }
    }
}
