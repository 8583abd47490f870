//! The `:path` pseudo-header taken apart: path, query, percent-encoding (RFC 3986).

use std::borrow::Cow;

use crate::headers::Headers;

/// The path without query or fragment, as the client spelled it. Empty when there is none.
pub(super) fn raw_path(headers: &Headers) -> &[u8] {
    let target = headers.first(":path").unwrap_or_default();
    before(target, |byte| matches!(byte, b'?' | b'#'))
}

/// The query without its `?`. Empty when there is none.
pub(super) fn raw_query(headers: &Headers) -> &[u8] {
    let target = headers.first(":path").unwrap_or_default();
    let target = before(target, |byte| byte == b'#');
    let path = before(target, |byte| byte == b'?');
    target.get(path.len() + 1..).unwrap_or_default()
}

/// The query's parameters, name and value, still encoded, in order. One without `=` has an empty value.
pub(super) fn parameters(headers: &Headers) -> impl Iterator<Item = (&[u8], &[u8])> {
    raw_query(headers)
        .split(|byte| *byte == b'&')
        .map(|pair| split_once(pair, b'=').unwrap_or((pair, b"")))
}

/// The cookies, name and value, in order; a value without the quotes it may stand in, as most servers drop them.
/// HTTP/2 clients may send each in a header of its own (RFC 9113, 8.2.3).
pub(crate) fn cookies(headers: &Headers) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .all("cookie")
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .filter_map(|pair| split_once(pair, b'='))
        .map(|(name, value)| (name.trim_ascii(), unquoted(value.trim_ascii())))
}

fn unquoted(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(value)
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

fn before(bytes: &[u8], stop: impl Fn(u8) -> bool) -> &[u8] {
    let end = bytes.iter().position(|byte| stop(*byte));
    end.and_then(|end| bytes.get(..end)).unwrap_or(bytes)
}

/// One spelling for all spellings of a path (RFC 3986, 6.2.2): encoded unreserved characters are decoded, hexadecimal
/// digits are upper case, and bytes that may not stand in a path are encoded. The result is ASCII. Without this,
/// `/%61pi` would slip past a limit on `/api`. An encoded slash stays encoded: it is no separator.
pub(super) fn normalized(path: &[u8]) -> Cow<'_, [u8]> {
    if path
        .iter()
        .all(|byte| byte.is_ascii_graphic() && *byte != b'%')
    {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len() + 16);
    for item in Percent(path) {
        match item {
            Unit::Encoded(byte) if is_unreserved(byte) => out.push(byte),
            Unit::Plain(byte) if byte.is_ascii_graphic() => out.push(byte),
            Unit::Encoded(byte) | Unit::Plain(byte) => {
                out.push(b'%');
                out.push(hex(byte >> 4));
                out.push(hex(byte & 15));
            }
        }
    }
    Cow::Owned(out)
}

/// Percent-decoded bytes; `+` too becomes a space when `plus_is_space` (HTML forms, for queries). A `%` that starts no
/// encoding stands for itself.
pub(crate) fn decoded(bytes: &[u8], plus_is_space: bool) -> impl Iterator<Item = u8> {
    Percent(bytes).map(move |unit| match unit {
        Unit::Plain(b'+') if plus_is_space => b' ',
        Unit::Plain(byte) | Unit::Encoded(byte) => byte,
    })
}

enum Unit {
    Plain(u8),
    Encoded(u8),
}

struct Percent<'a>(&'a [u8]);

impl Iterator for Percent<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let (first, rest) = self.0.split_first()?;
        if *first == b'%'
            && let Some(([high, low], after)) = rest.split_first_chunk::<2>()
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            self.0 = after;
            return Some(Unit::Encoded(high << 4 | low));
        }
        self.0 = rest;
        Some(Unit::Plain(*first))
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

fn hex(nibble: u8) -> u8 {
    match nibble {
        0..10 => b'0' + nibble,
        _ => b'A' + nibble - 10,
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(path: &[u8]) -> Headers {
        Headers::from_pairs(&[(&b":path"[..], path)])
    }

    #[test]
    fn a_target_is_split_into_path_and_query() {
        for (target, path, query) in [
            ("/", "/", ""),
            ("/a/b?x=1&y", "/a/b", "x=1&y"),
            ("/a?", "/a", ""),
            ("/a?x=1?2", "/a", "x=1?2"),
            ("/a#f?x=1", "/a", ""),
            ("/a?x#f", "/a", "x"),
            ("?x", "", "x"),
            ("", "", ""),
        ] {
            let headers = headers(target.as_bytes());
            assert_eq!(raw_path(&headers), path.as_bytes(), "{target}");
            assert_eq!(raw_query(&headers), query.as_bytes(), "{target}");
        }
        assert_eq!(raw_path(&Headers::default()), b"");
        assert_eq!(raw_query(&Headers::default()), b"");
    }

    #[test]
    fn spellings_of_one_path_become_one() {
        for (spelled, normal) in [
            (&b"/api"[..], "/api"),
            (b"/%61p%69", "/api"),
            (b"/%7euser", "/~user"),
            (b"/a%2fb", "/a%2Fb"),
            (b"/a%2Fb", "/a%2Fb"),
            (b"/caf\xc3\xa9", "/caf%C3%A9"),
            (b"/caf%c3%a9", "/caf%C3%A9"),
            (b"/a b\x00", "/a%20b%00"),
            (b"/100%", "/100%"),
            (b"/%zz%4", "/%zz%4"),
        ] {
            assert_eq!(
                normalized(spelled),
                normal.as_bytes(),
                "{}",
                spelled.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn a_path_without_escapes_decodes_to_itself(path in "[a-z/]{0,40}") {
            prop_assert_eq!(normalized(path.as_bytes()), path.as_bytes());
            prop_assert!(decoded(path.as_bytes(), true).eq(path.bytes()));
        }

        #[test]
        fn normalising_is_ascii_and_keeps_what_is_meant(path: Vec<u8>) {
            let normal = normalized(&path).into_owned();
            prop_assert!(normal.is_ascii());
            prop_assert!(decoded(&normal, false).eq(decoded(&path, false)) || path.contains(&b'%'));
        }

        #[test]
        fn an_encoded_byte_is_decoded(byte: u8) {
            let text = format!("%{byte:02x}%{byte:02X}");
            prop_assert!(decoded(text.as_bytes(), true).eq([byte, byte]));
        }
    }
}
