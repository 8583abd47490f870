//! SCAN and KEYS, with the patterns they take.

use super::{Answer, Call, Spec, integer, lower};
use crate::reply::{Failure, Reply};

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("scan", -2, 0, scan),
    Spec::data("keys", 2, 0, keys),
];

fn keys(call: &mut Call<'_>) -> Answer {
    let pattern = call.word(1);
    let live = call.state.store.live(call.db());
    let found = live.filter(|(key, _)| matches(pattern, key));
    Ok(Reply::bulks(found.map(|(key, _)| key.clone())))
}

/// Keys go by a hash of their own, so that a cursor keeps its place when others come and go: what is there from the
/// first call to the last is found.
fn scan(call: &mut Call<'_>) -> Answer {
    let cursor = std::str::from_utf8(call.word(1)).ok();
    let cursor: u64 = cursor
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Failure::new("ERR invalid cursor"))?;
    let (mut pattern, mut count, mut kind) = (None, 10, None);
    let (options, odd) = call.rest(2).as_chunks::<2>();
    for [option, value] in options {
        match lower(option).as_str() {
            "match" => pattern = Some(value),
            "type" => kind = Some(lower(value)),
            "count" => {
                count = usize::try_from(integer(value)?)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or_else(Failure::syntax)?;
            }
            _ => return Err(Failure::syntax()),
        }
    }
    if !odd.is_empty() {
        return Err(Failure::syntax());
    }
    let live = call.state.store.live(call.db());
    let mut places: Vec<_> = live
        .map(|(key, entry)| (place(key), key, entry))
        .filter(|(place, _, _)| *place >= cursor)
        .collect();
    places.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let mut end = count.min(places.len());
    // Keys at one place go together: the cursor cannot point between them.
    while end > 0 && end < places.len() && places[end].0 == places[end - 1].0 {
        end += 1;
    }
    let next = places.get(end).map_or(0, |(place, _, _)| *place);
    places.truncate(end);
    let found = places.into_iter().filter(|(_, key, entry)| {
        pattern.is_none_or(|pattern| matches(pattern, key))
            && kind.as_ref().is_none_or(|kind| kind == entry.value.kind())
    });
    Ok(Reply::Array(vec![
        Reply::bulk(next.to_string()),
        Reply::bulks(found.map(|(_, key, _)| key.clone())),
    ]))
}

/// Above 0, which ends a scan; FNV-1a, 32 bits.
fn place(key: &[u8]) -> u64 {
    let hash = key.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    u64::from(hash).max(1)
}

/// Whether a pattern of Redis (`*`, `?`, `[a-z]`, `[^a]`, `\` before a literal) covers all of the text.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on when what follows the last star does not fit: the star takes one byte more.
    let mut star: Option<(&[u8], &[u8])> = None;
    let (mut pattern, mut text) = (pattern, text);
    loop {
        if let Some(rest) = pattern.strip_prefix(b"*") {
            star = Some((rest, text));
            pattern = rest;
            continue;
        }
        if let Some((&byte, after)) = text.split_first() {
            if let Some(rest) = one(pattern, byte) {
                (pattern, text) = (rest, after);
                continue;
            }
        } else if pattern.is_empty() {
            return true;
        }
        match star {
            Some((rest, [_, from @ ..])) => {
                star = Some((rest, from));
                (pattern, text) = (rest, from);
            }
            _ => return false,
        }
    }
}

/// Matches one byte; returns the pattern behind what matched it.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte),
        [b'\\', literal, rest @ ..] => (*literal == byte).then_some(rest),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (found != negated).then_some(rest),
            [] => return (found != negated).then_some(rest),
            [from, b'-', to, rest @ ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_those_of_redis() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[c-a]x", "bx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*ab", "aab", true),
            ("", "a", false),
        ] {
            let got = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(got, want, "{pattern} {text}");
        }
    }
}
