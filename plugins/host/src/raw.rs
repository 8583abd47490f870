//! The host calls that are made past the SDK: header maps as the buffers that hosts serialise them to, and calls whose
//! refusal is an answer.
//!
//! The SDK takes a map's buffer apart into two allocations for each header, which is most of what a filter costs on a
//! request with a dozen headers; [`Headers`] reads it in place. It takes only text for the values of an answer's header,
//! and it panics where a host refuses to change a map that is gone, or does not let a stream be used.

#![allow(unsafe_code)]

use proxy_wasm::types::{MapType, Status};
use sluice_core::headers::Headers;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_replace_header_map_value(
        map: MapType,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_remove_header_map_value(map: MapType, name: *const u8, name_size: usize) -> Status;
    fn proxy_grpc_send(stream: u32, data: *const u8, size: usize, ends: bool) -> Status;
    fn proxy_grpc_cancel(stream: u32) -> Status;
    fn proxy_grpc_close(stream: u32) -> Status;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        results: *mut *mut u8,
        results_size: *mut usize,
    ) -> Status;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> Status;
}

/// All headers of a map; none when the map is gone.
pub(crate) fn headers(map: MapType) -> Headers {
    let mut data = std::ptr::null_mut();
    let mut size = 0;
    // SAFETY: the host writes both, or neither and another status.
    let status = unsafe { proxy_get_header_map_pairs(map, &raw mut data, &raw mut size) };
    if status != Status::Ok || data.is_null() {
        return Headers::default();
    }
    // SAFETY: the host has the buffer from `proxy_on_memory_allocate`, which is the SDK's and makes a boxed slice of
    // exactly this size; it is ours now.
    let buffer = unsafe { Vec::from_raw_parts(data, size, size) };
    Headers::from_serialized(buffer)
}

/// Puts one field in the place of all of its name. False when the map is gone.
pub(crate) fn set_header(map: MapType, name: &[u8], value: &[u8]) -> bool {
    // SAFETY: the host reads both while the call lasts.
    let status = unsafe {
        proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
    status == Status::Ok
}

/// Takes away all fields of one name. False when the map is gone.
pub(crate) fn remove_header(map: MapType, name: &str) -> bool {
    // SAFETY: the host reads the name while the call lasts.
    let status = unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
    status == Status::Ok
}

/// Answers in place of the upstream. `details` is what the gateway's log says of it. False when the host refuses.
pub(crate) fn answer(status: u16, details: &str, headers: &Headers, body: &[u8]) -> bool {
    let headers = headers.serialized();
    // No gRPC status.
    const NONE: i32 = -1;
    // SAFETY: the host reads all three while the call lasts.
    let status = unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NONE,
        )
    };
    status == Status::Ok
}

/// Sends a message on a stream. False when it has ended, or the host refuses.
pub(crate) fn send_on_stream(stream: u32, message: &[u8]) -> bool {
    // SAFETY: the host reads the message while the call lasts.
    let status = unsafe { proxy_grpc_send(stream, message.as_ptr(), message.len(), false) };
    status == Status::Ok
}

/// Ends a stream at once. False when it has ended, or the host refuses.
pub(crate) fn cancel_stream(stream: u32) -> bool {
    // SAFETY: nothing is handed over.
    let status = unsafe { proxy_grpc_cancel(stream) };
    status == Status::Ok
}

/// Ends this side of a stream. False when it has ended, or the host refuses.
pub(crate) fn close_stream(stream: u32) -> bool {
    // SAFETY: nothing is handed over.
    let status = unsafe { proxy_grpc_close(stream) };
    status == Status::Ok
}

/// Sets a property of one name. False when the host does not let it be set.
pub(crate) fn set_property(name: &str, value: &[u8]) -> bool {
    // SAFETY: the host reads both while the call lasts.
    let status =
        unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    status == Status::Ok
}

/// Calls a function of the host's own that takes and gives nothing. False when it has none of that name.
pub(crate) fn foreign(name: &str) -> bool {
    let mut data = std::ptr::null_mut();
    let mut size = 0_usize;
    // SAFETY: the host reads the name while the call lasts, and writes both results, or neither.
    let status = unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            std::ptr::null(),
            0,
            &raw mut data,
            &raw mut size,
        )
    };
    if !data.is_null() {
        // SAFETY: as for a map's buffer: the SDK's allocation of exactly this size, ours to free.
        drop(unsafe { Vec::from_raw_parts(data, size, size) });
    }
    status == Status::Ok
}
