//! Random numbers from the host.

use sluice_core::gcra::Ps;

/// A random time from 0 to `most`; `most` where the host has no random numbers.
#[must_use]
pub fn up_to(most: Ps) -> Ps {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => (most * Ps::from(u64::from_le_bytes(bytes))) >> 64,
        Err(_) => most,
    }
}

/// 16 random bytes; none where the host has no random numbers.
#[must_use]
pub fn token() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok().map(|()| bytes)
}

/// Any 64-bit number; the time where the host has no random numbers.
#[must_use]
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => crate::clock::now() as u64,
    }
}
