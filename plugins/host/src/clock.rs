//! The gateway's clock.

use proxy_wasm::hostcalls;
use sluice_core::gcra::{PS_PER_S, Ps};
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

/// Has `on_tick` called this often; whole milliseconds, at least 1.
pub fn tick_every(period: Ps) {
    let millis = u64::try_from(period / (PS_PER_S / 1_000)).unwrap_or(u64::MAX);
    let _ = hostcalls::set_tick_period(Duration::from_millis(millis.clamp(1, 60_000)));
}
