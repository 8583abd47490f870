//! What the schedule holds.

use crate::baton::Seat;
use crate::plan::Fault;
use sluice_embed::{Headers, HttpReply, RootId};
use std::sync::Arc;

/// A worker of a gateway: the place of the gateway in the list, and the worker's number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId {
    pub gateway: usize,
    pub worker: usize,
}

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.worker {
            crate::services::CANARY => write!(f, "g{} canary", self.gateway),
            crate::services::MAIN => write!(f, "g{} main", self.gateway),
            worker => write!(f, "g{}w{worker}", self.gateway),
        }
    }
}

/// One entry of the schedule.
pub(crate) enum Event {
    /// An interrupted call goes on.
    Resume(Arc<Seat>),
    /// A worker has something to do. It waits until the worker is free.
    Worker(WorkerId, Task),
    /// A part of an exchange's request has come to the origin.
    Origin(usize, Piece),
    /// A callout has come to its server.
    CallArrives(u64),
    /// Bytes of a stream to Redis have come there.
    StreamArrives(StreamKey, Vec<u8>),
    /// Something happens that was timed.
    Fault(Fault),
}

/// A gRPC stream of a worker, by its token in one life of the worker's VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamKey {
    pub worker: WorkerId,
    pub life: u32,
    pub token: u32,
}

/// A part of a message, and whether it is the last.
#[derive(Debug)]
pub(crate) enum Piece {
    Headers(Headers, bool),
    Body(Vec<u8>, bool),
    Trailers(Headers),
}

/// What a worker is to do.
pub(crate) enum Task {
    /// A part of a client's request has come.
    Request(usize, Piece),
    /// A client has left.
    Abort(usize),
    /// A part of the origin's response has come.
    Response(usize, Piece),
    /// The origin cannot be reached, or has broken off.
    UpstreamFailed(usize, UpstreamFailure),
    /// Nothing has happened on a stream for as long as the gateway allows.
    Idle(usize),
    /// A timer of a root context has fired. The number tells it from timers that were set since.
    Tick(RootId, u64),
    /// A queue has an entry, for the root context of this number.
    Queue { root: u32, token: u32 },
    /// A callout has ended; without a reply if it was reset.
    CallEnds(u64, Option<HttpReply>),
    /// A gRPC stream is open.
    StreamOpens(StreamKey),
    /// A message has come on a gRPC stream.
    StreamMessage(StreamKey, Vec<u8>),
    /// A gRPC stream has ended.
    StreamEnds(StreamKey, StreamEnd),
    /// The filter gets another configuration.
    Reload(Vec<u8>),
    /// The VM crashes in its next call, after so many of its host calls on shared state.
    Kill(u32),
    /// The process has been killed and started again.
    Restart,
}

/// How a gRPC stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// There is no connection.
    Unavailable,
    /// The server has closed it.
    Closed,
    /// It is broken off.
    Reset,
}

/// Why a request to the origin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamFailure {
    Refused,
    NoHost,
    Reset,
    Timeout,
}
