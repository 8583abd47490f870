//! The ABI, version 0.2.1: every import that the probe uses, as a safe function that gives back the host's status and
//! values as they are, and every callback.

#![allow(unsafe_code)]

use crate::act::{self, Came};
use crate::program::Event;
use std::ptr::null_mut;

/// The status, and the bytes when the host gave any.
pub type Given = (u32, Option<Vec<u8>>);

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, data: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(b: u32, start: u32, max: u32, d: *mut *mut u8, s: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(b: u32, start: u32, size: u32, d: *const u8, s: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, d: *mut *mut u8, s: *mut usize) -> u32;
    fn proxy_set_header_map_pairs(map: u32, d: *const u8, s: usize) -> u32;
    fn proxy_get_header_map_size(map: u32, size: *mut u32) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        k: *const u8,
        ks: usize,
        d: *mut *mut u8,
        s: *mut usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        k: *const u8,
        ks: usize,
        v: *const u8,
        vs: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        k: *const u8,
        ks: usize,
        v: *const u8,
        vs: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, k: *const u8, ks: usize) -> u32;
    fn proxy_get_property(p: *const u8, ps: usize, d: *mut *mut u8, s: *mut usize) -> u32;
    fn proxy_set_property(p: *const u8, ps: usize, v: *const u8, vs: usize) -> u32;
    fn proxy_get_shared_data(
        k: *const u8,
        ks: usize,
        d: *mut *mut u8,
        s: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(k: *const u8, ks: usize, v: *const u8, vs: usize, cas: u32) -> u32;
    fn proxy_register_shared_queue(n: *const u8, ns: usize, token: *mut u32) -> u32;
    fn proxy_resolve_shared_queue(
        v: *const u8,
        vs: usize,
        n: *const u8,
        ns: usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_dequeue_shared_queue(token: u32, d: *mut *mut u8, s: *mut usize) -> u32;
    fn proxy_enqueue_shared_queue(token: u32, d: *const u8, s: usize) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_stream(
        cluster: *const u8,
        cluster_size: usize,
        service: *const u8,
        service_size: usize,
        method: *const u8,
        method_size: usize,
        metadata: *const u8,
        metadata_size: usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_send(token: u32, d: *const u8, s: usize, end: bool) -> u32;
    fn proxy_grpc_cancel(token: u32) -> u32;
    fn proxy_grpc_close(token: u32) -> u32;
    fn proxy_get_status(status: *mut u32, d: *mut *mut u8, s: *mut usize) -> u32;
    fn proxy_set_effective_context(id: u32) -> u32;
    fn proxy_done() -> u32;
    fn proxy_define_metric(kind: u32, n: *const u8, ns: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
}

/// Takes the buffer that the host had from [`proxy_on_memory_allocate`].
fn given(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Given {
    let (mut data, mut size) = (null_mut(), 0);
    let status = call(&raw mut data, &raw mut size);
    if data.is_null() {
        return (status, None);
    }
    // SAFETY: the host wrote both; the buffer was made with exactly this capacity and is filled.
    (
        status,
        Some(unsafe { Vec::from_raw_parts(data, size, size) }),
    )
}

fn number<T: Default>(call: impl FnOnce(*mut T) -> u32) -> (u32, T) {
    let mut value = T::default();
    let status = call(&raw mut value);
    (status, value)
}

// SAFETY, of all that follows: each pointer comes from a slice with its length, or points to a value of ours that the
// host writes, for the time of the call only.

pub fn log(text: &str) {
    unsafe { proxy_log(2, text.as_ptr(), text.len()) };
}

pub fn time() -> (u32, u64) {
    number(|time| unsafe { proxy_get_current_time_nanoseconds(time) })
}

pub fn set_tick(period_ms: u32) -> u32 {
    unsafe { proxy_set_tick_period_milliseconds(period_ms) }
}

pub fn get_buffer(buffer: u32, start: u32, max: u32) -> Given {
    given(|d, s| unsafe { proxy_get_buffer_bytes(buffer, start, max, d, s) })
}

pub fn set_buffer(buffer: u32, start: u32, size: u32, value: &[u8]) -> u32 {
    unsafe { proxy_set_buffer_bytes(buffer, start, size, value.as_ptr(), value.len()) }
}

pub fn get_headers(map: u32) -> Given {
    given(|d, s| unsafe { proxy_get_header_map_pairs(map, d, s) })
}

pub fn set_headers(map: u32, pairs: &[u8]) -> u32 {
    unsafe { proxy_set_header_map_pairs(map, pairs.as_ptr(), pairs.len()) }
}

/// The size of a map, as the ABI has it: in bytes, or in headers, as the host likes.
pub fn headers_size(map: u32) -> (u32, u32) {
    number(|size| unsafe { proxy_get_header_map_size(map, size) })
}

pub fn get_header(map: u32, name: &str) -> Given {
    given(|d, s| unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), d, s) })
}

pub fn add_header(map: u32, name: &str, value: &[u8]) -> u32 {
    let (v, vs) = (value.as_ptr(), value.len());
    unsafe { proxy_add_header_map_value(map, name.as_ptr(), name.len(), v, vs) }
}

pub fn replace_header(map: u32, name: &str, value: &[u8]) -> u32 {
    let (v, vs) = (value.as_ptr(), value.len());
    unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), v, vs) }
}

pub fn remove_header(map: u32, name: &str) -> u32 {
    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) }
}

pub fn get_property(path: &[u8]) -> Given {
    given(|d, s| unsafe { proxy_get_property(path.as_ptr(), path.len(), d, s) })
}

pub fn set_property(path: &[u8], value: &[u8]) -> u32 {
    unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) }
}

pub fn get_shared(key: &str) -> (Given, u32) {
    let mut cas = 0;
    let value =
        given(|d, s| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), d, s, &raw mut cas) });
    (value, cas)
}

pub fn set_shared(key: &str, value: &[u8], cas: u32) -> u32 {
    unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) }
}

pub fn register_queue(name: &str) -> (u32, u32) {
    number(|token| unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), token) })
}

pub fn resolve_queue(vm_id: &str, name: &str) -> (u32, u32) {
    let (v, vs) = (vm_id.as_ptr(), vm_id.len());
    number(|token| unsafe { proxy_resolve_shared_queue(v, vs, name.as_ptr(), name.len(), token) })
}

pub fn dequeue(token: u32) -> Given {
    given(|d, s| unsafe { proxy_dequeue_shared_queue(token, d, s) })
}

pub fn enqueue(token: u32, value: &[u8]) -> u32 {
    unsafe { proxy_enqueue_shared_queue(token, value.as_ptr(), value.len()) }
}

pub fn continue_stream(stream: u32) -> u32 {
    unsafe { proxy_continue_stream(stream) }
}

pub fn close_stream(stream: u32) -> u32 {
    unsafe { proxy_close_stream(stream) }
}

pub fn answer(status: u32, details: &str, headers: &[u8], body: &[u8], grpc: i32) -> u32 {
    let (d, ds) = (details.as_ptr(), details.len());
    let (b, bs) = (body.as_ptr(), body.len());
    let (h, hs) = (headers.as_ptr(), headers.len());
    unsafe { proxy_send_local_response(status, d, ds, b, bs, h, hs, grpc) }
}

pub fn http_call(
    cluster: &str,
    headers: &[u8],
    body: &[u8],
    trailers: &[u8],
    timeout_ms: u32,
) -> (u32, u32) {
    let (c, cs) = (cluster.as_ptr(), cluster.len());
    let (h, hs) = (headers.as_ptr(), headers.len());
    let (b, bs) = (body.as_ptr(), body.len());
    let (t, ts) = (trailers.as_ptr(), trailers.len());
    number(|token| unsafe { proxy_http_call(c, cs, h, hs, b, bs, t, ts, timeout_ms, token) })
}

pub fn grpc_stream(cluster: &str, service: &str, method: &str, metadata: &[u8]) -> (u32, u32) {
    let (c, cs) = (cluster.as_ptr(), cluster.len());
    let (s, ss) = (service.as_ptr(), service.len());
    let (m, ms) = (method.as_ptr(), method.len());
    let (d, ds) = (metadata.as_ptr(), metadata.len());
    number(|token| unsafe { proxy_grpc_stream(c, cs, s, ss, m, ms, d, ds, token) })
}

pub fn grpc_send(token: u32, message: &[u8], end: bool) -> u32 {
    unsafe { proxy_grpc_send(token, message.as_ptr(), message.len(), end) }
}

pub fn grpc_cancel(token: u32) -> u32 {
    unsafe { proxy_grpc_cancel(token) }
}

pub fn grpc_close(token: u32) -> u32 {
    unsafe { proxy_grpc_close(token) }
}

pub fn get_status() -> (Given, u32) {
    let mut code = 0;
    let message = given(|d, s| unsafe { proxy_get_status(&raw mut code, d, s) });
    (message, code)
}

pub fn set_context(id: u32) -> u32 {
    unsafe { proxy_set_effective_context(id) }
}

pub fn done() -> u32 {
    unsafe { proxy_done() }
}

pub fn define_metric(kind: u32, name: &str) -> (u32, u32) {
    number(|id| unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), id) })
}

pub fn increment_metric(id: u32, by: i64) -> u32 {
    unsafe { proxy_increment_metric(id, by) }
}

pub fn record_metric(id: u32, value: u64) -> u32 {
    unsafe { proxy_record_metric(id, value) }
}

pub fn get_metric(id: u32) -> (u32, u64) {
    number(|value| unsafe { proxy_get_metric(id, value) })
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    // SAFETY: the host calls this once, before all else.
    unsafe { __wasm_call_ctors() };
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut buffer = Vec::with_capacity(size);
    let data = buffer.as_mut_ptr();
    std::mem::forget(buffer);
    data
}

/// A callback of the ABI: its name, its parameters after the context's id, what came, and what it returns.
macro_rules! callbacks {
    ($($name:ident($($arg:ident: $type:ty),*) => $event:ident { $came:expr } -> $result:ty { $answer:ident })*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(id: u32 $(, $arg: $type)*) -> $result {
            act::on(id, Event::$event, &$came).$answer()
        }
    )*};
}

callbacks! {
    proxy_on_vm_start(size: u32) => VmStart { Came::configuration(size) } -> u32 { truth }
    proxy_on_configure(size: u32) => Configure { Came::configuration(size) } -> u32 { truth }
    proxy_on_request_headers(_count: u32, end: u32) => RequestHeaders { Came::headers(end != 0) } -> u32 { action }
    proxy_on_request_body(size: u32, end: u32) => RequestBody { Came::body(size, end != 0) } -> u32 { action }
    proxy_on_request_trailers(count: u32) => RequestTrailers { Came::trailers(count) } -> u32 { action }
    proxy_on_response_headers(_count: u32, end: u32) => ResponseHeaders { Came::headers(end != 0) } -> u32 { action }
    proxy_on_response_body(size: u32, end: u32) => ResponseBody { Came::body(size, end != 0) } -> u32 { action }
    proxy_on_response_trailers(count: u32) => ResponseTrailers { Came::trailers(count) } -> u32 { action }
    proxy_on_tick() => Tick { Came::default() } -> () { nothing }
    proxy_on_queue_ready(token: u32) => QueueReady { Came::queue(token) } -> () { nothing }
    proxy_on_http_call_response(token: u32, headers: u32, body: u32, trailers: u32)
        => HttpCallResponse { Came::reply(token, headers, body, trailers) } -> () { nothing }
    proxy_on_grpc_receive_initial_metadata(token: u32, _count: u32)
        => GrpcInitialMetadata { Came::grpc(token, "") } -> () { nothing }
    proxy_on_grpc_receive(token: u32, size: u32)
        => GrpcReceive { Came::grpc(token, &format!(" size={size}")) } -> () { nothing }
    proxy_on_grpc_receive_trailing_metadata(token: u32, _count: u32)
        => GrpcTrailingMetadata { Came::grpc(token, "") } -> () { nothing }
    proxy_on_grpc_close(token: u32, status: u32)
        => GrpcClose { Came::grpc(token, &format!(" status={status}")) } -> () { nothing }
    proxy_on_done() => Done { Came::default() } -> u32 { truth }
    proxy_on_log() => Log { Came::default() } -> () { nothing }
    proxy_on_delete() => Delete { Came::default() } -> () { nothing }
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(id: u32, root: u32) {
    act::created(id, root);
}
