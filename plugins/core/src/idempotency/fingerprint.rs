//! Whether two requests with one key are the same request: a SHA-256 over method, path, query and body.

use super::scope::{hex, prefixed};
use sha2::{Digest, Sha256};

/// What a request is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hex digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// A fingerprint being taken while the body arrives.
#[derive(Debug, Clone)]
pub struct Hasher {
    hash: Sha256,
    length: u64,
}

impl Hasher {
    /// `target` is `:path`, with its query, as the client sent it.
    #[must_use]
    pub fn new(method: &[u8], target: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"sluice idempotency fingerprint 1\0");
        let at = target.iter().position(|byte| *byte == b'?');
        let (path, query) = target
            .split_at_checked(at.unwrap_or(target.len()))
            .unwrap_or((target, b""));
        for part in [method, path, query] {
            prefixed(&mut hash, part);
        }
        Self { hash, length: 0 }
    }

    /// Takes a piece of the body.
    pub fn body(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.length = self.length.saturating_add(piece.len() as u64);
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The body is complete. Its length comes last, since it is not known before.
    #[must_use]
    pub fn finish(mut self) -> Fingerprint {
        self.hash.update(self.length.to_be_bytes());
        Fingerprint(self.hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(method: &str, target: &str, pieces: &[&[u8]]) -> Fingerprint {
        let mut hasher = Hasher::new(method.as_bytes(), target.as_bytes());
        pieces.iter().for_each(|piece| hasher.body(piece));
        hasher.finish()
    }

    #[test]
    fn whatever_of_the_request_differs_is_seen() {
        let same = print("POST", "/pay?a=1", &[b"body"]);
        assert_eq!(same, print("POST", "/pay?a=1", &[b"bo", b"", b"dy"]));
        for other in [
            print("PATCH", "/pay?a=1", &[b"body"]),
            print("POST", "/pay/?a=1", &[b"body"]),
            print("POST", "/pay?a=2", &[b"body"]),
            print("POST", "/pay", &[b"body"]),
            print("POST", "/pay?a=1", &[b"bodx"]),
            print("POST", "/pay?a=1", &[b"body "]),
            print("POST", "/pay?a=1", &[]),
            print("POST/", "pay?a=1", &[b"body"]),
        ] {
            assert_ne!(same, other);
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_a_body_comes(body: Vec<u8>, cut: prop::sample::Index) {
            let (one, two) = body.split_at(cut.index(body.len() + 1));
            prop_assert_eq!(print("POST", "/", &[one, two]), print("POST", "/", &[&body]));
        }
    }
}
