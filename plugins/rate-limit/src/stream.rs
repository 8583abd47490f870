//! One request and its response.

use crate::SharedWorker;
use crate::worker::Decided;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use sluice_core::rate_limit::check::Standing;
use sluice_host::clock;
use sluice_host::message::CurrentRequest;

pub struct Stream {
    id: u32,
    worker: SharedWorker,
    progress: Progress,
}

/// How far this stream has come.
enum Progress {
    /// No limit applies, or the answer is already complete.
    Free,
    /// The verdict comes later, from the root context.
    Waiting,
    /// Admitted; the response is to say how the client stands.
    Admitted(Vec<Standing>),
}

impl Stream {
    pub fn new(id: u32, worker: SharedWorker) -> Self {
        Self {
            id,
            worker,
            progress: Progress::Free,
        }
    }
}

impl Stream {
    /// Pauses what belongs to a request that has no verdict yet.
    fn hold(&self) -> Action {
        let waits = matches!(self.progress, Progress::Waiting)
            && match self.worker.try_borrow() {
                Ok(worker) => worker.as_ref().is_some_and(|worker| worker.waits(self.id)),
                Err(_) => false,
            };
        if waits {
            Action::Pause
        } else {
            Action::Continue
        }
    }
}

impl Context for Stream {}

/// The stream has ended. This is its deletion and not `on_done`, which would be one more call into the VM for each
/// request.
impl Drop for Stream {
    fn drop(&mut self) {
        if matches!(self.progress, Progress::Waiting)
            && let Ok(mut worker) = self.worker.try_borrow_mut()
            && let Some(worker) = worker.as_mut()
        {
            worker.forget(self.id);
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Ok(mut worker) = self.worker.try_borrow_mut() else {
            return Action::Continue;
        };
        let Some(worker) = worker.as_mut() else {
            return Action::Continue;
        };
        let (progress, action) =
            match worker.decide(self.id, &CurrentRequest::default(), clock::now()) {
                Decided::Admitted(standings) => (Progress::Admitted(standings), Action::Continue),
                Decided::Denied => (Progress::Free, Action::Pause),
                Decided::Later => (Progress::Waiting, Action::Pause),
            };
        self.progress = progress;
        action
    }

    /// Where the gateway is told to go on with the body although the headers are paused
    /// (`allow_on_headers_stop_iteration`), the body must wait too: to let it pass would let the request pass.
    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        self.hold()
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.hold()
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if matches!(self.progress, Progress::Free) {
            return Action::Continue;
        }
        let Ok(mut worker) = self.worker.try_borrow_mut() else {
            return Action::Continue;
        };
        if let Some(worker) = worker.as_mut() {
            let standings = match &mut self.progress {
                Progress::Admitted(standings) => std::mem::take(standings),
                // A denial has said all there is to say, and left nothing here.
                _ => worker.take_standings(self.id),
            };
            worker.add_fields(&standings);
        }
        self.progress = Progress::Free;
        Action::Continue
    }
}
