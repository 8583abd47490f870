//! Keeps a Redis connection open until the replies are in.
//!
//! A pipeline travels as the body of a POST that the gateway turns into TCP. The end of that body would become a
//! half-close: Redis answers one with dropped replies when many are pending, and `redis_proxy` with none at all. This
//! filter holds back the end, and only the end, so the pipeline itself must close: its last command is `QUIT`.
//!
//! It belongs on the internal listener, speaking HTTP/1.1, where data and end of stream arrive as separate events. A
//! body whose last bytes carried the end would be held back with it.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Bridge))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Bridge;

impl Context for Bridge {}

impl HttpContext for Bridge {
    /// Never resumed: the stream ends when Redis closes, or when the caller's timeout resets it.
    fn on_http_request_body(&mut self, _body_size: usize, end_of_stream: bool) -> Action {
        if end_of_stream {
            Action::Pause
        } else {
            Action::Continue
        }
    }
}
