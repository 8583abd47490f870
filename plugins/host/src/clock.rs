//! The gateway's clock.

use proxy_wasm::hostcalls;
use sluice_core::gcra::{PS_PER_S, Ps};
use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

/// Picoseconds since the Unix epoch. A host that has no time to tell is at the epoch.
#[must_use]
pub fn now() -> Ps {
    hostcalls::get_current_time()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| {
            Ps::from(since.as_secs()) * PS_PER_S + Ps::from(since.subsec_nanos()) * 1_000
        })
}

/// A clock that never goes back, for what is only compared with itself: waits and deadlines. It starts at [`now`], and a
/// jump back of the gateway's clock counts as no time.
#[must_use]
pub fn steady() -> Ps {
    thread_local! {
        static STEADY: Cell<Steady> = const { Cell::new(Steady { last: 0, behind: 0 }) };
    }
    STEADY.with(|cell| {
        let mut steady = cell.get();
        let now = steady.at(now());
        cell.set(steady);
        now
    })
}

#[derive(Clone, Copy)]
struct Steady {
    last: Ps,
    /// How far the gateway's clock has gone back, altogether.
    behind: Ps,
}

impl Steady {
    fn at(&mut self, now: Ps) -> Ps {
        self.behind = self.behind.max(self.last.saturating_sub(now));
        self.last = now.saturating_add(self.behind);
        self.last
    }
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn millis() -> u64 {
    u64::try_from(now() / (PS_PER_S / 1_000)).unwrap_or(u64::MAX)
}

/// Has `on_tick` called this often; whole milliseconds, at least 1.
pub fn tick_every(period: Ps) {
    let millis = u64::try_from(period / (PS_PER_S / 1_000)).unwrap_or(u64::MAX);
    let _ = hostcalls::set_tick_period(Duration::from_millis(millis.clamp(1, 60_000)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_back_counts_as_no_time() {
        let mut steady = Steady { last: 0, behind: 0 };
        let told = [100, 110, 50, 60, 55, 70, 300].map(|now| steady.at(now));
        assert_eq!(told, [100, 110, 110, 120, 120, 135, 365]);
    }
}
