//! What a gateway provides to its filters: the parts that a filter must be answered at once.

use std::sync::Arc;

use crate::effect::{GrpcCall, GrpcStream, HttpCall};
use crate::memory;

/// Everything that a [`Vm`](crate::Vm) asks of its gateway. The default is what [`memory`] provides: a store of its
/// own, a clock that stands still, no upstream.
#[derive(Clone)]
pub struct Services {
    pub shared: Arc<dyn SharedData>,
    pub queues: Arc<dyn Queues>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub metrics: Arc<dyn Metrics>,
    pub log: Arc<dyn Log>,
    pub upstreams: Arc<dyn Upstreams>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            shared: Arc::new(memory::SharedStore::default()),
            queues: Arc::new(memory::SharedQueues::default()),
            clock: Arc::new(memory::ManualClock::default()),
            random: Arc::new(memory::SeededRandom::new(0)),
            metrics: Arc::new(memory::MetricsStore::default()),
            log: Arc::new(memory::LogLines::default()),
            upstreams: Arc::new(memory::NoUpstreams),
        }
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

/// The store that all VMs with the same `vm_id` share.
pub trait SharedData: Send + Sync {
    /// The value of a key and its version.
    fn get(&self, key: &[u8]) -> Option<(Vec<u8>, u32)>;
    /// Writes a value. A version of 0 overwrites whatever is there, and a missing key takes any version.
    ///
    /// # Errors
    /// When the key has another version than `cas`.
    fn set(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), CasMismatch>;
}

/// The key has changed since it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CasMismatch;

/// The queues of a process. Whoever holds them tells the receiver of each entry, by
/// [`Vm::queue_ready`](crate::Vm::queue_ready).
pub trait Queues: Send + Sync {
    /// Makes a queue, or gives an existing one another receiver. Answers the token of the queue, never 0.
    fn register(&self, vm_id: &str, name: &[u8], receiver: Receiver) -> u32;
    fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32>;
    /// # Errors
    /// When no queue has the token.
    fn enqueue(&self, token: u32, value: &[u8]) -> Result<(), NoSuchQueue>;
    /// The oldest entry, or `None` when the queue is empty.
    ///
    /// # Errors
    /// When no queue has the token.
    fn dequeue(&self, token: u32) -> Result<Option<Vec<u8>>, NoSuchQueue>;
}

/// No queue has this token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchQueue;

/// Who is told of a queue's entries. As in Envoy it outlives a rebuilt VM: the new one is told, if it has a root
/// context of the same number ([`Vm::root`](crate::Vm::root)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receiver {
    /// [`VmOptions::number`](crate::VmOptions::number) of the VM that registered the queue.
    pub vm: u64,
    /// The number of the root context.
    pub root: u32,
}

/// Time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch.
    fn now_nanos(&self) -> u64;
    /// Nanoseconds since some instant; never goes back.
    fn monotonic_nanos(&self) -> u64;
}

/// Random bytes.
pub trait Random: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// The metrics of a process. The VM checks what filters may do with which kind; ids are the gateway's own.
pub trait Metrics: Send + Sync {
    /// Makes a metric, or finds it: the same name and kind is the same metric.
    fn define(&self, kind: MetricKind, name: &str) -> u32;
    /// Adds to a counter (`by` is positive) or a gauge.
    fn increment(&self, id: u32, by: i64);
    /// Adds to a counter, sets a gauge, or records a value in a histogram.
    fn record(&self, id: u32, value: u64);
    /// The value of a counter or gauge.
    fn get(&self, id: u32) -> u64;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// Where log lines go.
pub trait Log: Send + Sync {
    fn log(&self, level: Level, message: &str);
    /// What is less than this need not be logged. The SDK can ask.
    fn level(&self) -> Level {
        Level::Trace
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// Says at once whether a call can be made. A call that is accepted is in the effects too: a gateway sends it here or
/// when it carries them out.
pub trait Upstreams: Send + Sync {
    /// # Errors
    /// When the call cannot be made. No answer may follow then.
    fn http_call(&self, token: u32, call: &HttpCall) -> Result<(), CallRefused>;
    /// # Errors
    /// When the call cannot be made.
    fn grpc_call(&self, token: u32, call: &GrpcCall) -> Result<(), CallRefused>;
    /// # Errors
    /// When the stream cannot be opened.
    fn grpc_stream(&self, token: u32, open: &GrpcStream) -> Result<(), CallRefused>;
}

/// Why a call is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallRefused {
    /// No such cluster: the filter sees `BadArgument`, for gRPC `ParseFailure`.
    UnknownCluster,
    /// It failed on the spot: the filter sees `InternalFailure`.
    Failed,
}
