//! Requests and answers for the tests, and what comes of them.

use super::*;

pub(super) const NOW: Millis = 1_700_000_000_000;

pub(super) fn get(fields: &[(&str, &str)]) -> Headers {
    request("GET", fields)
}

pub(super) fn request(method: &str, fields: &[(&str, &str)]) -> Headers {
    let mut pairs = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "example.com"),
        (":path", "/a?b=c"),
    ];
    pairs.extend_from_slice(fields);
    Headers::from_pairs(&pairs)
}

pub(super) fn lookup(fields: &[(&str, &str)]) -> Lookup {
    lookup_by(fields, &Rule::default())
}

pub(super) fn lookup_by(fields: &[(&str, &str)], rule: &Rule) -> Lookup {
    match admission(&get(fields), rule, true) {
        Admission::Lookup(lookup) => lookup,
        other => panic!("{fields:?}: {other:?}"),
    }
}

pub(super) fn answer(status: u16, fields: &[(&str, &str)]) -> Head {
    Head {
        status,
        fields: Headers::from_pairs(fields),
    }
}

pub(super) fn verdict(fields: &[(&str, &str)]) -> Verdict {
    verdict_by(&Rule::default(), 200, fields)
}

pub(super) fn verdict_by(rule: &Rule, status: u16, fields: &[(&str, &str)]) -> Verdict {
    judge(&lookup(&[]), &answer(status, fields), rule, NOW, NOW)
}

pub(super) fn shared(verdict: Verdict) -> Share {
    match verdict {
        Verdict::Share(share) => share,
        other => panic!("{other:?}"),
    }
}

pub(super) fn refused(verdict: Verdict) -> Reason {
    match verdict {
        Verdict::Refuse(reason) => reason,
        other => panic!("{other:?}"),
    }
}
