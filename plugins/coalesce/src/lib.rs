//! The coalescing filter: which decision follows which event. The decisions are `sluice_core::flight`,
//! `sluice_core::cache` and `sluice_core::guard`.

mod guards;
mod metrics;
mod redis;
mod stream;
mod worker;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};
use sluice_host::{clock, configuration};
use std::cell::RefCell;
use std::rc::Rc;
use stream::Stream;
use worker::Worker;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(Root { id, worker: Rc::default() }));
}}

/// What the root context and the streams of one worker share; none before a policy is loaded.
type SharedWorker = Rc<RefCell<Option<Worker>>>;

/// Runs `act` on the worker. Callbacks do not nest (the host defers what they ask for), so nobody else holds it.
fn with<T>(worker: &SharedWorker, act: impl FnOnce(&mut Worker) -> T) -> Option<T> {
    worker.try_borrow_mut().ok()?.as_mut().map(act)
}

struct Root {
    id: u32,
    worker: SharedWorker,
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        with(&self.worker, |worker| {
            worker.called(token, headers, body, clock::millis());
        });
    }

    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        with(&self.worker, |worker| {
            worker.redis_message(token, size, clock::millis());
        });
    }

    fn on_grpc_stream_close(&mut self, token: u32, status: u32) {
        with(&self.worker, |worker| {
            worker.redis_closed(token, status, clock::millis());
        });
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        with(&self.worker, Worker::close);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        match Worker::load(self.id, &configuration::plugin(size)) {
            Ok(worker) => {
                if let Ok(mut slot) = self.worker.try_borrow_mut() {
                    *slot = Some(worker);
                }
                true
            }
            Err(problem) => {
                log::error!("coalesce: the policy is refused: {problem}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        with(&self.worker, |worker| worker.tick(clock::millis()));
    }

    fn on_queue_ready(&mut self, queue: u32) {
        with(&self.worker, |worker| {
            worker.message(queue, clock::millis())
        });
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(id, Rc::clone(&self.worker))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
