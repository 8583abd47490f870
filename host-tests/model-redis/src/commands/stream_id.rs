//! Names of a stream's entries: `<milliseconds>-<number>`.

use crate::reply::Failure;
use crate::value::StreamId;

pub(super) fn invalid() -> Failure {
    Failure::new("ERR Invalid stream ID specified as stream command argument")
}

pub(super) fn write(id: StreamId) -> Vec<u8> {
    format!("{}-{}", id.0, id.1).into_bytes()
}

fn part(text: &str) -> Option<u64> {
    // No sign: Rust's own parsing would take a plus.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// An id whose second half may be left out and is `missing` then.
pub(super) fn read(text: &[u8], missing: u64) -> Result<StreamId, Failure> {
    let text = std::str::from_utf8(text).map_err(|_| invalid())?;
    let id = match text.split_once('-') {
        Some((millis, number)) => part(millis).zip(part(number)),
        None => part(text).map(|millis| (millis, missing)),
    };
    id.ok_or_else(invalid)
}

/// What XADD was asked to name the entry.
pub(super) enum Wanted {
    /// `*`
    Any,
    /// `<milliseconds>-*`
    Within(u64),
    Exactly(StreamId),
}

impl Wanted {
    pub(super) fn read(text: &[u8]) -> Result<Self, Failure> {
        if text == b"*" {
            return Ok(Self::Any);
        }
        if let Some(millis) = text.strip_suffix(b"-*") {
            let (millis, _) = read(millis, 0)?;
            return Ok(Self::Within(millis));
        }
        read(text, 0).map(Self::Exactly)
    }

    /// The entry's id, above `last`.
    pub(super) fn after(&self, last: StreamId, now: u64) -> Result<StreamId, Failure> {
        let small = || {
            Failure::new(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
            )
        };
        let next = |(millis, number): StreamId| {
            number
                .checked_add(1)
                .map(|number| (millis, number))
                .ok_or_else(small)
        };
        match *self {
            Self::Any if now > last.0 => Ok((now, 0)),
            // A clock that was set back does not make ids that go back.
            Self::Any => next(last),
            Self::Within(millis) if millis == last.0 => next(last),
            Self::Within(millis) if millis > last.0 => Ok((millis, 0)),
            Self::Exactly((0, 0)) => Err(Failure::new(
                "ERR The ID specified in XADD must be greater than 0-0",
            )),
            Self::Exactly(id) if id > last => Ok(id),
            Self::Within(_) | Self::Exactly(_) => Err(small()),
        }
    }
}

/// One end of a range: `-`, `+`, an id, or `(` and an id that is not part of it.
pub(super) fn bound(text: &[u8], end: bool) -> Result<std::ops::Bound<StreamId>, Failure> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let missing = if end { u64::MAX } else { 0 };
    match text {
        b"-" => Ok(Included((0, 0))),
        b"+" => Ok(Unbounded),
        [b'(', rest @ ..] => read(rest, missing).map(Excluded),
        _ => read(text, missing).map(Included),
    }
}
