//! The program: what to do in which callback. Unknown fields are mistakes.

use serde::Deserialize;
use std::collections::BTreeMap;

/// For each callback its rules; the first whose guard holds is followed. A callback without one is not logged.
pub type Program = BTreeMap<Event, Vec<Rule>>;

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    VmStart,
    Configure,
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    Tick,
    QueueReady,
    HttpCallResponse,
    GrpcInitialMetadata,
    GrpcReceive,
    GrpcTrailingMetadata,
    GrpcClose,
    Done,
    Log,
    Delete,
}

#[derive(Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    #[serde(rename = "if")]
    pub guard: Guard,
    #[serde(rename = "do")]
    pub ops: Vec<Op>,
    #[serde(rename = "return")]
    pub answer: Return,
    /// Nothing of it is logged: for crowds.
    pub quiet: bool,
}

/// All that is given must hold.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// The request's path, without the query.
    pub path: Option<String>,
    /// The stream's number: 1 is the VM's first.
    pub stream: Option<u32>,
    /// The how-many-th time that this context has this callback, from 1.
    pub nth: Option<u32>,
    /// The end of the stream comes with this callback.
    pub end: Option<bool>,
    /// The name of the queue, of the call or of the gRPC stream.
    pub of: Option<String>,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "snake_case")]
pub enum Return {
    /// `Continue`; from `vm_start`, `configure` and `done`: true.
    #[default]
    Continue,
    /// `Pause`.
    Pause,
    /// From `vm_start`, `configure` and `done`: false.
    False,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    GetShared(String),
    SetShared {
        key: String,
        #[serde(default)]
        value: Bytes,
        #[serde(default)]
        cas: Option<Cas>,
    },
    RegisterQueue(String),
    ResolveQueue {
        vm_id: String,
        name: String,
    },
    /// To a queue by its name, or to a token that was never given out when this VM knows no such queue.
    Enqueue {
        queue: String,
        value: Bytes,
    },
    Dequeue(String),
    GetHeader {
        map: Map,
        name: String,
    },
    /// All pairs in their order, or those whose names start so.
    GetHeaders {
        map: Map,
        #[serde(default)]
        prefix: String,
    },
    CountHeaders(Map),
    AddHeader {
        map: Map,
        name: String,
        value: Bytes,
    },
    ReplaceHeader {
        map: Map,
        name: String,
        value: Bytes,
    },
    RemoveHeader {
        map: Map,
        name: String,
    },
    SetHeaders {
        map: Map,
        pairs: Pairs,
    },
    GetBuffer {
        buffer: Buffer,
        #[serde(default)]
        start: u32,
        #[serde(default = "most")]
        max: u32,
    },
    /// Replaces `size` bytes from `start` on.
    SetBuffer {
        buffer: Buffer,
        #[serde(default)]
        start: u32,
        #[serde(default = "most")]
        size: u32,
        value: Bytes,
    },
    GetProperty {
        path: Vec<String>,
        #[serde(default)]
        show: Show,
    },
    SetProperty {
        path: Vec<String>,
        value: Bytes,
    },
    /// A local reply.
    Answer {
        status: u32,
        #[serde(default)]
        details: String,
        #[serde(default)]
        headers: Pairs,
        #[serde(default)]
        body: Bytes,
        #[serde(default)]
        grpc_status: Option<i32>,
    },
    /// A local reply with this status for each stream that there is.
    AnswerAll(u32),
    Continue(Direction),
    Close(Direction),
    Context(Context),
    HttpCall {
        name: String,
        cluster: String,
        headers: Pairs,
        #[serde(default)]
        body: Bytes,
        #[serde(default)]
        trailers: Pairs,
        timeout_ms: u32,
    },
    GrpcStream {
        name: String,
        cluster: String,
        service: String,
        method: String,
    },
    GrpcSend {
        to: String,
        message: Bytes,
        #[serde(default)]
        end: bool,
    },
    GrpcCancel(String),
    GrpcClose(String),
    /// The status and message of the gRPC callback at hand.
    GetStatus,
    SetTick(u32),
    DefineMetric {
        kind: Kind,
        name: String,
    },
    IncrementMetric {
        name: String,
        by: i64,
    },
    RecordMetric {
        name: String,
        value: u64,
    },
    GetMetric(String),
    /// Asks twice: whether the second time is not before the first.
    Time,
    /// `proxy_done`: the context that said false in `done` is done now.
    Done,
    /// An illegal instruction: the VM is lost.
    Trap,
}

fn most() -> u32 {
    u32::MAX
}

pub type Pairs = Vec<(String, Bytes)>;

/// Text, or any bytes.
#[derive(Deserialize, Debug, Clone)]
#[serde(untagged)]
pub enum Bytes {
    Text(String),
    Hex { hex: String },
    Fill { fill: String, times: usize },
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Bytes {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Hex { hex } => hex
                .as_bytes()
                .chunks(2)
                .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect(),
            Self::Fill { fill, times } => fill.repeat(*times).into_bytes(),
        }
    }
}

/// The version last read of a key (0 when it was not there), and something added to it.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Cas {
    pub of: String,
    #[serde(default)]
    pub plus: u32,
}

/// The ABI's numbers.
#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Map {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
    GrpcInitialMetadata = 4,
    GrpcTrailingMetadata = 5,
    CallHeaders = 6,
    CallTrailers = 7,
    /// No such map.
    None = 99,
}

/// The ABI's numbers.
#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    CallBody = 4,
    GrpcMessage = 5,
    VmConfiguration = 6,
    PluginConfiguration = 7,
    /// No such buffer.
    None = 99,
}

/// How to show a property's value.
#[derive(Deserialize, Debug, Clone, Copy, Default)]
#[serde(rename_all = "snake_case")]
pub enum Show {
    #[default]
    Text,
    /// Eight bytes, the first the lowest.
    Number,
    /// How many bytes, not which.
    Size,
}

/// The ABI's numbers.
#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Request = 0,
    Response = 1,
}

#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// The one whose callback runs.
    Own,
    Root,
    /// A stream by its number, whether it is still there or not.
    Stream(u32),
    /// An id as it is.
    Id(u32),
}

/// The ABI's numbers.
#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}
