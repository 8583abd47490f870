//! The hashes that name a key's slot.

use crc::{CRC_16_XMODEM, Crc};
use twox_hash::XxHash64;

static CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// How a key becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hash {
    /// CRC16/XMODEM, as Redis Cluster has it: of the key, or of what stands between the first `{` and the next `}` if
    /// that is not empty. There are 65,536 of them, so a table of more slots would not be filled.
    #[default]
    Crc16,
    /// xxHash64 with seed 0, of the whole key.
    XxHash64,
}

impl Hash {
    /// How many numbers there are at most; 0 is no bound.
    #[must_use]
    pub fn values(self) -> u32 {
        match self {
            Self::Crc16 => 1 << 16,
            Self::XxHash64 => 0,
        }
    }

    #[must_use]
    pub fn of(self, key: &[u8]) -> u64 {
        match self {
            Self::Crc16 => CRC16.checksum(tag(key)).into(),
            Self::XxHash64 => xxh64(key, 0),
        }
    }
}

#[must_use]
pub fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

/// The part of a key that Redis Cluster hashes.
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else {
        return key;
    };
    let inner = key.get(open + 1..).unwrap_or_default();
    match inner.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => inner.get(..close).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_is_redis_clusters() {
        assert_eq!(Hash::Crc16.of(b"123456789"), 0x31C3);
        let slots = [
            ("123456789", 12739),
            ("somekey", 11058),
            ("foo{hash_tag}", 2515),
            ("bar{hash_tag}", 2515),
            ("foo", 12182),
            ("bar", 5061),
            ("hello", 866),
            ("user1000", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("", 0),
        ];
        for (key, slot) in slots {
            assert_eq!(Hash::Crc16.of(key.as_bytes()) % 16384, slot, "{key}");
        }
    }

    #[test]
    fn xxhash64_is_the_published_one() {
        let hashes = [
            (String::new(), 0xEF46_DB37_51D8_E999),
            ("a".into(), 0xD24E_C4F1_A98C_6E5B),
            ("abc".into(), 0x44BC_2CF5_AD77_0999),
            ("a".repeat(32), 0x856E_8432_98F9_9AD7),
            ("a".repeat(33), 0x18F3_FF0C_21E3_B24B),
            ("Hello, World!".into(), 0xC49A_ACF8_080F_E47F),
        ];
        for (key, hash) in hashes {
            assert_eq!(Hash::XxHash64.of(key.as_bytes()), hash, "{key}");
        }
        assert_eq!(xxh64(b"Hello, World!", 42), 0xC2E0_FE28_B251_2846);
    }
}
