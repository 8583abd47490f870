//! Waiting for a condition, never for an amount of time.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a slow machine to start a server; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Tries `check` until it answers, or gives up after `limit`.
pub fn poll<T>(limit: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = check() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `check` holds.
///
/// # Panics
/// Naming `what`, when it does not within [`PATIENCE`].
pub fn until(what: &str, mut check: impl FnMut() -> bool) {
    if poll(PATIENCE, || check().then_some(())).is_none() {
        panic!("waited {PATIENCE:?} in vain for {what}");
    }
}
