//! The random numbers of scripts: `lrand48`, which goes on from script to script until the server restarts.

/// The state before any seed, and the low part of it after one.
const START: u64 = 0x1234_abcd_330e;
const LOW: u64 = 0x330e;
const MASK: u64 = (1 << 48) - 1;
/// One above what is divided by, so that a number is below 1.
const MOST: i64 = i32::MAX as i64;

#[derive(Debug)]
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(START)
    }
}

impl Random {
    pub(crate) fn seed(&mut self, seed: i64) {
        // Only 32 bits count.
        self.0 = (seed.cast_unsigned() & 0xffff_ffff) << 16 | LOW;
    }

    /// At least 0, below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & MASK;
        let number = i64::try_from(self.0 >> 17).unwrap_or(0) % MOST;
        number as f64 / MOST as f64
    }
}
