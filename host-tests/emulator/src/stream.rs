//! One request and its response inside a worker.

use crate::side::Side;
use sluice_embed::{Headers, Map, RootId, StreamId};

pub(crate) struct Stream {
    /// Its context in the VM; none where the VM was dead from the start.
    pub context: Option<StreamId>,
    /// The root context that it belongs to.
    pub root: Option<RootId>,
    pub request: Side,
    pub response: Side,
    /// The response's headers as they came, for where the VM has none.
    pub response_headers: Headers,
    pub response_trailers: Headers,
    pub request_headers: Headers,
    pub request_trailers: Headers,
    /// A local reply that waits for the running callback to return.
    pub prepared: Option<Reply>,
    /// The VM has died under it.
    pub lost: bool,
    /// It has been answered because the VM died.
    pub failure_replied: bool,
    /// The request has gone to the origin, and no whole response has come.
    pub upstream_open: bool,
    /// The origin's response has begun to come.
    pub upstream_responded: bool,
    /// The head of the answer has gone to the client.
    pub encoded: bool,
    /// It has ended: what the filter still asks for comes to nothing.
    pub over: bool,
    /// An answer of the gateway's own after which the connection is of no use.
    pub closes: bool,
    /// All of the answer has gone to the client.
    pub encode_complete: bool,
    /// When its head came.
    pub opened_at: u64,
    /// Bytes of the request's body that have come, and of the answer's that have gone.
    pub received: usize,
    pub sent: usize,
    /// Bits of `response.flags`.
    pub flags: i64,
    pub details: String,
    /// When the gateway gives up on it if nothing happens.
    pub idle_at: u64,
}

/// An answer of the gateway's own.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub status: u32,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub grpc_status: Option<u32>,
    pub details: String,
}

impl Reply {
    pub fn new(status: u32, body: &str, details: &str) -> Self {
        Self {
            status,
            headers: Headers::new(),
            body: body.as_bytes().to_vec(),
            grpc_status: None,
            details: details.to_owned(),
        }
    }

    /// The message that is sent: headers and body.
    pub fn message(self, is_grpc: bool, is_head: bool) -> (Headers, Vec<u8>) {
        let mut headers = Headers::from([(":status", self.status.to_string())]);
        for (name, value) in self.headers.iter() {
            headers.add(name, value);
        }
        if is_grpc {
            headers.replace(":status", "200");
            headers.replace("content-type", "application/grpc");
            let status = self.grpc_status.unwrap_or_else(|| grpc_status(self.status));
            headers.replace("grpc-status", status.to_string());
            if !self.body.is_empty() {
                headers.replace("grpc-message", &self.body);
            }
            return (headers, Vec::new());
        }
        if self.body.is_empty() {
            headers.remove("content-length");
            headers.remove("content-type");
        } else {
            headers.replace("content-length", self.body.len().to_string());
            if headers.get("content-type").is_none() {
                headers.add("content-type", "text/plain");
            }
        }
        (headers, if is_head { Vec::new() } else { self.body })
    }
}

/// The gRPC status that stands for an HTTP status, by gRPC's own table.
pub(crate) fn grpc_status(status: u32) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

impl Stream {
    /// One way of it.
    pub fn side(&mut self, way: sluice_embed::Side) -> &mut Side {
        match way {
            sluice_embed::Side::Request => &mut self.request,
            sluice_embed::Side::Response => &mut self.response,
        }
    }

    /// A map as it came.
    pub fn map(&mut self, map: Map) -> &mut Headers {
        match map {
            Map::RequestHeaders => &mut self.request_headers,
            Map::RequestTrailers => &mut self.request_trailers,
            Map::ResponseHeaders => &mut self.response_headers,
            Map::ResponseTrailers => &mut self.response_trailers,
        }
    }

    /// Whether a connection of HTTP/1.1 is closed after an answer whose head goes out now.
    pub fn closes(&self) -> bool {
        self.closes || !self.request.complete
    }

    pub fn new(context: Option<StreamId>) -> Self {
        Self {
            context,
            root: None,
            request: Side::default(),
            response: Side::default(),
            response_headers: Headers::new(),
            response_trailers: Headers::new(),
            request_headers: Headers::new(),
            request_trailers: Headers::new(),
            prepared: None,
            lost: context.is_none(),
            failure_replied: false,
            upstream_open: false,
            upstream_responded: false,
            encoded: false,
            over: false,
            closes: false,
            encode_complete: false,
            opened_at: 0,
            received: 0,
            sent: 0,
            flags: 0,
            details: String::new(),
            idle_at: 0,
        }
    }
}
