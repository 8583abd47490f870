//! Letting other streams of this worker go on. Only from callbacks that have no filter status (`on_tick`,
//! `on_queue_ready`, `on_http_call_response`): elsewhere a local reply would stop the running stream's filters.

use crate::message;
use proxy_wasm::hostcalls;

/// The other streams, as seen from root context `own`. Dropping it makes that the effective context again.
#[derive(Debug)]
pub struct Others {
    own: u32,
}

impl Others {
    #[must_use]
    pub fn of(own: u32) -> Self {
        Self { own }
    }

    /// Sends the paused request of stream `id` on its way. Exactly once per pause. False when the stream has ended.
    pub fn resume_request(&self, id: u32) -> bool {
        hostcalls::set_effective_context(id).is_ok() && hostcalls::resume_http_request().is_ok()
    }

    /// Answers the paused request of stream `id`. False when the stream has ended.
    pub fn answer(&self, id: u32, status: u16, headers: &[(&str, &str)], body: &[u8]) -> bool {
        let alive = hostcalls::set_effective_context(id).is_ok();
        if alive {
            message::answer(status, headers, body);
        }
        alive
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        let _ = hostcalls::set_effective_context(self.own);
    }
}
