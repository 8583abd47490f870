//! Whose key it is: the identity of a record, and of one attempt to take it.
//!
//! Two clients that choose the same key, or one that uses it on two routes, have two records. The parts are hashed with
//! their lengths before them, so that no client can forge another's scope, and client names are not readable in a store.

use sha2::{Digest, Sha256};

/// The identity of a record: a SHA-256 over the client, the route and the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope([u8; 32]);

impl Scope {
    /// `subject` is what [`Key::extract`](crate::selector::Key::extract) gives (empty where clients are not told apart).
    #[must_use]
    pub fn new(subject: &[u8], route: &str, key: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"sluice idempotency scope 1\0");
        for part in [subject, route.as_bytes(), key] {
            prefixed(&mut hash, part);
        }
        Self(hash.finalize().into())
    }

    /// From the 64 digits that [`Scope::hex`] gives.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if digits.len() != 64
            || !digits
                .bytes()
                .all(|digit| b"0123456789abcdef".contains(&digit))
        {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            let pair = digits.get(2 * index..2 * index + 2)?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// In which of `partitions` parts of the store it lives.
    #[must_use]
    pub fn partition(&self, partitions: u16) -> u8 {
        let number = u16::from_be_bytes([self.0[0], self.0[1]]) % partitions.clamp(1, 256);
        u8::try_from(number).unwrap_or_default()
    }

    /// 64 hex digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Names one attempt to take a key; nobody else has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; 16]);

impl Token {
    /// From 16 random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// 32 hex digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Hashes a part with its length before it.
pub(super) fn prefixed(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let mut out = vec![b'0'; bytes.len() * 2];
    // In place: many times as fast as `write!` or a push for each, and there are half a dozen for each request.
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        if let [high, low] = pair {
            (*high, *low) = (digit(byte >> 4), digit(byte & 15));
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn another_client_route_or_key_is_another_record() {
        let scopes = [
            Scope::new(b"alice", "payments", b"k"),
            Scope::new(b"bob", "payments", b"k"),
            Scope::new(b"alice", "refunds", b"k"),
            Scope::new(b"alice", "payments", b"K"),
            Scope::new(b"alicep", "ayments", b"k"),
            Scope::new(b"alice", "payment", b"sk"),
        ];
        for (index, scope) in scopes.iter().enumerate() {
            assert!(!scopes[..index].contains(scope), "{index}");
        }
        assert_eq!(scopes[0], Scope::new(b"alice", "payments", b"k"));
        assert_eq!(scopes[0].hex().len(), 64);
        assert_eq!(Scope::from_hex(&scopes[0].hex()), Some(scopes[0]));
        for wrong in ["", "00", &"A".repeat(64), &"é".repeat(32), &"+f".repeat(32)] {
            assert_eq!(Scope::from_hex(wrong), None);
        }
    }

    #[test]
    fn partitions_are_filled_evenly() {
        for partitions in [1u16, 3, 256] {
            let mut filled = vec![0; usize::from(partitions)];
            for number in 0u32..256 * 64 {
                let scope = Scope::new(b"", "r", &number.to_be_bytes());
                filled[usize::from(scope.partition(partitions))] += 1;
            }
            let even = 256 * 64 / usize::from(partitions);
            assert!(
                filled.iter().all(|n| *n > even / 3 && *n < even * 2),
                "{filled:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_two_lists_of_parts_are_one_scope(a: (Vec<u8>, String, Vec<u8>), b: (Vec<u8>, String, Vec<u8>)) {
            let scope = |(subject, route, key): &(Vec<u8>, String, Vec<u8>)| Scope::new(subject, route, key);
            prop_assert_eq!(scope(&a) == scope(&b), a == b);
        }
    }
}
