//! The origin of a scenario in the emulator: for requests that pass the filter, and for the filter's own calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host_tests::fidelity::scenario::{Behaviour, Bytes, End, Fields, Scenario};
use host_tests::message::Message;
use sluice_embed::{Headers, HttpCall, HttpReply};
use sluice_emulator::{CallAnswer, Origin, OriginReply, OriginRequest, OriginTrouble};

use super::wire::{self, Rest};

/// What a filter gets where the connection closes instead of an answer.
const CLOSED: &str = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";

#[derive(Clone)]
pub struct Backend {
    behaviours: BTreeMap<String, Behaviour>,
    trailers: bool,
    /// Calls that have come from the filter. Those from clients are in the world's own log.
    calls: Arc<Mutex<Vec<Message>>>,
}

impl Backend {
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            behaviours: scenario.origin.clone(),
            trailers: scenario.trailers,
            calls: Arc::default(),
        }
    }

    pub fn calls(&self) -> Vec<Message> {
        self.calls.lock().unwrap().clone()
    }

    fn reply(&self, headers: &Headers) -> OriginReply {
        let path = String::from_utf8_lossy(headers.get(":path").unwrap_or_default()).into_owned();
        let path = path.split('?').next().unwrap_or_default();
        let behaviour = self.behaviours.get(path).cloned().unwrap_or_default();
        let pieces: Vec<Vec<u8>> = behaviour.pieces.iter().map(Bytes::bytes).collect();
        let body = behaviour.body.bytes();
        let cut = behaviour.end == End::Cut;
        let mut reply = OriginReply::new(behaviour.status, "");
        reply.after = Duration::from_millis(behaviour.delay_ms);
        reply.headers = fields(&behaviour.headers);
        if headers.get(":method") == Some(b"HEAD") {
            reply = reply.header("content-length", body.len().to_string());
        } else if matches!(behaviour.status, 204 | 304) {
        } else if cut || !pieces.is_empty() || !behaviour.trailers.is_empty() {
            reply = reply.header("transfer-encoding", "chunked");
            reply.body = pieces;
            if self.trailers {
                reply.trailers = fields(&behaviour.trailers);
            }
        } else {
            reply = reply.header("content-length", body.len().to_string());
            reply.body = vec![body];
            reply.body.retain(|body| !body.is_empty());
        }
        reply.trouble = match behaviour.end {
            End::Complete => None,
            End::NoAnswer => Some(OriginTrouble::ResetBefore),
            End::Cut => Some(OriginTrouble::ResetAfter(reply.body.len())),
            End::Never => Some(OriginTrouble::Silent),
        };
        reply
    }

    /// Answers a call of the filter's.
    pub fn call(&self, call: &HttpCall) -> CallAnswer {
        let rest = Rest {
            only_headers: call.body.is_empty() && call.trailers.is_empty(),
            body: &call.body,
            trailers: self.trailers.then_some(&call.trailers),
            complete: true,
        };
        self.calls
            .lock()
            .unwrap()
            .push(wire::request(&call.headers, &rest));
        let reply = self.reply(&call.headers);
        let mut headers = Headers::from([(":status", reply.status.to_string())]);
        for (name, value) in reply.headers.iter() {
            headers.add(name, value);
        }
        let answer = HttpReply {
            headers,
            body: reply.body.concat(),
            trailers: (!reply.trailers.is_empty()).then_some(reply.trailers),
        };
        match reply.trouble {
            None => CallAnswer::Reply(answer, reply.after),
            Some(OriginTrouble::Silent) => CallAnswer::Silent,
            Some(OriginTrouble::ResetAfter(_)) => CallAnswer::Reset,
            Some(_) => CallAnswer::new(503, CLOSED),
        }
    }
}

impl Origin for Backend {
    /// Nobody listens where these paths lead.
    fn connect(&mut self, request: &OriginRequest) -> Result<(), OriginTrouble> {
        match request.headers.get(":path") {
            Some(path) if path.starts_with(b"/dead") => Err(OriginTrouble::Refused),
            _ => Ok(()),
        }
    }

    fn answer(&mut self, request: &OriginRequest) -> OriginReply {
        self.reply(&request.headers)
    }
}

pub fn fields(fields: &Fields) -> Headers {
    let fields = fields.iter();
    fields.map(|(name, value)| (name, value.bytes())).collect()
}
