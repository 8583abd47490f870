//! Letting other streams of this worker go on. Only from callbacks that have no filter status (`on_tick`,
//! `on_queue_ready`, `on_http_call_response`): elsewhere a local reply would stop the running stream's filters.

use crate::message;
use proxy_wasm::hostcalls;

/// Runs `act` in the place of stream `id` and returns to context `own`. False when the stream has ended.
fn in_place_of(id: u32, own: u32, act: impl FnOnce()) -> bool {
    let alive = hostcalls::set_effective_context(id).is_ok();
    if alive {
        act();
    }
    let _ = hostcalls::set_effective_context(own);
    alive
}

/// Sends the paused request of stream `id` on its way. Exactly once per pause.
pub fn resume_request(id: u32, own: u32) -> bool {
    in_place_of(id, own, || {
        let _ = hostcalls::resume_http_request();
    })
}

/// Answers the paused request of stream `id`.
pub fn answer(id: u32, own: u32, status: u16, headers: &[(&str, &str)], body: &[u8]) -> bool {
    in_place_of(id, own, || message::answer(status, headers, body))
}
