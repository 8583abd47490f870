//! Leases under way: requests that need the same lease wait for one draw.

use super::lease::Terms;
use crate::gcra::Ps;
use std::collections::HashMap;

/// A lease that Redis was asked for.
#[derive(Debug)]
pub(super) struct Draw {
    /// Requests that wait for it, in order.
    pub waiting: Vec<u32>,
    /// When it was asked for: its tokens are debited no earlier.
    pub asked: Ps,
    /// Fewer tokens than this are a denial.
    pub need: u64,
    /// Fewer than this mean that Redis has no more.
    pub want: u64,
    /// What the new lease's growth will be.
    pub growth: u8,
    pub terms: Terms,
}

/// By the hash of limit and subject. Every draw has a command under way, so there are no more of them than of those.
#[derive(Debug)]
pub(super) struct Draws {
    pub by_hash: HashMap<u64, Draw, ahash::RandomState>,
}

impl Default for Draws {
    fn default() -> Self {
        Self {
            // Keyed on hashes that already hold a secret.
            by_hash: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
        }
    }
}

impl Draws {
    /// Has request `id` wait for a draw that is under way; false when there is none.
    pub fn join(&mut self, hash: u64, id: u32) -> bool {
        match self.by_hash.get_mut(&hash) {
            Some(draw) => {
                draw.waiting.push(id);
                true
            }
            None => false,
        }
    }
}
