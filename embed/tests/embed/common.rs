//! Filters written as text, and a gateway of services in memory.
#![allow(clippy::unwrap_used, clippy::panic)] // only `#[test]` functions count as tests for clippy

use std::sync::{Arc, Mutex};

use sluice_embed::memory::{LogLines, ManualClock, MetricsStore, SharedQueues, SharedStore};
use sluice_embed::{
    Attributes, CallRefused, Engine, GrpcCall, GrpcStream, Headers, HttpCall, Limits, Module,
    Plugin, RootId, Services, StreamId, Upstreams, Vm, VmOptions,
};

/// Host functions that the filters of the tests call, by short names.
const IMPORTS: &str = r#"
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_effective_context" (func $act_on (param i32) (result i32)))
    (import "env" "proxy_continue_stream" (func $resume (param i32) (result i32)))
    (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
    (import "env" "proxy_send_local_response"
        (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value"
        (func $header (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_header_map_pairs" (func $set_headers (param i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value"
        (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_replace_header_map_value"
        (func $replace_header (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value"
        (func $remove_header (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_bytes"
        (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes"
        (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_shared_data"
        (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data"
        (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
    (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))
    (import "env" "proxy_http_call"
        (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_stream"
        (func $grpc_stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_send" (func $grpc_send (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_close" (func $grpc_close (param i32) (result i32)))
    (import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))
    (import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))
    (import "env" "proxy_done" (func $done (result i32)))
"#;

/// What every filter has: memory, an allocator that never frees, and `$say`, which logs a number of two digits.
/// Bytes 0 to 15 are `$say`'s; `(data ...)` of a test starts at 100; results go to 16 and up.
const PRELUDE: &str = r#"
    (memory (export "memory") 2)
    (global $heap (mut i32) (i32.const 65536))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
        (global.get $heap)
        (global.set $heap (i32.add (global.get $heap) (local.get $size))))
    (func $say (param $number i32)
        (i32.store8 (i32.const 0) (i32.add (i32.const 48) (i32.div_u (local.get $number) (i32.const 10))))
        (i32.store8 (i32.const 1) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
        (drop (call $log (i32.const 2) (i32.const 0) (i32.const 2))))
    (func $say_text (param $pointer i32)
        (drop (call $log (i32.const 2) (i32.load (local.get $pointer))
            (i32.load (i32.add (local.get $pointer) (i32.const 4))))))
"#;

/// A filter with these functions.
pub fn filter(functions: &str) -> Vec<u8> {
    let text = format!("(module {IMPORTS} {PRELUDE} {functions})");
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

pub fn engine() -> Engine {
    Engine::new(&Limits::default()).unwrap()
}

pub fn module(functions: &str) -> Module {
    engine().compile(&filter(functions)).unwrap()
}

/// A filter that was built before.
pub fn load(path: &std::path::Path) -> Module {
    let wasm = std::fs::read(path)
        .unwrap_or_else(|error| panic!("{}: {error}: run `make build`", path.display()));
    engine().compile(&wasm).unwrap()
}

/// Calls that were asked for; refuses those to `nowhere`, fails those to `broken`.
#[derive(Default)]
pub struct Calls(pub Mutex<Vec<u32>>);

impl Calls {
    fn to(&self, upstream: &[u8], token: u32) -> Result<(), CallRefused> {
        match upstream {
            b"nowhere" => Err(CallRefused::UnknownCluster),
            b"broken" => Err(CallRefused::Failed),
            _ => {
                self.0.lock().unwrap().push(token);
                Ok(())
            }
        }
    }
}

impl Upstreams for Calls {
    fn http_call(&self, token: u32, call: &HttpCall) -> Result<(), CallRefused> {
        self.to(&call.upstream, token)
    }

    fn grpc_call(&self, token: u32, call: &GrpcCall) -> Result<(), CallRefused> {
        self.to(&call.open.upstream, token)
    }

    fn grpc_stream(&self, token: u32, open: &GrpcStream) -> Result<(), CallRefused> {
        self.to(&open.upstream, token)
    }
}

/// A VM with one plugin, and what stands behind its services.
pub struct Gateway {
    pub vm: Vm,
    pub root: RootId,
    pub log: Arc<LogLines>,
    pub shared: Arc<SharedStore>,
    pub queues: Arc<SharedQueues>,
    pub metrics: Arc<MetricsStore>,
    pub calls: Arc<Calls>,
}

impl Gateway {
    pub fn new(functions: &str) -> Self {
        Self::with(
            &module(functions),
            &VmOptions::default(),
            &Plugin::default(),
        )
    }

    pub fn with(module: &Module, options: &VmOptions, plugin: &Plugin) -> Self {
        let log = Arc::new(LogLines::default());
        let shared = Arc::new(SharedStore::default());
        let queues = Arc::new(SharedQueues::default());
        let metrics = Arc::new(MetricsStore::default());
        let calls = Arc::new(Calls::default());
        let services = Services {
            shared: shared.clone(),
            queues: queues.clone(),
            clock: Arc::new(ManualClock::new(1_700_000_000_000_000_000)),
            metrics: metrics.clone(),
            log: log.clone(),
            upstreams: calls.clone(),
            ..Services::default()
        };
        let mut vm = Vm::new(module, options, &services).unwrap();
        let (root, _) = vm.start(plugin).unwrap_or_else(|error| {
            panic!("{error}\n{:?}", log.take());
        });
        Self {
            vm,
            root,
            log,
            shared,
            queues,
            metrics,
            calls,
        }
    }

    pub fn open(&mut self) -> StreamId {
        self.vm
            .open_stream(self.root, Attributes::default())
            .unwrap()
    }

    /// A stream whose request headers have been there.
    pub fn requested(&mut self) -> StreamId {
        let stream = self.open();
        let _ = self.vm.request_headers(stream, request(), true).unwrap();
        stream
    }

    /// The end of a stream.
    pub fn end(&mut self, stream: StreamId) {
        self.vm.done(stream).unwrap();
        self.vm.delete(stream).unwrap();
    }

    /// What was logged since the last time.
    pub fn said(&self) -> Vec<String> {
        self.log.take().into_iter().map(|(_, line)| line).collect()
    }
}

pub fn request() -> Headers {
    Headers::from([
        (":method", "GET"),
        (":path", "/path?query"),
        (":authority", "example.com"),
        ("x-one", "1"),
    ])
}
