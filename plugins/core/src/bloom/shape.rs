//! How large a filter must be.

use std::f64::consts::LN_2;

/// No filter is larger: about 28 million ids at 0.1%, 56 million at 1%. A gateway's worker holds one for each route.
pub const MAX_BYTES: usize = 64 << 20;

const MOST_HASHES: u8 = 32;

/// A filter's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    bits: u64,
    hashes: u8,
}

impl Shape {
    /// The smallest that takes `false_positives` (above 0, below 1) of the ids it does not hold for its own, when it
    /// holds so many. `None` when that is larger than [`MAX_BYTES`], or no such probability.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both are rounded, and bounded before"
    )]
    pub fn of(ids: u64, false_positives: f64) -> Option<Self> {
        if !(false_positives > 0.0 && false_positives < 1.0) {
            return None;
        }
        let bits = (ids.max(1) as f64 * bits_per_id(false_positives)).ceil();
        if bits > MAX_BYTES as f64 * 8.0 {
            return None;
        }
        let hashes = (-false_positives.log2()).round();
        let hashes = hashes.clamp(1.0, f64::from(MOST_HASHES)) as u8;
        // Whole bytes, as they are there anyway.
        Self::from_parts((bits as u64).next_multiple_of(8), hashes)
    }

    /// `None` when no filter has such a shape.
    pub(super) fn from_parts(bits: u64, hashes: u8) -> Option<Self> {
        let bytes = usize::try_from(bits / 8).ok()?;
        let valid = bits.is_multiple_of(8) && (1..=MAX_BYTES).contains(&bytes);
        (valid && (1..=MOST_HASHES).contains(&hashes)).then_some(Self { bits, hashes })
    }

    #[must_use]
    pub fn bits(self) -> u64 {
        self.bits
    }

    /// How many bits each id sets.
    #[must_use]
    pub fn hashes(self) -> u8 {
        self.hashes
    }

    #[must_use]
    pub fn bytes(self) -> usize {
        usize::try_from(self.bits / 8).unwrap_or(MAX_BYTES)
    }
}

pub(super) fn bits_per_id(false_positives: f64) -> f64 {
    -false_positives.ln() / (LN_2 * LN_2)
}
