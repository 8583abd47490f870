//! Requests and answers for the tests, and what comes of them. `rules` holds the rules by which answers are shared; the
//! others go through what HTTP says, piece by piece.

mod conditions;
mod fields;
mod freshening;
mod freshness;
mod invalidated;
mod keys;
mod ranges;
mod rules;
mod targets;
mod variants;

use super::*;

/// A date that is the same in all tests: Tue, 14 Nov 2023 22:13:20 GMT.
const NOW: Millis = 1_700_000_000_000;

fn get(fields: &[(&str, &str)]) -> Headers {
    request("GET", fields)
}

fn request(method: &str, fields: &[(&str, &str)]) -> Headers {
    let mut pairs = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "example.com"),
        (":path", "/a?b=c"),
    ];
    pairs.extend_from_slice(fields);
    Headers::from_pairs(&pairs)
}

fn lookup(fields: &[(&str, &str)]) -> Lookup {
    lookup_by(fields, &Rule::default())
}

fn lookup_by(fields: &[(&str, &str)], rule: &Rule) -> Lookup {
    match admission(&get(fields), rule, true) {
        Admission::Lookup(lookup) => lookup,
        other => panic!("{fields:?}: {other:?}"),
    }
}

fn answer(status: u16, fields: &[(&str, &str)]) -> Head {
    Head {
        status,
        fields: Headers::from_pairs(fields),
    }
}

fn verdict(fields: &[(&str, &str)]) -> Verdict {
    verdict_by(&Rule::default(), 200, fields)
}

fn verdict_by(rule: &Rule, status: u16, fields: &[(&str, &str)]) -> Verdict {
    judge(&lookup(&[]), &answer(status, fields), rule, NOW, NOW)
}

fn shared(verdict: Verdict) -> Share {
    match verdict {
        Verdict::Share(share) => share,
        other => panic!("{other:?}"),
    }
}

fn refused(verdict: Verdict) -> Reason {
    match verdict {
        Verdict::Refuse(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// A date so many seconds from now.
fn at(seconds: i64) -> String {
    date::format(NOW.saturating_add_signed(seconds * 1_000))
}

/// What is left of a lifetime when the answer comes, in seconds; `None` when it is not stored at all.
fn left(fields: &[(&str, &str)]) -> Option<i64> {
    match verdict(fields) {
        Verdict::Share(share) | Verdict::Keep(share, _) => Some(share.terms.ttl(NOW)),
        Verdict::Refuse(_) => None,
    }
}

fn is_shared(fields: &[(&str, &str)]) -> bool {
    matches!(verdict(fields), Verdict::Share(_))
}
