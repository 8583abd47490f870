//! What a client is told that does not get the upstream's own answer: a replay, or a problem (RFC 9457) of a type of its
//! own, so that it can never be taken for the application's 409 or 422.

use super::stored::{Field, Stored};
use crate::redis::resp::decimal;
use bytes::Bytes;

/// Marks a replay (`true`), so that a client can tell it from a first answer.
pub const REPLAYED: &str = "idempotency-replayed";
/// Says of an answer that is passed on that its record is `unrecorded` (it could not be stored) or `unknown` (the
/// gateway's own words, while nobody knows what the upstream did).
pub const STATUS: &str = "idempotency-status";

/// A whole response of the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<Field>,
    pub body: Bytes,
}

impl Answer {
    /// The first answer again.
    #[must_use]
    pub fn replay(stored: Stored) -> Self {
        let Stored {
            status,
            mut fields,
            body,
        } = stored;
        fields.push(field(REPLAYED, b"true"));
        Self {
            status,
            fields,
            body,
        }
    }

    /// A problem, as problem+json.
    #[must_use]
    pub fn problem(problem: Problem) -> Self {
        let mut fields = vec![
            field("content-type", b"application/problem+json"),
            field("cache-control", b"no-store"),
        ];
        if let Some(seconds) = problem.retry_after() {
            let mut text = Vec::with_capacity(4);
            decimal(&mut text, seconds);
            fields.push(field("retry-after", &text));
        }
        Self {
            status: problem.status(),
            fields,
            body: problem.body().into(),
        }
    }
}

/// A header field from a name that the code knows.
#[must_use]
pub fn field(name: &str, value: &[u8]) -> Field {
    (name.as_bytes().to_vec(), value.to_vec())
}

/// Why a request is not answered by the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// 400: the route wants a key.
    KeyMissing,
    /// 400: the key cannot be read, or is there twice.
    KeyInvalid,
    /// 400: what tells clients apart is missing.
    ClientUnknown,
    /// 413: the body is longer than what a fingerprint is taken of.
    BodyTooLarge,
    /// 409: another request with the key is being carried out.
    InFlight,
    /// 409: nobody knows whether the request with the key was carried out.
    Unknown,
    /// 409: it was carried out, but its answer could not be kept, only its status.
    AnswerNotKept { status: u16 },
    /// 422: the key was used for another request.
    KeyReused,
    /// 500: the record cannot be read.
    Corrupt,
    /// 503: the store cannot be asked; nothing was sent.
    StoreUnavailable,
    /// 503: nothing was sent, since the upstream could not be reached.
    NotSent,
    /// 503: the upstream has answered, but the answer could not be stored.
    NotRecorded,
    /// 503: too many exchanges are open.
    Overloaded,
}

impl Problem {
    /// All of them, for documents and tests.
    pub const ALL: [Self; 13] = [
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::ClientUnknown,
        Self::BodyTooLarge,
        Self::InFlight,
        Self::Unknown,
        Self::AnswerNotKept { status: 200 },
        Self::KeyReused,
        Self::Corrupt,
        Self::StoreUnavailable,
        Self::NotSent,
        Self::NotRecorded,
        Self::Overloaded,
    ];

    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::KeyMissing | Self::KeyInvalid | Self::ClientUnknown => 400,
            Self::BodyTooLarge => 413,
            Self::InFlight | Self::Unknown | Self::AnswerNotKept { .. } => 409,
            Self::KeyReused => 422,
            Self::Corrupt => 500,
            Self::StoreUnavailable | Self::NotSent | Self::NotRecorded | Self::Overloaded => 503,
        }
    }

    /// The last part of its type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyMissing => "key-missing",
            Self::KeyInvalid => "key-invalid",
            Self::ClientUnknown => "client-unknown",
            Self::BodyTooLarge => "body-too-large",
            Self::InFlight => "in-flight",
            Self::Unknown => "unknown",
            Self::AnswerNotKept { .. } => "answer-not-kept",
            Self::KeyReused => "key-reused",
            Self::Corrupt => "record-corrupt",
            Self::StoreUnavailable => "store-unavailable",
            Self::NotSent => "not-sent",
            Self::NotRecorded => "not-recorded",
            Self::Overloaded => "overloaded",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::KeyMissing => "This request needs an idempotency key",
            Self::KeyInvalid => "The idempotency key cannot be read",
            Self::ClientUnknown => "The request lacks what tells clients apart",
            Self::BodyTooLarge => "The body is too large for a request with an idempotency key",
            Self::InFlight => "A request with this idempotency key is being carried out",
            Self::Unknown => {
                "It is not known whether the request with this idempotency key was carried out"
            }
            Self::AnswerNotKept { .. } => {
                "The request with this idempotency key was carried out; its answer was not kept"
            }
            Self::KeyReused => "This idempotency key was used for another request",
            Self::Corrupt => "The record of this idempotency key cannot be read",
            Self::StoreUnavailable => {
                "Idempotency keys cannot be looked up at the moment; the request was not sent"
            }
            Self::NotSent => "The service could not be reached; the request was not sent",
            Self::NotRecorded => {
                "The request was carried out, but its answer could not be recorded"
            }
            Self::Overloaded => {
                "Too many requests with idempotency keys are open; the request was not sent"
            }
        }
    }

    /// Whole seconds; none where waiting does not help.
    fn retry_after(self) -> Option<u64> {
        match self {
            Self::InFlight
            | Self::StoreUnavailable
            | Self::NotSent
            | Self::NotRecorded
            | Self::Overloaded => Some(1),
            _ => None,
        }
    }

    fn body(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(b"{\"type\":\"urn:sluice:problem:idempotency-");
        body.extend_from_slice(self.name().as_bytes());
        body.extend_from_slice(b"\",\"title\":\"");
        body.extend_from_slice(self.title().as_bytes());
        body.extend_from_slice(b"\",\"status\":");
        decimal(&mut body, u64::from(self.status()));
        if let Self::AnswerNotKept { status } = self {
            body.extend_from_slice(b",\"original-status\":");
            decimal(&mut body, u64::from(status));
        }
        body.push(b'}');
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_problem_has_a_type_of_its_own_and_says_its_status() {
        let mut types = BTreeSet::new();
        for problem in Problem::ALL {
            let answer = Answer::problem(problem);
            let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(json["status"], answer.status);
            assert_eq!(
                json["type"],
                format!("urn:sluice:problem:idempotency-{}", problem.name())
            );
            assert!(types.insert(problem.name()));
            let waits = answer.fields.iter().any(|(name, _)| name == b"retry-after");
            assert!(waits || answer.status != 503, "{problem:?}");
        }
        let body = Answer::problem(Problem::AnswerNotKept { status: 206 }).body;
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["original-status"], 206);
    }

    #[test]
    fn a_replay_is_the_first_answer_and_its_mark() {
        let stored = Stored {
            status: 201,
            fields: vec![field("x", b"1")],
            body: "made".into(),
        };
        let answer = Answer::replay(stored);
        assert_eq!((answer.status, &answer.body[..]), (201, &b"made"[..]));
        assert_eq!(
            answer.fields,
            [field("x", b"1"), field("idempotency-replayed", b"true")]
        );
    }
}
