//! HTTP callouts: those that carry a Redis pipeline, those that ask etcd, and those that fetch. Only root contexts make them: the SDK drops
//! the reply to a callout whose context has ended.

use crate::raw;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};
use sluice_core::gcra::{PS_PER_S, Ps};
use sluice_core::headers::Headers;
use sluice_core::redis::trouble::Trouble;
use std::time::Duration;

/// Replies are read up to the host's own limit.
const MAX_REPLY: usize = 32 * 1024 * 1024;

/// POSTs `body` to `cluster`, whose name is the host as well, to be answered within `timeout`; returns the callout's token.
///
/// # Errors
/// When the gateway refuses at once (no such cluster, no healthy host): there will be no reply.
pub fn post(cluster: &str, body: &[u8], timeout: Ps) -> Result<u32, Trouble> {
    post_to(cluster, "/", &[], body, timeout)
}

/// The same to a `path`, with header fields besides.
///
/// # Errors
/// As [`post`].
pub fn post_to(
    cluster: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
    timeout: Ps,
) -> Result<u32, Trouble> {
    // The host takes whole milliseconds, and 0 for no limit at all.
    let millis = u64::try_from(timeout / (PS_PER_S / 1_000)).unwrap_or(u64::MAX);
    let mut head = vec![
        (":method", "POST"),
        (":path", path),
        (":authority", cluster),
    ];
    head.extend_from_slice(fields);
    hostcalls::dispatch_http_call(
        cluster,
        head,
        Some(body),
        Vec::new(),
        Duration::from_millis(millis.clamp(1, 60_000)),
    )
    .map_err(|_| Trouble::Connect)
}

/// The body of the callout that is being answered. Call it in `on_http_call_response` only, with its arguments.
///
/// # Errors
/// The kind of trouble when the callout did not come to a reply.
pub fn reply(num_headers: usize, body_size: usize) -> Result<Vec<u8>, Trouble> {
    match status(num_headers)? {
        200 => body(body_size),
        504 => Err(Trouble::Timeout),
        _ => Err(Trouble::Connect),
    }
}

/// The status and the body of the callout that is being answered, whatever the status. As [`reply`].
///
/// # Errors
/// The kind of trouble when there was no response at all.
pub fn response(num_headers: usize, body_size: usize) -> Result<(u16, Vec<u8>), Trouble> {
    Ok((status(num_headers)?, body(body_size)?))
}

fn status(num_headers: usize) -> Result<u16, Trouble> {
    if num_headers == 0 {
        return Err(Trouble::Reset);
    }
    let status = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status");
    let status = status.ok().flatten().unwrap_or_default();
    let number = std::str::from_utf8(&status).ok();
    Ok(number
        .and_then(|text| text.parse().ok())
        .unwrap_or_default())
}

fn body(body_size: usize) -> Result<Vec<u8>, Trouble> {
    if body_size == 0 {
        return Ok(Vec::new());
    }
    hostcalls::get_buffer(
        BufferType::HttpCallResponseBody,
        0,
        body_size.min(MAX_REPLY),
    )
    .map(Option::unwrap_or_default)
    .map_err(|_| Trouble::Reset)
}

/// Sends a request without a body to `cluster`, to be answered within `timeout` in milliseconds; returns the callout's
/// token. `None` when the gateway refuses at once: there will be no reply.
#[must_use]
pub fn fetch(cluster: &str, fields: &[(String, String)], timeout: u64) -> Option<u32> {
    let fields = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    // 0 would be no limit at all.
    let timeout = Duration::from_millis(timeout.max(1));
    hostcalls::dispatch_http_call(cluster, fields, None, Vec::new(), timeout).ok()
}

/// The whole reply to a callout, in `on_http_call_response` only, with its arguments. `None` when there is none.
#[must_use]
pub fn fetched(num_headers: usize, body_size: usize) -> Option<(Headers, Vec<u8>)> {
    if num_headers == 0 {
        return None;
    }
    let headers = raw::headers(MapType::HttpCallResponseHeaders);
    if body_size == 0 {
        return Some((headers, Vec::new()));
    }
    let size = body_size.min(MAX_REPLY);
    let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size);
    Some((headers, body.ok()??))
}
