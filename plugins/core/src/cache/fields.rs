//! The header fields of answers: which are stored, and which an answer from the store has.

use super::{Head, Millis, date};
use crate::headers::Headers;

/// Fields of one connection (RFC 9110, 7.6.1; RFC 9111, 3.1), and those that an answer from the store gets anew.
const NEVER_STORED: [&str; 12] = [
    "age",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that Envoy adds to each answer for itself.
const GATEWAY_PREFIX: &[u8] = b"x-envoy-";

/// The head as it is stored. One without a date gets that of its coming (RFC 9110, 6.6.1).
pub(super) fn stored(head: &Head, excluded: &[Vec<u8>], received_at: Millis) -> Head {
    let connection: Vec<Vec<u8>> = head
        .fields
        .all("connection")
        .flat_map(super::directives::members)
        .map(<[u8]>::to_ascii_lowercase)
        .collect();
    let now = date::format(received_at);
    let mut pairs: Vec<(&[u8], &[u8])> = head
        .fields
        .iter()
        .filter(|(name, _)| {
            !name.starts_with(b":")
                && !name.starts_with(GATEWAY_PREFIX)
                && !NEVER_STORED.iter().any(|never| never.as_bytes() == *name)
                && !excluded.iter().any(|other| other == name)
                && !connection.iter().any(|other| other == name)
        })
        .collect();
    if head.fields.first("date").is_none() {
        pairs.push((b"date", now.as_bytes()));
    }
    Head {
        status: head.status,
        fields: Headers::from_pairs(&pairs),
    }
}

/// The fields of an answer from the store: those stored, the age in seconds, and Cache-Status. A gateway adds the
/// length itself.
#[must_use]
pub fn hit_fields(head: &Head, age: u64, cache_status: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = head
        .fields
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    fields.push((b"age".to_vec(), age.to_string().into_bytes()));
    fields.push((b"cache-status".to_vec(), cache_status.as_bytes().to_vec()));
    fields
}
