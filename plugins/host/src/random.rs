//! Random numbers from the host.

use sluice_core::gcra::Ps;
use std::cell::RefCell;

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

/// Any 64-bit number; the time where the host has no random numbers. They are drawn in advance, many at a time: most of
/// what one costs is the call to the host. Not for secrets.
#[must_use]
pub fn number() -> u64 {
    DRAWN.with(|drawn| {
        let mut drawn = drawn.borrow_mut();
        if drawn.is_empty() {
            let mut bytes = [0; 512];
            if getrandom::fill(&mut bytes).is_err() {
                return crate::clock::now() as u64;
            }
            let words = bytes.chunks_exact(8).filter_map(<[u8]>::first_chunk);
            drawn.extend(words.map(|word| u64::from_le_bytes(*word)));
        }
        drawn.pop().unwrap_or_default()
    })
}

thread_local! {
    static DRAWN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}
