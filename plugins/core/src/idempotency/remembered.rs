//! Long answers that a worker keeps after it has stored or read them: to replay one again it needs no more than the store's
//! word on which answer a key has: the token that stored it, which is random and stores one answer only. So none that is
//! kept is ever out of date.

use super::scope::Scope;
use super::store::{Acquired, Kind};
use crate::near::Near;
use bytes::Bytes;
use std::rc::Rc;

/// Up to a number of bytes; those used last stay.
pub struct Remembered {
    answers: Near<Answer>,
}

struct Answer {
    scope: Scope,
    by: Vec<u8>,
    kind: Kind,
    bytes: Bytes,
}

impl Remembered {
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            answers: Near::new(max_bytes),
        }
    }

    /// Whether there is an answer of the scope, of whatever token.
    pub fn has(&mut self, scope: &Scope) -> bool {
        self.find(scope).is_some()
    }

    /// The answer that the token `by` stored.
    pub fn get(&mut self, scope: &Scope, by: &[u8]) -> Option<Acquired> {
        let answer = self.find(scope).filter(|answer| answer.by == by)?;
        Some(Acquired::Completed {
            kind: answer.kind,
            bytes: answer.bytes.clone(),
        })
    }

    pub fn put(&mut self, scope: Scope, by: &[u8], kind: Kind, bytes: Bytes) {
        let size = bytes.len();
        let answer = Answer {
            scope,
            by: by.to_vec(),
            kind,
            bytes,
        };
        self.answers.put(place(&scope), Rc::new(answer), size);
    }

    /// The same of bytes that are a part of others, which are not to be kept.
    pub fn put_part(&mut self, scope: Scope, by: &[u8], kind: Kind, bytes: &[u8]) {
        if self.answers.fits(bytes.len()) {
            self.put(scope, by, kind, Bytes::copy_from_slice(bytes));
        }
    }

    fn find(&mut self, scope: &Scope) -> Option<Rc<Answer>> {
        let answer = self.answers.get(place(scope))?;
        (answer.scope == *scope).then_some(answer)
    }
}

/// A scope is a hash; the first of it is one as well.
fn place(scope: &Scope) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *scope.bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_by_its_key_and_token_together() {
        let mut remembered = Remembered::new(10_000);
        let [one, other] = [b"1", b"2"].map(|key| Scope::new(b"ann", "pay", key));
        let bytes = Bytes::from("made");
        remembered.put(one, b"7", Kind::Answer, bytes.clone());
        let kind = Kind::Answer;
        let made = Acquired::Completed { kind, bytes };
        assert_eq!(remembered.get(&one, b"7"), Some(made));
        assert_eq!(remembered.get(&one, b"8"), None);
        assert!(remembered.has(&one) && !remembered.has(&other));
        assert_eq!(remembered.get(&other, b"7"), None);
    }

    #[test]
    fn nothing_is_kept_where_there_is_no_room() {
        let mut remembered = Remembered::new(0);
        let scope = Scope::new(b"ann", "pay", b"1");
        remembered.put(scope, b"7", Kind::Answer, vec![0; 10].into());
        assert!(!remembered.has(&scope));
    }
}
