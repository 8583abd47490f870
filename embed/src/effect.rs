//! What a filter asked for that the gateway carries out once the call is over.

use std::time::Duration;

use crate::headers::{Headers, Map, Side};
use crate::vm::{RootId, StreamId};

/// One thing that a filter asked for. Edits have been made in the VM's own copy already: they are listed for a gateway
/// that keeps the real headers and bodies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A header or trailer map was edited.
    EditHeaders {
        stream: StreamId,
        map: Map,
        edit: HeaderEdit,
    },
    /// Trailers were made where there were none, by touching them at the end of the body.
    AddTrailers { stream: StreamId, map: Map },
    /// A body was edited.
    EditBody {
        stream: StreamId,
        side: Side,
        edit: BodyEdit,
    },
    /// The route is to be chosen anew. Follows each edit of the request headers, once a call.
    ClearRouteCache(StreamId),
    /// Answer the stream. The answer passes through the response callbacks of the same filter.
    LocalReply(LocalReply),
    /// A paused request goes on.
    ResumeRequest(StreamId),
    /// A paused response goes on.
    ResumeResponse(StreamId),
    /// Reset the stream, asked for on one of its sides. Envoy's detail is `wasm_close_stream`.
    CloseStream { stream: StreamId, side: Side },
    /// An HTTP call that [`Upstreams`](crate::Upstreams) accepted. Its answer goes to
    /// [`Vm::http_call_response`](crate::Vm::http_call_response).
    HttpCall {
        token: u32,
        root: RootId,
        call: HttpCall,
    },
    /// A unary gRPC call that was accepted.
    GrpcCall {
        token: u32,
        root: RootId,
        call: GrpcCall,
    },
    /// A gRPC stream that was opened.
    GrpcStream {
        token: u32,
        root: RootId,
        open: GrpcStream,
    },
    /// A message on a gRPC stream.
    GrpcSend { token: u32, message: GrpcMessage },
    /// This side of a gRPC stream is closed; what comes from the other side still arrives. Ends a unary call.
    GrpcClose { token: u32 },
    /// A gRPC stream or call is reset; nothing more of it arrives.
    GrpcCancel { token: u32 },
    /// Call [`Vm::tick`](crate::Vm::tick) that long from now, and again after each tick. Takes the place of an earlier
    /// period; zero stops the ticks.
    TickPeriod { root: RootId, period: Duration },
}

/// A change of a header map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderEdit {
    Add { name: Vec<u8>, value: Vec<u8> },
    Replace { name: Vec<u8>, value: Vec<u8> },
    Remove { name: Vec<u8> },
    Set(Headers),
}

/// A change of a body, as far as it is in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEdit {
    Prepend(Vec<u8>),
    Append(Vec<u8>),
    Replace(Vec<u8>),
}

/// A response that the gateway makes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    pub stream: StreamId,
    pub status: u32,
    /// For access logs, white space replaced by `_`.
    pub details: Vec<u8>,
    /// Headers besides those that the gateway sets.
    pub headers: Headers,
    pub body: Vec<u8>,
    /// The gRPC status, if the filter gave a valid one (0 to 16).
    pub grpc_status: Option<u32>,
}

/// A request that a filter sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCall {
    /// The cluster, or what stands for one.
    pub upstream: Vec<u8>,
    /// With `:method`, `:path` and `:authority`; `content-length` is set when there is a body.
    pub headers: Headers,
    pub body: Vec<u8>,
    pub trailers: Headers,
    /// `None` is no limit.
    pub timeout: Option<Duration>,
}

/// The answer to an [`HttpCall`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpReply {
    pub headers: Headers,
    pub body: Vec<u8>,
    pub trailers: Option<Headers>,
}

/// A unary gRPC call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcCall {
    pub open: GrpcStream,
    pub message: Vec<u8>,
    /// Zero is no limit.
    pub timeout: Duration,
}

/// Where a gRPC stream or call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcStream {
    /// The cluster's name, or a serialized `GrpcService`.
    pub upstream: Vec<u8>,
    pub service: Vec<u8>,
    pub method: Vec<u8>,
    pub initial_metadata: Headers,
}

/// A message on a gRPC stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcMessage {
    pub bytes: Vec<u8>,
    /// Whether it is the last one from this side.
    pub end_of_stream: bool,
}
