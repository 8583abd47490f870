//! Conditional requests (RFC 9110, 13): the client's, answered from the store, and ours to the origin.

use super::directives::members;
use super::judge::{Verdict, judge};
use super::{Head, Lookup, Millis, Rule, date, fields};
use crate::headers::Headers;

/// What a client that has a copy gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// 304: its copy will do.
    NotModified,
    Full,
}

/// Fields of a request that make it conditional, and that a leader's request does not have unless we set them: the
/// answer must serve everybody.
const CONDITIONS: [&str; 2] = ["if-none-match", "if-modified-since"];

/// Fields that describe a body, which a 304 has not.
const OF_THE_BODY: [&str; 7] = [
    "content-encoding",
    "content-language",
    "content-md5",
    "content-range",
    "content-type",
    "digest",
    "content-digest",
];

/// Fields of a stored answer that a 304 never changes: they say how its body is to be read.
const NEVER_UPDATED: [&str; 2] = ["content-encoding", "content-range"];

/// Whether the stored answer is the copy that the client has (RFC 9111, 4.3.2). `received_at` is when the answer came,
/// for one that has no date at all.
#[must_use]
pub fn conditional(request: &Headers, head: &Head, received_at: Millis) -> Match {
    let same = if head.status != 200 {
        false
    } else if request.first("if-none-match").is_some() {
        let etag = head.fields.first("etag").map(weak);
        request
            .all("if-none-match")
            .flat_map(members)
            .any(|tag| tag == b"*" || Some(weak(tag)) == etag)
    } else {
        let since = match (
            request.first("if-modified-since"),
            request.all("if-modified-since").nth(1),
        ) {
            (Some(value), None) => date::parse(value),
            _ => None,
        };
        let field = |name| head.fields.first(name).map(date::parse);
        let modified = field("last-modified")
            .or_else(|| field("date"))
            .unwrap_or(Some(received_at));
        matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
    };
    if same {
        Match::NotModified
    } else {
        Match::Full
    }
}

/// The opaque part of an entity tag: all that the weak comparison looks at (RFC 9110, 8.8.3.2).
fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The fields of a 304 in place of a stored answer (RFC 9110, 15.4.5), from what [`super::hit_fields`] gave.
#[must_use]
pub fn not_modified_fields(hit: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields = hit;
    fields.retain(|(name, _)| {
        !OF_THE_BODY
            .iter()
            .any(|of| of.as_bytes() == name.as_slice())
    });
    fields
}

/// What to set in a request that revalidates this answer. Empty when it has no validator.
#[must_use]
pub fn revalidation_fields(head: &Head) -> Vec<(&'static str, Vec<u8>)> {
    let mut set = Vec::new();
    if let Some(etag) = head.fields.first("etag") {
        set.push(("if-none-match", etag.to_vec()));
    }
    if let Some(modified) = head.fields.first("last-modified") {
        set.push(("if-modified-since", modified.to_vec()));
    }
    set
}

/// What a leader's request must have for its answer to serve everybody: fields to remove (`None`) or to set. `stored`
/// is the answer that it revalidates.
#[must_use]
pub fn lead_fields(
    request: &Headers,
    stored: Option<&Head>,
) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let set = stored.map(revalidation_fields).unwrap_or_default();
    CONDITIONS
        .into_iter()
        .filter_map(|name| {
            let ours = set.iter().find(|(set, _)| *set == name);
            let ours = ours.map(|(_, value)| value.clone());
            (ours.is_some() || request.first(name).is_some()).then_some((name, ours))
        })
        .collect()
}

/// What a 304 from the origin comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshened {
    /// The stored answer with the fields of the 304. The head is for the client that asked; the verdict, with a head of
    /// its own, for everybody else and the store.
    Updated { head: Head, verdict: Verdict },
    /// The 304 is about another answer: this one must be forgotten, and no one else be given it (RFC 9111, 4.3.3).
    Mismatch,
}

/// Updates a stored answer with a 304 (RFC 9111, 3.2 and 4.3.4).
#[must_use]
pub fn freshen(
    lookup: &Lookup,
    stored: &Head,
    not_modified: &Head,
    rule: &Rule,
    requested_at: Millis,
    received_at: Millis,
) -> Freshened {
    let etag = |head: &Head| head.fields.first("etag").map(|tag| weak(tag).to_vec());
    if let (Some(new), Some(old)) = (etag(not_modified), etag(stored))
        && new != old
    {
        return Freshened::Mismatch;
    }
    let update = fields::stored(not_modified, &[], received_at).fields;
    let keeps = |name: &[u8]| NEVER_UPDATED.iter().any(|never| never.as_bytes() == name);
    let replaced = |name: &[u8]| !keeps(name) && update.iter().any(|(other, _)| other == name);
    let mut pairs: Vec<(&[u8], &[u8])> = stored
        .fields
        .iter()
        .filter(|(name, _)| !replaced(name))
        .collect();
    pairs.extend(update.iter().filter(|(name, _)| !keeps(name)));
    let head = Head {
        status: stored.status,
        fields: Headers::from_pairs(&pairs),
    };
    // Its age counts, but is not stored.
    if let Some(age) = not_modified.fields.first("age") {
        pairs.push((b"age", age));
    }
    let aged = Head {
        status: stored.status,
        fields: Headers::from_pairs(&pairs),
    };
    let verdict = judge(lookup, &aged, rule, requested_at, received_at);
    Freshened::Updated { head, verdict }
}
