//! Bloom filters of the ids that exist: an id that is surely none need not reach a service.
//!
//! A filter answers "no" for certain, or "perhaps": with probability `p` for an id that it does not hold. It takes
//! `-ln p / (ln 2)^2` bits for each id (Bloom, 1970), 9.6 at 1% and 14.4 at 0.1%, whatever the ids' length. It is built
//! elsewhere, kept in Redis as a [`blob`] and loaded in pieces; whoever has none that is whole and new enough must let
//! everything pass.

mod blob;
mod shape;
#[cfg(test)]
mod tests;

pub use blob::{Corrupt, HEADER_BYTES, Loading};
pub use shape::{MAX_BYTES, Shape};

use twox_hash::XxHash64;

/// A filter that can be asked, and added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    shape: Shape,
    /// Part of every hash, so that nobody can find ids that any filter takes for its own.
    salt: u64,
    /// How many ids were added, each counted as often as it was.
    ids: u64,
    /// When it was built, in milliseconds since the Unix epoch.
    built_at: u64,
    bytes: Vec<u8>,
}

impl Filter {
    /// A filter that holds nothing. `salt` is any random number.
    #[must_use]
    pub fn new(shape: Shape, salt: u64, built_at: u64) -> Self {
        Self {
            shape,
            salt,
            ids: 0,
            built_at,
            bytes: vec![0; shape.bytes()],
        }
    }

    /// Adds an id.
    pub fn insert(&mut self, id: &[u8]) {
        self.ids = self.ids.saturating_add(1);
        for bit in places(self.shape, self.salt, id) {
            if let Some(byte) = self.bytes.get_mut(bit.byte) {
                *byte |= bit.mask;
            }
        }
    }

    /// `false`: the id was never added, for certain.
    #[must_use]
    pub fn may_hold(&self, id: &[u8]) -> bool {
        places(self.shape, self.salt, id).all(|bit| {
            self.bytes
                .get(bit.byte)
                .is_some_and(|byte| byte & bit.mask != 0)
        })
    }

    /// How many ids were added.
    #[must_use]
    pub fn ids(&self) -> u64 {
        self.ids
    }

    /// What makes it another than any of the same shape and time.
    #[must_use]
    pub fn salt(&self) -> u64 {
        self.salt
    }

    /// When it was built, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn built_at(&self) -> u64 {
        self.built_at
    }

    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The probability that an id is taken for one that was added, by the bits that are set. More than the shape was
    /// made for: more ids were added than expected.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn false_positives(&self) -> f64 {
        let set: u64 = self
            .bytes
            .iter()
            .map(|byte| u64::from(byte.count_ones()))
            .sum();
        let filled = set as f64 / self.shape.bits() as f64;
        filled.powi(i32::from(self.shape.hashes()))
    }
}

/// Where one bit is: the order of Redis's SETBIT.
struct Bit {
    byte: usize,
    mask: u8,
}

/// The bits of an id: enhanced double hashing (Dillinger and Manolios, 2004), which needs two hashes for any number of
/// bits and has none of the cycles of the plain kind.
fn places(shape: Shape, salt: u64, id: &[u8]) -> impl Iterator<Item = Bit> {
    let bits = shape.bits();
    let mut place = XxHash64::oneshot(salt, id) % bits;
    let mut step = XxHash64::oneshot(!salt, id) % bits;
    (1..=u64::from(shape.hashes())).map(move |round| {
        let bit = Bit {
            byte: usize::try_from(place / 8).unwrap_or(usize::MAX),
            mask: 0x80 >> (place % 8),
        };
        place = (place + step) % bits;
        step = (step + round) % bits;
        bit
    })
}
