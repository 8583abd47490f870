//! One request and its response, as the gateway hands them over piece by piece.

use crate::worker::{Begun, Worker};
use crate::{SharedWorker, with};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use sluice_host::{clock, message};

pub struct Stream {
    id: u32,
    worker: SharedWorker,
    /// The worker knows of this stream.
    keyed: bool,
    dry_run: bool,
    request: Body,
    response: Body,
}

/// A body whose pieces the gateway shows once if they pass, and again together with the next one if they are held.
#[derive(Default)]
struct Body {
    /// Bytes that are held, all of them seen.
    held: usize,
}

impl Body {
    /// Keeps account of what the gateway does with the `size` bytes that it has shown.
    fn after(&mut self, size: usize, action: Action) -> Action {
        self.held = if action == Action::Pause { size } else { 0 };
        action
    }
}

impl Stream {
    pub fn new(id: u32, worker: SharedWorker) -> Self {
        Self {
            id,
            worker,
            keyed: false,
            dry_run: false,
            request: Body::default(),
            response: Body::default(),
        }
    }

    /// What the worker says of a stream that it knows.
    fn ask(&self, act: impl FnOnce(&mut Worker, u32) -> Action) -> Action {
        if !self.keyed {
            return Action::Continue;
        }
        with(&self.worker, |worker| act(worker, self.id)).unwrap_or(Action::Continue)
    }
}

impl Context for Stream {}

/// The stream has ended. This is its deletion and not `on_done`, which would be one more call into the VM for each
/// request.
impl Drop for Stream {
    fn drop(&mut self) {
        if self.keyed {
            with(&self.worker, |worker| {
                worker.ended(self.id, clock::steady())
            });
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let begun = with(&self.worker, |worker| {
            worker.begin(self.id, end_of_stream, clock::steady())
        });
        match begun {
            None | Some(Begun::Free) => Action::Continue,
            Some(Begun::Keyed { action, dry_run }) => {
                self.keyed = true;
                self.dry_run = dry_run;
                action
            }
        }
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let from = self.request.held;
        let action = self.ask(|worker, id| {
            let piece = message::request_body(from, size);
            worker.request_body(id, &piece, end_of_stream, clock::steady())
        });
        self.request.after(size, action)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.ask(|worker, id| worker.request_trailers(id, clock::steady()))
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let dry_run = self.dry_run;
        self.ask(|worker, id| worker.response_head(id, dry_run, end_of_stream, clock::steady()))
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        let from = self.response.held;
        let action = self.ask(|worker, id| {
            let piece = message::response_body(from, size);
            worker.response_body(id, &piece, end_of_stream, clock::steady())
        });
        self.response.after(size, action)
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        self.ask(|worker, id| worker.response_trailers(id, clock::steady()))
    }
}
