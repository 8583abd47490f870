//! An answer on its way from one gateway to another.

use super::{list, read_list};
use crate::cache::Millis;
use crate::flight::codec::Reader;
use crate::flight::entry::{Content, Entry};

/// The answer, and the fields of the request that it depends on. Whoever reads it has keys of its own.
#[must_use]
pub fn encode(entry: &Entry, vary: &[String]) -> Vec<u8> {
    let mut out = list(vary);
    out.extend_from_slice(&entry.encode());
    out
}

/// The answer, as if this gateway had asked for it at `requested_at`: all its times are moved by as much. None if it is
/// no answer, not the one named, varies by other fields, has a longer body than `most`, or cannot have come by then.
#[must_use]
pub fn decode(
    bytes: &[u8],
    id: u64,
    vary: &[String],
    most: usize,
    requested_at: Millis,
    now: Millis,
) -> Option<Entry> {
    let mut from = Reader(bytes);
    let theirs = read_list(&mut from)?;
    let mut entry = Entry::decode(from.0)?;
    // What is asked for after an invalidation has a time after it, which may be a little later than when it came.
    let moved = |time: Millis, by: Millis| requested_at.checked_add(time.saturating_sub(by));
    let asked = std::mem::replace(&mut entry.requested_at, requested_at);
    let Content::Answer(answer) = &mut entry.content else {
        return None;
    };
    let terms = &mut answer.terms;
    terms.received_at = moved(terms.received_at, asked)?;
    let known = (200..600).contains(&answer.head.status);
    let valid = known
        && entry.id == id
        && id != 0
        && theirs == vary
        && answer.body.len() <= most
        // Its own clock may have gone on a little while it was on its way here.
        && terms.received_at <= now.saturating_add(1);
    valid.then_some(entry)
}
