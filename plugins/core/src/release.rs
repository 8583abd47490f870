//! How many requests that waited are let go at once.

/// In one callback. The gateway carries out what a callback asked for when it returns; an answer passes the filter, which
/// is a callback again, and when that returns the next one is carried out, deeper in the stack: a few hundred overflow
/// the VM's. A request that goes on can nest as well: its body passes the filter, or the gateway answers it by itself.
/// Whoever keeps some back has itself called again for them.
pub const MOST_AT_ONCE: usize = 32;

/// Takes those that are let go now, the first ones first.
pub fn some<T>(all: &mut Vec<T>) -> Vec<T> {
    let count = all.len().min(MOST_AT_ONCE);
    all.drain(..count).collect()
}
