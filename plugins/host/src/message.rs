//! The request and the response that a stream is about.

use crate::raw;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MapType;
use sluice_core::headers::Headers;
use sluice_core::selector::Request;
use std::borrow::Cow;
use std::cell::OnceCell;

/// The request of the stream whose callback is running. To be used in `on_http_request_headers` only: the header map is
/// gone once the request has moved on.
#[derive(Debug, Default)]
pub struct CurrentRequest {
    /// Fetched when first asked for: many policies need no header, and the map is the dearest of the host calls.
    headers: OnceCell<Headers>,
}

impl Request for CurrentRequest {
    fn headers(&self) -> &Headers {
        self.headers
            .get_or_init(|| raw::headers(MapType::HttpRequestHeaders))
    }

    fn first(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        if let Some(headers) = self.headers.get() {
            return headers.first(name).map(Cow::Borrowed);
        }
        let value = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name);
        value.ok().flatten().map(Cow::Owned)
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        hostcalls::get_property(path.to_vec()).ok().flatten()
    }
}

/// Adds a field to the response. Call it in `on_http_response_headers` only.
pub fn add_response_header(name: &str, value: &[u8]) {
    // A host that refuses the field has its reasons (too many, too large); the answer is still good without it.
    let _ = hostcalls::add_map_value_bytes(MapType::HttpResponseHeaders, name, value);
}

/// Answers the request of the stream whose callback is running, in place of the upstream.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) {
    let _ = hostcalls::send_http_response(u32::from(status), headers.to_vec(), Some(body));
}
