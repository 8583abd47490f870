//! How idempotency keys are kept: what a policy comes to.

use super::etcd::Login as EtcdLogin;
use super::scripts::Keys;
use super::seal::AtRest;
use crate::gcra::Ps;
use crate::redis::breaker;
use crate::redis::durability::Durability;
use crate::redis::pipe::{Limits, Login};
use std::time::Duration;

/// How one worker is run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub routes: Vec<Route>,
    /// Stands before the key of every record.
    pub key_prefix: String,
    /// How long one operation may take.
    pub timeout: Ps,
    pub breaker: breaker::Settings,
    pub store: Store,
    pub at_rest: AtRest,
    /// Parts that the records are spread over, each with a hash tag of its own: 1 to 256. To change it is to forget
    /// every record.
    pub partitions: u16,
    /// The request header that carries the fencing number upstream, lower case. None: it is not sent.
    pub fence_header: Option<String>,
    pub commit_order: CommitOrder,
    /// Exchanges that one worker may have open at once; one more is answered 503. At least 1.
    pub max_open: usize,
    /// Bytes of answers that one worker may hold at once, over all exchanges; an answer past it counts as oversized.
    pub max_held: usize,
    /// What one worker remembers.
    pub memory: Memory,
    /// Bytes of one body that the gateway buffers; of more it makes an error of its own.
    pub gateway_buffer: usize,
}

/// How long answers are remembered, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    pub max_bytes: usize,
    /// For so long after its last word on an answer the store is not asked for it again, unless the record ends before.
    pub trusted_for: Ps,
}

impl Settings {
    /// Where the records live.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys {
            prefix: self.key_prefix.clone(),
            partitions: self.partitions,
        }
    }
}

/// What an answer has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOrder {
    /// All of it is held until it is stored. The gateway must give the filter the body although the headers are held
    /// (Envoy: `allow_on_headers_stop_iteration`).
    BeforeHeaders,
    /// Only its last piece is held until it is stored; for gateways that cannot do the other. A client may see the
    /// answer begin although it is never stored, and the fingerprint does not cover the request's body.
    BeforeEnd,
}

/// The keys of one route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Part of the scope: the same key on another route is another key.
    pub name: String,
    /// Whether a request without a key is refused.
    pub required: bool,
    pub key_mode: KeyMode,
    /// How long a record is kept after its last change. Whole milliseconds.
    pub retention: Duration,
    /// How long an execution is taken for alive without a sign of life; far shorter than the retention. Whole
    /// milliseconds.
    pub lease: Duration,
    /// The lease is renewed for so long after the request was sent, then no more.
    pub execution: Duration,
    /// How long a request waits for another with its key; zero: not at all.
    pub wait: Duration,
    /// The answers that are stored, as ranges with both ends included. Any other releases the key: the policy says
    /// that such an answer means that nothing was done.
    pub statuses: Vec<(u16, u16)>,
    /// Bytes of a request's body at most; a longer one is answered 413.
    pub max_request_body: usize,
    /// Bytes of an answer's body that are stored at most; of a longer one a tombstone is.
    pub max_response_body: usize,
    pub headers: HeaderFilter,
    pub on_store_error: OnStoreError,
    pub on_commit_error: OnCommitError,
    pub on_timeout: OnTimeout,
    /// Everything is decided, recorded and counted, and no request or answer is touched.
    pub dry_run: bool,
    pub outbox: Option<Outbox>,
}

/// How the header field of a key is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyMode {
    /// A structured-field string.
    Strict,
    /// A bare value is taken as well.
    Compat,
}

/// The header fields that a replay repeats; names in lower case. Those that no replay may repeat (`set-cookie`, `date`,
/// hop-by-hop) are left out whatever this says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderFilter {
    /// These only.
    Allow(Vec<String>),
    /// All but these.
    Deny(Vec<String>),
}

/// What a request is told whose key could not be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStoreError {
    /// 503: nothing is sent.
    Closed,
    /// It is sent without the promise.
    Open,
}

/// What a client is told whose answer could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCommitError {
    /// 503 in place of the answer.
    Strict,
    /// The answer, flagged as not recorded.
    Deliver,
}

/// What becomes of a request that the upstream did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTimeout {
    /// Nobody knows whether it was carried out: the key is left to become unknown.
    Unknown,
    /// The gateway's 504 is stored, and replayed to retries.
    Store,
}

/// An event for each stored answer, in the same write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    pub trim: Trim,
    /// Response headers that the event repeats, lower case.
    pub headers: Vec<String>,
}

/// How the stream of events is kept short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    Nothing,
    /// About so many events stay in a partition.
    Length(u64),
    /// Events stay about so long.
    Age(Duration),
}

/// What keeps the records.
#[derive(Debug, Clone)]
pub enum Store {
    /// One, or several alike that vote.
    Redis(Redis),
    Etcd(Etcd),
}

/// How Redis is used.
#[derive(Debug, Clone)]
pub struct Redis {
    pub login: Login,
    pub limits: Limits,
    /// Who else must have what acquires and commits write.
    pub durability: Option<Durability>,
}

/// How etcd is used.
#[derive(Debug, Clone)]
pub struct Etcd {
    /// None: it does not want to know who asks.
    pub login: Option<EtcdLogin>,
    /// Requests under way at once at most.
    pub in_flight: usize,
}
