//! Stands on the gateway's internal listener, between a filter that talks to Redis and the connection to it.
//!
//! A pipeline may come as the body of a POST, which the gateway turns into TCP. The end of that body would become a
//! half-close: Redis answers one with dropped replies when many are pending, and `redis_proxy` with none at all. So the
//! end, and only the end, is held back: the pipeline's last command is `QUIT`, which closes the connection. (The
//! listener speaks HTTP/1.1 then, where data and end of stream arrive as separate events. A body whose last bytes
//! carried the end would be held back with it.)
//!
//! Or it comes as a gRPC stream that stays open, with a batch in each message. Then the frames round the messages are
//! taken off on the way to Redis, and what Redis says is framed on the way back.

mod frames;

use frames::{Unframer, prefix};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Bridge { stream: None }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Bridge {
    /// Set for a gRPC stream.
    stream: Option<Unframer>,
}

impl Context for Bridge {}

impl HttpContext for Bridge {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let kind = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, "content-type");
        if kind
            .ok()
            .flatten()
            .is_some_and(|kind| kind == b"application/grpc")
        {
            self.stream = Some(Unframer::default());
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match &mut self.stream {
            Some(unframer) => {
                let bytes = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size);
                let payload = unframer.payload(&bytes.ok().flatten().unwrap_or_default());
                let _ = hostcalls::set_buffer(BufferType::HttpRequestBody, 0, size, &payload);
                Action::Continue
            }
            // Never resumed: the stream ends when Redis closes, or when the caller's timeout resets it.
            None if end_of_stream => Action::Pause,
            None => Action::Continue,
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if self.stream.is_some() {
            let kind = Some(&b"application/grpc"[..]);
            let _ =
                hostcalls::set_map_value_bytes(MapType::HttpResponseHeaders, "content-type", kind);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        if self.stream.is_some() && size > 0 {
            let _ = hostcalls::set_buffer(BufferType::HttpResponseBody, 0, 0, &prefix(size));
        }
        Action::Continue
    }
}
