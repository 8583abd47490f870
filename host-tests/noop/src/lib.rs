//! A filter that does nothing: what a request pays for having a filter at all. With the name of a header as its
//! configuration it reads that header: what a filter pays that must look at a request. With a number it answers with so
//! many bytes: what a filter pays that answers by itself. With `/route` it asks the gateway for what shard-route asks for,
//! and decides nothing. Benchmarks compare with all of these, and the tests of the harness use it.

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType};
use sluice_core::selector::Request;
use sluice_host::message::{self, CurrentRequest};
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

#[derive(Default)]
struct Root {
    header: Rc<str>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let header = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size);
        let header = header.ok().flatten().unwrap_or_default();
        self.header = String::from_utf8_lossy(&header).into();
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Noop {
            header: Rc::clone(&self.header),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Noop {
    header: Rc<str>,
}

impl Context for Noop {}

impl HttpContext for Noop {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Ok(size) = self.header.parse::<usize>() {
            let headers = vec![("content-type", "text/plain")];
            let _ = hostcalls::send_http_response(200, headers, Some(&vec![b'x'; size]));
            return Action::Pause;
        }
        if &*self.header == "/route" {
            let _ = CurrentRequest::default().headers();
            message::set_request_header(b"x-shard", b"s1");
            message::clear_route_cache();
            return Action::Continue;
        }
        if !self.header.is_empty() {
            let _ = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, &self.header);
        }
        Action::Continue
    }
}
