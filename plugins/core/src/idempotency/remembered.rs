//! Answers that a worker keeps after it has stored or read them. A record that is complete never changes before it ends, so
//! none that is kept is ever out of date: for a while it is replayed without a question to the store. Afterwards that needs
//! no more than the store's word on which answer a key has: the token that stored it, which is random and stores one
//! answer only.

use super::fingerprint::Fingerprint;
use super::scope::Scope;
use super::scripts::INLINE;
use super::settings::Memory;
use super::store::{Acquired, Claim, Kind};
use crate::gcra::Ps;
use crate::near::Near;
use bytes::Bytes;
use std::cell::Cell;
use std::rc::Rc;

/// Up to a number of bytes; those used last stay.
pub struct Remembered {
    answers: Near<Answer>,
    trusted_for: Ps,
}

struct Answer {
    scope: Scope,
    fingerprint: Fingerprint,
    by: Vec<u8>,
    kind: Kind,
    bytes: Bytes,
    /// The store need not be asked before.
    trusted_until: Cell<Ps>,
}

/// What the token `by` stored.
pub struct Stored<'a> {
    pub by: &'a [u8],
    pub kind: Kind,
    pub bytes: Bytes,
}

impl Answer {
    fn completed(&self) -> Acquired {
        Acquired::Completed {
            kind: self.kind,
            bytes: self.bytes.clone(),
        }
    }
}

impl Remembered {
    #[must_use]
    pub fn new(memory: Memory) -> Self {
        Self {
            answers: Near::new(memory.max_bytes),
            trusted_for: memory.trusted_for,
        }
    }

    /// Whether there is an answer of the scope, of whatever token.
    pub fn has(&mut self, scope: &Scope) -> bool {
        self.find(scope).is_some()
    }

    /// The answer to the claim's request, where the store need not be asked for it.
    pub fn trusted(&mut self, claim: &Claim, now: Ps) -> Option<Acquired> {
        let answer = self.find(&claim.scope)?;
        let is_trusted =
            answer.fingerprint == claim.fingerprint && now < answer.trusted_until.get();
        is_trusted.then(|| answer.completed())
    }

    /// The answer that the token `by` stored, which the store has just said the claim's key has until `ends` at least.
    pub fn get(&mut self, claim: &Claim, by: &[u8], ends: Ps, now: Ps) -> Option<Acquired> {
        let until = ends.min(now + self.trusted_for);
        let answer = self.find(&claim.scope).filter(|answer| answer.by == by)?;
        answer.trusted_until.set(until);
        Some(answer.completed())
    }

    /// Keeps what the store has just taken, or said, and keeps itself until `ends` at least.
    pub fn put(&mut self, claim: &Claim, found: Stored<'_>, ends: Ps, now: Ps) {
        let Stored { by, kind, bytes } = found;
        let size = bytes.len();
        if !self.is_worth(size) {
            return;
        }
        let answer = Answer {
            scope: claim.scope,
            fingerprint: claim.fingerprint,
            by: by.to_vec(),
            kind,
            bytes,
            trusted_until: Cell::new(ends.min(now + self.trusted_for)),
        };
        self.answers.put(place(&claim.scope), Rc::new(answer), size);
    }

    /// A short answer that the store is asked about is as quickly had from there.
    pub fn is_worth(&self, size: usize) -> bool {
        (size > INLINE || self.trusted_for > 0) && self.answers.fits(size)
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
    use crate::gcra::PS_PER_S;
    use crate::idempotency::fingerprint::Hasher;
    use crate::idempotency::scope::Token;
    use std::time::Duration;

    fn claim(key: &[u8], path: &[u8]) -> Claim {
        Claim {
            scope: Scope::new(b"ann", "pay", key),
            token: Token::new([1; 16]),
            fingerprint: Hasher::new(b"POST", path).finish(),
            lease: Duration::from_secs(1),
            retention: Duration::from_secs(20),
            route: "pay".into(),
            key: key.to_vec(),
            max_answer: 1_000,
            at: 0,
        }
    }

    fn memory(max_bytes: usize, seconds: u128) -> Remembered {
        Remembered::new(Memory {
            max_bytes,
            trusted_for: seconds * PS_PER_S,
        })
    }

    fn stored(bytes: impl Into<Bytes>) -> Stored<'static> {
        Stored {
            by: b"7",
            kind: Kind::Answer,
            bytes: bytes.into(),
        }
    }

    const LATER: Ps = 100 * PS_PER_S;

    #[test]
    fn an_answer_is_found_by_its_key_and_token_together() {
        let mut remembered = memory(10_000, 1);
        let [one, other] = [b"1", b"2"].map(|key| claim(key, b"/pay"));
        remembered.put(&one, stored("made"), LATER, 0);
        let made = Acquired::Completed {
            kind: Kind::Answer,
            bytes: "made".into(),
        };
        assert_eq!(remembered.get(&one, b"7", LATER, 0), Some(made));
        assert_eq!(remembered.get(&one, b"8", LATER, 0), None);
        assert!(remembered.has(&one.scope) && !remembered.has(&other.scope));
        assert_eq!(remembered.get(&other, b"7", LATER, 0), None);
    }

    #[test]
    fn nothing_is_kept_where_there_is_no_room() {
        let mut remembered = memory(0, 1);
        let claim = claim(b"1", b"/pay");
        remembered.put(&claim, stored("made"), LATER, 0);
        assert!(!remembered.has(&claim.scope));
    }

    #[test]
    fn an_answer_is_trusted_for_its_time_which_the_word_of_the_store_renews() {
        let mut remembered = memory(10_000, 1);
        let [mine, other] = [b"/pay".as_slice(), b"/refund"].map(|path| claim(b"1", path));
        remembered.put(&mine, stored("made"), LATER, 0);
        assert!(remembered.trusted(&mine, PS_PER_S - 1).is_some());
        assert_eq!(remembered.trusted(&other, 0), None, "another request");
        assert_eq!(remembered.trusted(&mine, PS_PER_S), None);
        assert!(remembered.get(&mine, b"7", LATER, PS_PER_S).is_some());
        assert!(remembered.trusted(&mine, 2 * PS_PER_S - 1).is_some());
    }

    #[test]
    fn an_answer_is_not_trusted_beyond_the_end_of_its_record() {
        let mut remembered = memory(10_000, 60);
        let claim = claim(b"1", b"/pay");
        for ends in [2 * PS_PER_S, 3 * PS_PER_S] {
            remembered.put(&claim, stored("made"), ends, PS_PER_S);
            assert!(remembered.trusted(&claim, ends - 1).is_some());
            assert_eq!(remembered.trusted(&claim, ends), None);
        }
        assert!(remembered.get(&claim, b"7", 4 * PS_PER_S, 0).is_some());
        assert_eq!(remembered.trusted(&claim, 4 * PS_PER_S), None);
    }

    #[test]
    fn a_short_answer_is_only_kept_to_be_trusted() {
        let mut remembered = memory(100_000, 0);
        let claim = claim(b"1", b"/pay");
        remembered.put(&claim, stored(vec![0; INLINE]), LATER, 0);
        assert!(!remembered.has(&claim.scope));
        remembered.put(&claim, stored(vec![0; INLINE + 1]), LATER, 0);
        assert!(remembered.has(&claim.scope));
        assert_eq!(remembered.trusted(&claim, 0), None);
    }
}
