//! Clients, and how they fare.

use crate::idempotency::problem::Answer;

/// How a client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    Waiting,
    /// The origin has the request, or may have it.
    Sent {
        fence: Option<u64>,
    },
    /// The origin's answer is held.
    Held,
    /// The origin's answer has come, with these fields.
    Delivered {
        status: u16,
        body: Vec<u8>,
        fields: Vec<(Vec<u8>, Vec<u8>)>,
    },
    Answered(Answer),
    Aborted,
    Gone,
}

pub struct Stream {
    pub key: String,
    pub client: Client,
    /// What the origin has said.
    pub said: Option<(u16, Vec<u8>)>,
}

pub fn is_replay(client: &Client, status: u16, body: &[u8]) -> bool {
    matches!(client, Client::Answered(answer) if answer.status == status && answer.body == body
        && answer.fields.contains(&(b"idempotency-replayed".to_vec(), b"true".to_vec())))
}

pub fn delivered(client: &Client) -> bool {
    matches!(client, Client::Delivered { fields, .. } if fields.is_empty())
}

pub fn flagged(client: &Client, word: &str) -> bool {
    let flag = (b"idempotency-status".to_vec(), word.as_bytes().to_vec());
    matches!(client, Client::Delivered { fields, .. } if fields.contains(&flag))
}
