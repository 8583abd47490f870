//! One request and its response, as the gateway hands them over piece by piece.

use crate::worker::Begun;
use crate::{SharedWorker, with};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use sluice_core::headers::Headers;
use sluice_host::{clock, message};

/// What becomes of a stream that the client has left, in `response.flags`: its connection has ended, or it has reset its
/// HTTP/2 stream.
const CLIENT_LEFT: u64 = 1 << 14 | 1 << 28;

pub struct Stream {
    id: u32,
    worker: SharedWorker,
    /// The worker knows of this stream, and has not answered it at once.
    known: bool,
    /// Its head, if a guard wants to hear of the answer.
    awaited: Option<Headers>,
    /// It has been answered here, with an answer that has no content type: the gateway must not give it one.
    untyped: bool,
    /// The head of the upstream's answer has passed.
    head: bool,
    /// The pieces of its body are wanted.
    body: bool,
}

impl Stream {
    pub fn new(id: u32, worker: SharedWorker) -> Self {
        Self {
            id,
            worker,
            known: false,
            awaited: None,
            untyped: false,
            head: false,
            body: false,
        }
    }
}

impl Context for Stream {}

/// The stream has ended. This is its deletion and not `on_done`, which would be one more call into the VM for each
/// request.
impl Drop for Stream {
    fn drop(&mut self) {
        if self.known {
            // A body that broke off without the client's leaving.
            let cut = self.body
                && message::number(&["response", "flags"])
                    .is_some_and(|flags| flags & CLIENT_LEFT == 0);
            with(&self.worker, |worker| {
                worker.ended(self.id, cut, clock::millis());
            });
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let begun = with(&self.worker, |worker| {
            worker.begin(self.id, end_of_stream, clock::millis())
        });
        match begun {
            None | Some(Begun::Free) => Action::Continue,
            Some(Begun::Answered { untyped }) => {
                self.untyped = untyped;
                Action::Pause
            }
            Some(Begun::Known { action, awaited }) => {
                self.known = true;
                self.awaited = awaited;
                action
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        if self.untyped {
            message::remove_response_header("content-type");
        }
        if !self.known || self.head {
            return Action::Continue;
        }
        self.head = true;
        let awaited = self.awaited.take();
        let after = with(&self.worker, |worker| {
            worker.response_head(self.id, awaited, end_of_stream, clock::millis())
        });
        match after {
            None => Action::Continue,
            Some((action, body)) => {
                self.body = body;
                action
            }
        }
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.body {
            let piece = message::response_body(0, size);
            let wants = with(&self.worker, |worker| {
                worker.response_body(self.id, &piece, end_of_stream, clock::millis())
            });
            self.body = wants.unwrap_or_default();
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if self.body {
            self.body = false;
            with(&self.worker, |worker| {
                worker.response_trailers(self.id, clock::millis());
            });
        }
        Action::Continue
    }
}
