//! What clients send, and what comes of it.

use crate::GatewayId;
use sluice_embed::Headers;
use std::time::Duration;

/// A request as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// The host that is asked for.
    pub authority: String,
    /// The other fields, in order.
    pub headers: Headers,
    /// The body's pieces; each reaches the gateway by itself.
    pub body: Vec<Vec<u8>>,
    /// The trailers, in order.
    pub trailers: Headers,
    /// Whether the end comes with the last piece of the body, as HTTP/2 can say it. HTTP/1.1 tells the end by itself.
    pub ends_with_body: bool,
    /// Whether the end never comes: the client sends what there is, and waits.
    pub unfinished: bool,
    /// The client's address.
    pub source: String,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            authority: "gateway.test".to_owned(),
            headers: Headers::new(),
            body: Vec::new(),
            trailers: Headers::new(),
            ends_with_body: false,
            unfinished: false,
            source: "127.0.0.1:40000".to_owned(),
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// With one more field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// With one more piece of the body.
    #[must_use]
    pub fn piece(mut self, piece: impl AsRef<[u8]>) -> Self {
        self.body.push(piece.as_ref().to_vec());
        self
    }

    /// With one more trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.trailers.add(name, value);
        self
    }
}

/// What a client does beside sending its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Client {
    /// Leaves early if the plan of the run says so.
    #[default]
    AsPlanned,
    /// Waits for its answer.
    Patient,
    /// Leaves so long after it began to send.
    LeavesAfter(Duration),
}

/// An answer, as far as it has come to the client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The fields, in order, `:status` among them.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers, in order.
    pub trailers: Headers,
    /// When the head came, in virtual time.
    pub at: Duration,
    /// The head was all there is.
    pub only_headers: bool,
    /// The gateway closes a connection of HTTP/1.1 after it: the request had not come in whole, or cannot be trusted to
    /// end where it seems to.
    pub closes: bool,
    /// Whether all of it has come.
    pub complete: bool,
}

impl Answer {
    /// The first field of this name, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// How an exchange has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has not.
    Open,
    /// The whole answer has come.
    Answered,
    /// The client has left.
    Aborted,
    /// The gateway has broken it off.
    Reset,
}

/// One request and what came of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Where it was sent.
    pub gateway: GatewayId,
    /// The worker that has it.
    pub worker: usize,
    /// When it was sent, in virtual time.
    pub sent: Duration,
    /// What was sent.
    pub request: Request,
    /// The answer, if it has begun to come.
    pub answer: Option<Answer>,
    /// How it has ended, if it has.
    pub ended: Ended,
    /// When it ended, in virtual time.
    pub ended_at: Duration,
    /// The gateway's word for how the response came about, as `response.code_details` has it.
    pub details: String,
    /// Its place in the origin's log, if it came there.
    pub at_origin: Option<usize>,
    /// When what was sent to the origin last comes there.
    pub(crate) upstream_at: u64,
    /// When there is a connection to the origin.
    pub(crate) connected_at: u64,
    /// There is no connection to the origin.
    pub(crate) unreachable: bool,
}

impl Exchange {
    pub(crate) fn is_over(&self) -> bool {
        self.ended != Ended::Open
    }

    /// The answer's status, or 0 where there is none.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.answer.as_ref().map_or(0, |answer| answer.status)
    }
}

/// A request as an origin sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OriginRequest {
    /// Whose it is: the place in the list of exchanges.
    pub exchange: usize,
    /// The fields, in order, pseudo-headers among them.
    pub headers: Headers,
    /// The body, as far as it has come.
    pub body: Vec<u8>,
    /// The trailers, in order.
    pub trailers: Headers,
    /// When the head came, in virtual time.
    pub at: Duration,
    /// The head was all there is.
    pub only_headers: bool,
    /// Whether all of it has come.
    pub complete: bool,
    /// Whether the gateway has broken it off.
    pub reset: bool,
}

impl OriginRequest {
    /// The first field of this name, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// What an origin answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginReply {
    /// How long it thinks, beyond the latency of the network.
    pub after: Duration,
    /// The status.
    pub status: u16,
    /// The fields, in order.
    pub headers: Headers,
    /// The body's pieces; each reaches the gateway by itself.
    pub body: Vec<Vec<u8>>,
    /// The trailers, in order.
    pub trailers: Headers,
    /// What goes wrong.
    pub trouble: Option<OriginTrouble>,
}

/// How an origin can fail a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginTrouble {
    /// The connection is refused: the request never comes.
    Refused,
    /// There is no healthy host: the request never comes.
    NoHost,
    /// The connection is reset before the response.
    ResetBefore,
    /// The connection is reset after so many pieces of the response's body.
    ResetAfter(usize),
    /// Nothing comes.
    Silent,
}

impl OriginReply {
    /// An answer with this status and body.
    #[must_use]
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        Self {
            after: Duration::ZERO,
            status,
            headers: Headers::new(),
            body: if body.is_empty() {
                Vec::new()
            } else {
                vec![body]
            },
            trailers: Headers::new(),
            trouble: None,
        }
    }

    /// With one more field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name, value);
        self
    }

    /// That fails like this.
    #[must_use]
    pub fn failing(trouble: OriginTrouble) -> Self {
        Self {
            trouble: Some(trouble),
            ..Self::new(200, "")
        }
    }
}
