//! One range of a stored answer (RFC 9110, 14), for clients that go on with a download or leaf through a film.

use std::ops::Range;

use super::Head;
use crate::headers::Headers;

/// A part of an answer's body, to be sent with status 206.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub bytes: Range<usize>,
    /// The value of `content-range`.
    pub content_range: String,
}

impl Part {
    /// The fields of a 206 in place of a stored answer, from what [`super::hit_fields`] gave: a sum over what is sent is no
    /// sum over the part.
    #[must_use]
    pub fn fields(&self, hit: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut fields = hit;
        fields.retain(|(name, _)| name != b"content-digest" && name != b"content-md5");
        let range = self.content_range.as_bytes().to_vec();
        fields.push((b"content-range".to_vec(), range));
        fields
    }
}

/// The part of a stored answer that a GET asks for. `None`: it gets all of it, since it names no range, or several, or
/// one that cannot be had, or the answer has none (RFC 9110, 14.2, lets a server ignore the field).
#[must_use]
pub fn part(request: &Headers, head: &Head, length: usize) -> Option<Part> {
    let mut lines = request.all("range");
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    if head.status != 200 || length == 0 || request.first(":method") != Some(b"GET") {
        return None;
    }
    let set = std::str::from_utf8(line).ok()?.strip_prefix("bytes=")?;
    let (first, last) = set.trim().split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // One that is too large is beyond any end.
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    let bytes = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return None,
    };
    if bytes.is_empty() {
        return None;
    }
    let content_range = format!("bytes {}-{}/{length}", bytes.start, bytes.end - 1);
    Some(Part {
        bytes,
        content_range,
    })
}
