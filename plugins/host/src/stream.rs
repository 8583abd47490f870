//! Letting other streams of this worker go on. Only from callbacks that have no filter status (`on_tick`,
//! `on_queue_ready`, `on_http_call_response`): elsewhere a local reply would stop the running stream's filters.

use crate::message;
use proxy_wasm::hostcalls;

/// Resets the stream whose callback is running: its response has begun, and must not look complete.
pub fn reset_response() {
    let _ = hostcalls::reset_http_response();
}

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

    /// Runs `act` as stream `id`: what it does to header maps and answers is done to that stream's. `None` when the stream
    /// has ended.
    pub fn act<T>(&self, id: u32, act: impl FnOnce() -> T) -> Option<T> {
        hostcalls::set_effective_context(id).ok().map(|()| act())
    }

    /// Sends the paused response of stream `id` on its way. Exactly once per pause. False when the stream has ended.
    pub fn resume_response(&self, id: u32) -> bool {
        hostcalls::set_effective_context(id).is_ok() && hostcalls::resume_http_response().is_ok()
    }

    /// Resets the stream whose response has begun, so that its client sees that it was cut. False when the stream has
    /// ended.
    pub fn reset_response(&self, id: u32) -> bool {
        hostcalls::set_effective_context(id).is_ok() && hostcalls::reset_http_response().is_ok()
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
