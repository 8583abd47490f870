//! The request fields that an answer depends on (RFC 9111, 4.1).

use super::directives::{is_token, members};
use crate::headers::Headers;

/// An answer that depends on more fields than this is not worth keeping.
const MOST_NAMES: usize = 16;

/// Lists whose members may have any space round them.
const LISTS: [&str; 4] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
];

/// The fields' names, lower case, sorted, each once. `None` when no request can be told to match.
pub(super) fn names(fields: &Headers) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for name in fields.all("vary").flat_map(members) {
        // `*` is a token as well, and so might a slip be: what is no field's name may mean any field.
        let is_name = name != b"*" && name.iter().copied().all(is_token);
        if !is_name || names.len() > MOST_NAMES {
            return None;
        }
        names.push(String::from_utf8(name.to_ascii_lowercase()).ok()?);
    }
    names.sort_unstable();
    names.dedup();
    (names.len() <= MOST_NAMES).then_some(names)
}

/// What tells the variants of one URI apart: for each field its value in the request, behind its length. A field that
/// is absent differs from an empty one.
///
/// Several lines are one list. Space at the ends never counts; space and case within count unless the field is known
/// to be a list of tokens.
#[must_use]
pub fn secondary_key(vary: &[String], request: &Headers) -> Vec<u8> {
    let mut key = Vec::new();
    for name in vary {
        let Some(value) = value(name, request) else {
            key.push(0);
            continue;
        };
        key.push(1);
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(&value);
    }
    key
}

fn value(name: &str, request: &Headers) -> Option<Vec<u8>> {
    request.first(name)?;
    let known = LISTS.contains(&name);
    let mut value = Vec::new();
    let mut put = |part: &[u8]| {
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(part);
    };
    for line in request.all(name) {
        if known {
            members(line).for_each(|member| put(&member.to_ascii_lowercase()));
        } else {
            put(line.trim_ascii());
        }
    }
    Some(value)
}
