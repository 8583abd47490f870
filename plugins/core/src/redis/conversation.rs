//! One connection to Redis that stays open: batches go out one behind the other, and the bytes that come back are cut
//! into their replies again.
//!
//! Redis answers in order. So the batches that wait form a queue, and a reply that does not come holds up all behind
//! it: when the first is overdue the connection has to be given up, and with it every batch on it.

use super::pipe::MOST_REPLIED;
use super::resp::{self, DecodeError, Reply};
use super::trouble::Trouble;
use crate::gcra::Ps;
use std::collections::VecDeque;

/// Replies are kept up to this size while they are incomplete: somewhat more than is asked for in a batch.
const MAX_PENDING: usize = MOST_REPLIED + (2 << 20);

#[derive(Debug)]
struct Waiting {
    token: u32,
    replies: usize,
    deadline: Ps,
}

/// What waits on one connection. A new connection is a new conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    waiting: VecDeque<Waiting>,
    buffer: Vec<u8>,
    /// How many replies of the login are still to come; they stand before all others.
    login: usize,
}

impl Conversation {
    /// A connection on which `login` commands were sent first.
    #[must_use]
    pub fn new(login: usize) -> Self {
        Self {
            login,
            ..Self::default()
        }
    }

    /// A batch of `replies` commands was sent as `token`.
    pub fn sent(&mut self, token: u32, replies: usize, deadline: Ps) {
        self.waiting.push_back(Waiting {
            token,
            replies,
            deadline,
        });
    }

    /// Bytes have come. Each batch that is complete goes to `done` with its replies' bytes.
    ///
    /// # Errors
    /// When the bytes are no RESP, when nobody waits for them, or when the login was refused: the connection is of no
    /// use any more.
    pub fn received(
        &mut self,
        bytes: &[u8],
        mut done: impl FnMut(u32, &[u8]),
    ) -> Result<(), Trouble> {
        self.buffer.extend_from_slice(bytes);
        let mut rest = self.buffer.as_slice();
        while self.login > 0 {
            match resp::decode(rest) {
                Ok((Reply::Error(text), _)) => return Err(Trouble::from_error_reply(text)),
                Ok((_, after)) => {
                    self.login -= 1;
                    rest = after;
                }
                Err(DecodeError::Truncated) => break,
                Err(DecodeError::Malformed) => return Err(Trouble::Malformed),
            }
        }
        while let Some(first) = self.waiting.front().filter(|_| self.login == 0) {
            let Some(length) = length(rest, first.replies)? else {
                break;
            };
            let Some((replies, after)) = rest.split_at_checked(length) else {
                break;
            };
            done(first.token, replies);
            self.waiting.pop_front();
            rest = after;
        }
        let left = rest.len();
        if (left > 0 && self.waiting.is_empty() && self.login == 0) || left > MAX_PENDING {
            return Err(Trouble::Malformed);
        }
        self.buffer.drain(..self.buffer.len() - left);
        Ok(())
    }

    /// Whether the first batch is overdue.
    #[must_use]
    pub fn is_overdue(&self, now: Ps) -> bool {
        self.waiting
            .front()
            .is_some_and(|first| first.deadline <= now)
    }

    /// The connection is gone: all that waited, in order.
    pub fn broken(&mut self) -> Vec<u32> {
        self.buffer.clear();
        self.waiting
            .drain(..)
            .map(|waiting| waiting.token)
            .collect()
    }
}

/// The length of `count` replies; none when they are not all there.
fn length(bytes: &[u8], count: usize) -> Result<Option<usize>, Trouble> {
    let mut rest = bytes;
    for _ in 0..count {
        match resp::decode(rest) {
            Ok((_, after)) => rest = after,
            Err(DecodeError::Truncated) => return Ok(None),
            Err(DecodeError::Malformed) => return Err(Trouble::Malformed),
        }
    }
    Ok(Some(bytes.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn talk(conversation: &mut Conversation, bytes: &[u8]) -> Result<Vec<(u32, String)>, Trouble> {
        let mut out = Vec::new();
        conversation.received(bytes, |token, replies| {
            out.push((token, String::from_utf8_lossy(replies).into_owned()));
        })?;
        Ok(out)
    }

    #[test]
    fn replies_are_cut_where_the_batches_were() {
        let mut conversation = Conversation::new(1);
        conversation.sent(1, 2, 10);
        conversation.sent(2, 1, 20);
        assert_eq!(talk(&mut conversation, b"+O"), Ok(vec![]));
        assert_eq!(talk(&mut conversation, b"K\r\n:1\r\n"), Ok(vec![]));
        assert!(conversation.is_overdue(10) && !conversation.is_overdue(9));
        assert_eq!(
            talk(&mut conversation, b":2\r\n*1\r\n:3\r\n"),
            Ok(vec![(1, ":1\r\n:2\r\n".into()), (2, "*1\r\n:3\r\n".into())])
        );
        assert!(!conversation.is_overdue(1_000));
    }

    #[test]
    fn what_nobody_asked_for_ends_the_connection() {
        let mut conversation = Conversation::new(0);
        assert_eq!(talk(&mut conversation, b"+OK\r\n"), Err(Trouble::Malformed));
        conversation.sent(1, 1, 10);
        assert_eq!(
            talk(&mut conversation, b"HTTP/1.1 400\r\n"),
            Err(Trouble::Malformed)
        );
    }

    #[test]
    fn a_refused_login_ends_the_connection() {
        let mut conversation = Conversation::new(2);
        conversation.sent(1, 1, 10);
        let refusal = b"-WRONGPASS invalid username-password pair\r\n";
        assert_eq!(talk(&mut conversation, refusal), Err(Trouble::Auth));
        assert_eq!(conversation.broken(), [1]);
    }

    proptest! {
        #[test]
        fn however_the_bytes_arrive_the_replies_are_the_same(
            batches in prop::collection::vec(1usize..4, 1..8),
            cuts in prop::collection::vec(1usize..9, 1..80),
        ) {
            let mut conversation = Conversation::new(0);
            let mut stream = Vec::new();
            for (token, replies) in batches.iter().enumerate() {
                conversation.sent(token as u32, *replies, 10);
                for reply in 0..*replies {
                    stream.extend(format!("*2\r\n:{token}\r\n$1\r\n{}\r\n", reply % 10).bytes());
                }
            }
            let mut tokens = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                rest = after;
                for (token, text) in talk(&mut conversation, chunk).unwrap() {
                    let header = format!("*2\r\n:{token}\r\n");
                    prop_assert_eq!(text.matches(&header).count(), batches[token as usize]);
                    tokens.push(token);
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(tokens, (0..batches.len() as u32).collect::<Vec<_>>());
        }
    }
}
