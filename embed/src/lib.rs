//! A proxy-wasm host (ABI 0.2.1) with the semantics of Envoy, on wasmtime.
//!
//! A gateway calls a [`Vm`] with what happened (request headers came, a timer fired, a call was answered). The filter
//! runs, and what it did comes back: an [`Action`] for the stream, and a list of [`Effect`]s that the gateway carries
//! out. What a filter must be answered at once (headers, bodies, shared data, clock, metrics) is answered inside, by
//! the [`Services`] that the gateway gives. Nothing waits, nothing is global: the same calls give the same effects.
//!
//! ```
//! use sluice_embed::{Action, Attributes, Effect, Engine, Headers, Limits, Plugin, Services, Vm, VmOptions};
//!
//! # #[cfg(feature = "compile")] fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A filter that answers every request itself: status 403.
//! let filter = wat::parse_str(r#"(module
//!     (import "env" "proxy_send_local_response"
//!         (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
//!     (memory (export "memory") 1)
//!     (func (export "proxy_abi_version_0_2_1"))
//!     (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
//!     (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
//!         (drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 0)
//!             (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
//!         (i32.const 0)))"#)?;
//! let module = Engine::new(&Limits::default())?.compile(&filter)?;
//! let mut vm = Vm::new(&module, &VmOptions::default(), &Services::default())?;
//! let (root, _) = vm.start(&Plugin::default())?;
//! let stream = vm.open_stream(root, Attributes::default())?;
//! let headers = Headers::from([(":method", "GET"), (":path", "/"), (":authority", "example.com")]);
//! let outcome = vm.request_headers(stream, headers, true)?;
//! assert!(matches!(outcome.effects[..], [Effect::LocalReply(ref reply)] if reply.status == 403));
//! assert!(matches!(outcome.action, Action::Pause(_)));    // a local reply stops the stream, whatever the filter says
//! # Ok(()) }
//! # #[cfg(not(feature = "compile"))] fn main() {}
//! ```

mod abi;
mod action;
mod attributes;
mod context;
mod effect;
mod engine;
mod error;
mod guest;
mod headers;
mod host;
pub mod memory;
mod pairs;
mod precompiled;
mod services;
mod status;
mod vm;

pub use action::{Action, Hold, Outcome};
pub use attributes::Attributes;
pub use effect::{
    BodyEdit, Effect, GrpcCall, GrpcMessage, GrpcStream, HeaderEdit, HttpCall, HttpReply,
    LocalReply,
};
pub use engine::{Engine, Limits, Module};
pub use error::{Cause, Failure, LoadError, StartError, VmError};
pub use headers::{Headers, Map, Side};
pub use services::{
    CallRefused, CasMismatch, Clock, Level, Log, MetricKind, Metrics, NoSuchQueue, Queues, Random,
    Receiver, Services, SharedData, Upstreams,
};
pub use vm::{Plugin, RootId, StreamId, Vm, VmOptions};
