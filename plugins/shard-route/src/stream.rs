//! One request and its response.

use crate::worker::Begun;
use crate::{SharedWorker, with};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use sluice_host::clock;

pub struct Stream {
    id: u32,
    worker: SharedWorker,
    /// The worker keeps something of this stream: until then, and without it, nothing else is to be done.
    kept: bool,
}

impl Stream {
    pub fn new(id: u32, worker: SharedWorker) -> Self {
        Self {
            id,
            worker,
            kept: false,
        }
    }
}

impl Context for Stream {}

/// The stream has ended. This is its deletion and not `on_done`, which would be one more call into the VM for each
/// request.
impl Drop for Stream {
    fn drop(&mut self) {
        if self.kept {
            with(&self.worker, |worker| worker.ended(self.id, clock::now()));
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        match with(&self.worker, |worker| worker.begin(self.id, end_of_stream)) {
            None | Some(Begun::Done) => Action::Continue,
            Some(Begun::Refused) => Action::Pause,
            Some(Begun::Kept(action)) => {
                self.kept = true;
                action
            }
        }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !self.kept {
            return Action::Continue;
        }
        with(&self.worker, |worker| {
            worker.body(self.id, size, end_of_stream)
        })
        .unwrap_or(Action::Continue)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if !self.kept {
            return Action::Continue;
        }
        with(&self.worker, |worker| worker.body_ended(self.id)).unwrap_or(Action::Continue)
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.kept {
            with(&self.worker, |worker| worker.answered(self.id));
        }
        Action::Continue
    }
}
