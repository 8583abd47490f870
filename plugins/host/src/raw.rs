//! The one host call that is made past the SDK: a header map as the buffer that the host serialised it to.
//!
//! The SDK takes that buffer apart into two allocations for each header, which is most of what a filter costs on a
//! request with a dozen headers. [`Headers`] reads it in place.

#![allow(unsafe_code)]

use proxy_wasm::types::{MapType, Status};
use sluice_core::headers::Headers;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> Status;
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
