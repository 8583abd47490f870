//! What workers tell each other: small, and only hints. A worker that is told looks for itself, so a message that is lost,
//! late or about another flight costs time and nothing else.

use super::table::FlightId;
use crate::cache::Millis;

const BYTES: usize = 18;

/// How a flight ended, for those who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer is in the shared tier.
    Stored,
    /// Nothing came of it, or it is no longer true: somebody else leads.
    Again,
    /// It failed for the last time.
    Failed,
    /// Each for itself.
    Unshared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Flight `id` of key `hash` has ended.
    Ended {
        hash: u64,
        id: FlightId,
        outcome: Outcome,
    },
    /// What was asked of URI `hash` at that time or before is no longer true.
    Forget { hash: u64, at: Millis },
    /// All that is kept is from an epoch that is over.
    ForgetAll,
    /// Nothing: it has the worker look after what became ready.
    Wake,
}

impl Message {
    #[must_use]
    pub fn encode(self) -> [u8; BYTES] {
        let (kind, hash, id, outcome) = match self {
            Self::Ended { hash, id, outcome } => {
                let outcome = match outcome {
                    Outcome::Stored => 0,
                    Outcome::Again => 1,
                    Outcome::Failed => 2,
                    Outcome::Unshared => 3,
                };
                (1, hash, id, outcome)
            }
            Self::Forget { hash, at } => (2, hash, at, 0),
            Self::ForgetAll => (3, 0, 0, 0),
            Self::Wake => (4, 0, 0, 0),
        };
        let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
        let [i, j, k, l, m, n, o, p] = id.to_le_bytes();
        [
            kind, outcome, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p,
        ]
    }

    /// None for what is no message.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [kind, outcome, words @ ..]: &[u8; BYTES] = bytes.try_into().ok()?;
        let (hash, id) = words.split_first_chunk()?;
        let (hash, id) = (
            u64::from_le_bytes(*hash),
            u64::from_le_bytes(*id.first_chunk()?),
        );
        match kind {
            1 => {
                let outcome = match outcome {
                    0 => Outcome::Stored,
                    1 => Outcome::Again,
                    2 => Outcome::Failed,
                    3 => Outcome::Unshared,
                    _ => return None,
                };
                Some(Self::Ended { hash, id, outcome })
            }
            2 => Some(Self::Forget { hash, at: id }),
            3 => Some(Self::ForgetAll),
            4 => Some(Self::Wake),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_messages_come_back(
            bytes in prop::collection::vec(any::<u8>(), 0..30),
            hash: u64,
            id: u64,
        ) {
            if let Some(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            }
            let all = [
                Message::Ended { hash, id, outcome: Outcome::Stored },
                Message::Ended { hash, id, outcome: Outcome::Again },
                Message::Ended { hash, id, outcome: Outcome::Failed },
                Message::Ended { hash, id, outcome: Outcome::Unshared },
                Message::Forget { hash, at: id },
                Message::ForgetAll,
                Message::Wake,
            ];
            for message in all {
                prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        }
    }
}
