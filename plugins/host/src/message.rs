//! The request and the response that a stream is about.

use crate::raw;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};
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

impl CurrentRequest {
    /// The whole map, to be kept.
    #[must_use]
    pub fn into_headers(self) -> Headers {
        self.headers
            .into_inner()
            .unwrap_or_else(|| raw::headers(MapType::HttpRequestHeaders))
    }
}

/// The head of a request as it was kept; properties are those of the stream whose callback is running.
impl From<Headers> for CurrentRequest {
    fn from(headers: Headers) -> Self {
        Self {
            headers: headers.into(),
        }
    }
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

/// The head of the response. To be used in `on_http_response_headers` only.
#[must_use]
pub fn response_headers() -> Headers {
    raw::headers(MapType::HttpResponseHeaders)
}

/// Puts a field into the request in the place of all of its name. False when the request has gone on.
pub fn set_request_header(name: &[u8], value: &[u8]) -> bool {
    raw::set_header(MapType::HttpRequestHeaders, name, value)
}

/// Takes all fields of a name out of the request.
pub fn remove_request_header(name: &str) {
    raw::remove_header(MapType::HttpRequestHeaders, name);
}

/// Puts a field into the response in the place of all of its name. False when its head has gone on.
pub fn set_response_header(name: &[u8], value: &[u8]) -> bool {
    raw::set_header(MapType::HttpResponseHeaders, name, value)
}

/// Takes all fields of a name out of the response.
pub fn remove_response_header(name: &str) {
    raw::remove_header(MapType::HttpResponseHeaders, name);
}

/// Has the gateway choose its route anew, with the headers as they are now. Of no use on hosts that choose once; those do
/// not know it. Call it when all headers are set, in a callback of the request.
pub fn clear_route_cache() {
    raw::foreign("clear_route_cache");
}

/// Sets a property of the stream for the gateway's log (in Envoy: filter state `wasm.NAME`).
pub fn set_property(name: &str, value: &[u8]) {
    raw::set_property(name, value);
}

/// A property of the gateway that is a whole number.
#[must_use]
pub fn number(path: &[&str]) -> Option<u64> {
    let bytes = hostcalls::get_property(path.to_vec()).ok().flatten()?;
    bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// A property of the gateway that is bytes; empty where it has none.
#[must_use]
pub fn bytes(path: &[&str]) -> Vec<u8> {
    let bytes = hostcalls::get_property(path.to_vec());
    bytes.ok().flatten().unwrap_or_default()
}

/// The part of the request's body that is not known yet: what the gateway holds from `from` to `size`. Call it in
/// `on_http_request_body` only, with its size.
#[must_use]
pub fn request_body(from: usize, size: usize) -> Vec<u8> {
    body(BufferType::HttpRequestBody, from, size)
}

/// The same of the response's body, in `on_http_response_body`.
#[must_use]
pub fn response_body(from: usize, size: usize) -> Vec<u8> {
    body(BufferType::HttpResponseBody, from, size)
}

fn body(buffer: BufferType, from: usize, size: usize) -> Vec<u8> {
    if size <= from {
        return Vec::new();
    }
    let bytes = hostcalls::get_buffer(buffer, from, size - from);
    bytes.ok().flatten().unwrap_or_default()
}

/// Answers in place of the upstream, with fields of any bytes. `details` is what the gateway's log says of it. False when
/// the gateway refuses.
pub fn answer_bytes(
    status: u16,
    details: &str,
    fields: &[(Vec<u8>, Vec<u8>)],
    body: &[u8],
) -> bool {
    raw::answer(status, details, &Headers::from_pairs(fields), body)
}

/// Answers the request of the stream whose callback is running, in place of the upstream.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) {
    let _ = hostcalls::send_http_response(u32::from(status), headers.to_vec(), Some(body));
}
