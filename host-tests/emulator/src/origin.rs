//! Behind the filter: requests on their way to the origin, its responses on their way back, and answers on their way to
//! the client.

use crate::core::Core;
use crate::event::{Event, Piece, Task, UpstreamFailure};
use crate::exchange::{OriginReply, OriginRequest, OriginTrouble};
use crate::stream::Reply;
use crate::worker::Worker;
use sluice_embed::{Map, Side};
use std::time::Duration;

/// What Envoy calls a refused connection.
pub(crate) const CONNECTION_REFUSED: &str = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";

impl Worker {
    /// What is behind the filter: the origin for a request, the client for a response.
    pub fn pass_headers(&mut self, core: &Core, x: usize, way: Side, end: bool) {
        match way {
            Side::Request => self.pass_request_headers(core, x, end),
            Side::Response => self.pass_response_headers(core, x, end),
        }
    }

    pub fn pass_data(&mut self, core: &Core, x: usize, way: Side, piece: Vec<u8>, end: bool) {
        match way {
            Side::Request if piece.is_empty() && !end => {}
            Side::Request => self.pass_request_piece(core, x, Piece::Body(piece, end)),
            Side::Response => self.pass_response_data(core, x, &piece, end),
        }
    }

    pub fn pass_trailers(&mut self, core: &Core, x: usize, way: Side) {
        match way {
            Side::Request => {
                let trailers = self.map(x, Map::RequestTrailers);
                self.pass_request_piece(core, x, Piece::Trailers(trailers));
            }
            Side::Response => {
                core.answer_trailers(x, self.map(x, Map::ResponseTrailers));
                self.finish(core, x);
            }
        }
    }

    /// The request's head goes on to the origin.
    fn pass_request_headers(&mut self, core: &Core, x: usize, end: bool) {
        let headers = self.map(x, Map::RequestHeaders);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.request_headers = headers.clone();
        if headers.get(":path").is_none() || headers.get("x-forwarded-proto").is_none() {
            // Routes are chosen by these.
            stream.flags |= 0x100;
            self.local_reply(core, x, Reply::new(404, "", "route_not_found"));
            return;
        }
        let broken = |value: &[u8]| value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
        if let Some((name, _)) = headers.iter().find(|(_, value)| broken(value)) {
            stream.flags |= 0x4_0000;
            let name = String::from_utf8_lossy(name);
            let text = format!("invalid header value for: {name}");
            let details = format!(
                "filter_removed_required_request_headers{{invalid_header_value_for:_{name}}}"
            );
            self.local_reply(core, x, Reply::new(503, &text, &details));
            return;
        }
        let mut state = core.state();
        let state_ = &mut *state;
        let request = OriginRequest {
            exchange: x,
            headers: headers.clone(),
            ..OriginRequest::default()
        };
        let faults = state_.plan.origin.clone();
        let trouble = match state_.gateways[self.id.gateway].origin.connect(&request) {
            Err(trouble) => Some(trouble),
            Ok(()) if state_.draws.strikes(faults.refused) => Some(OriginTrouble::Refused),
            Ok(()) if state_.draws.strikes(faults.no_host) => Some(OriginTrouble::NoHost),
            Ok(()) => None,
        };
        stream.upstream_open = true;
        let latency = state_.plan.latency.clone();
        let connected_at = state_.now + state_.draws.span(latency.connect);
        let at = connected_at + state_.draws.span(latency.origin);
        state_.exchanges[x].connected_at = connected_at;
        state_.exchanges[x].upstream_at = at;
        match trouble {
            None => state_.enter(at, Event::Origin(x, Piece::Headers(headers, end))),
            Some(OriginTrouble::NoHost) => {
                stream.upstream_open = false;
                drop(state);
                self.upstream_failed(core, x, UpstreamFailure::NoHost);
            }
            Some(_) => {
                state_.note(format_args!("#{x} fault: origin refuses"));
                let failure = Task::UpstreamFailed(x, UpstreamFailure::Refused);
                state_.task(at, self.id, failure);
                state_.exchanges[x].unreachable = true;
            }
        }
    }

    /// Sends a piece after those that are on their way.
    fn pass_request_piece(&mut self, core: &Core, x: usize, piece: Piece) {
        let open = self
            .streams
            .get(&x)
            .is_some_and(|stream| stream.upstream_open);
        let mut state = core.state();
        if !open || state.exchanges[x].unreachable {
            return;
        }
        let latency = state.plan.latency.origin;
        let length = state.draws.span(latency);
        let at = (state.now + length).max(state.exchanges[x].upstream_at + 1);
        state.exchanges[x].upstream_at = at;
        state.enter(at, Event::Origin(x, piece));
    }

    /// The answer's head goes to the client.
    fn pass_response_headers(&mut self, core: &Core, x: usize, end: bool) {
        let headers = self.map(x, Map::ResponseHeaders);
        let Some(stream) = self.streams.get_mut(&x).filter(|stream| !stream.over) else {
            return;
        };
        stream.encoded = true;
        core.answer_headers(x, headers, end, stream.closes());
        if end {
            self.finish(core, x);
        }
    }

    fn pass_response_data(&mut self, core: &Core, x: usize, piece: &[u8], end: bool) {
        if self.streams.get(&x).is_none_or(|stream| stream.over) {
            return;
        }
        if let Some(stream) = self.streams.get_mut(&x) {
            stream.sent += piece.len();
        }
        core.answer_data(x, piece);
        if end {
            self.finish(core, x);
        }
    }

    /// A part of the origin's response has come.
    pub fn response(&mut self, core: &Core, x: usize, piece: Piece) {
        self.touch(core, x);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        // After a local reply nobody waits for it.
        if !stream.upstream_open {
            return;
        }
        let is_last = !matches!(piece, Piece::Headers(_, false) | Piece::Body(_, false));
        stream.upstream_open = !is_last;
        match piece {
            Piece::Headers(mut headers, end) => {
                let took = core.upstream_millis(x);
                headers.add("x-envoy-upstream-service-time", took.to_string());
                stream.upstream_responded = true;
                stream.details = "via_upstream".into();
                self.headers_come(core, x, Side::Response, headers, end);
            }
            Piece::Body(piece, end) => self.data_comes(core, x, Side::Response, piece, end, false),
            Piece::Trailers(trailers) => {
                stream.response_trailers = trailers;
                stream.response.trailers = true;
                self.trailers_come(core, x, Side::Response);
            }
        }
    }

    /// The origin cannot be reached, or has broken off, or is too slow.
    pub fn upstream_failed(&mut self, core: &Core, x: usize, failure: UpstreamFailure) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let was_open = std::mem::replace(&mut stream.upstream_open, false);
        if !was_open && failure != UpstreamFailure::NoHost {
            return;
        }
        let (flag, status, body, details) = match failure {
            UpstreamFailure::Refused => (
                0x20,
                503,
                "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
                CONNECTION_REFUSED,
            ),
            UpstreamFailure::NoHost => (0x02, 503, "no healthy upstream", "no_healthy_upstream"),
            UpstreamFailure::Reset => (
                0x40,
                503,
                "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
                "upstream_reset_before_response_started{connection_termination}",
            ),
            UpstreamFailure::Timeout => (0x04, 504, "upstream request timeout", "response_timeout"),
        };
        stream.flags |= flag;
        core.upstream_reset(x);
        if stream.upstream_responded {
            // A body of unknown length that ends early breaks the rules; one that says its length is only cut short.
            let sized = stream.response_headers.get("content-length").is_some();
            let reason = if sized {
                "connection_termination"
            } else {
                stream.flags = stream.flags & !flag | 0x80_0000;
                "protocol_error"
            };
            stream.details = format!("upstream_reset_after_response_started{{{reason}}}");
            self.reset(core, x);
        } else {
            self.local_reply(core, x, Reply::new(status, body, details));
        }
    }
}

impl Core {
    /// How long the origin has had a request.
    fn upstream_millis(&self, x: usize) -> u128 {
        let state = self.state();
        let came = state.exchanges[x].at_origin;
        let came = came.map_or(Duration::ZERO, |seen| state.origin_log[seen].at);
        Duration::from_nanos(state.now)
            .saturating_sub(came)
            .as_millis()
    }

    /// The gateway's connection to the origin is gone: what the origin has of the request is all it gets.
    fn upstream_reset(&self, x: usize) {
        let mut state = self.state();
        if let Some(seen) = state.exchanges[x].at_origin
            && !state.origin_log[seen].complete
        {
            state.origin_log[seen].reset = true;
        }
    }

    /// A part of a request has come to the origin.
    pub fn at_origin(&self, x: usize, piece: Piece) {
        let mut state = self.state();
        let state = &mut *state;
        let exchange = &state.exchanges[x];
        let ended_at = crate::plan::nanos(exchange.ended_at);
        if exchange.is_over() && ended_at < exchange.connected_at {
            return;
        }
        let seen = match (piece, exchange.at_origin) {
            (Piece::Headers(headers, end), _) => {
                let seen = state.origin_log.len();
                state.origin_log.push(OriginRequest {
                    exchange: x,
                    headers,
                    at: Duration::from_nanos(state.now),
                    only_headers: end,
                    complete: end,
                    // The stream has ended while the head was on its way.
                    reset: state.exchanges[x].is_over(),
                    ..OriginRequest::default()
                });
                state.exchanges[x].at_origin = Some(seen);
                seen
            }
            (Piece::Body(piece, end), Some(seen)) if !state.origin_log[seen].reset => {
                state.origin_log[seen].body.extend_from_slice(&piece);
                state.origin_log[seen].complete |= end;
                seen
            }
            (Piece::Trailers(trailers), Some(seen)) if !state.origin_log[seen].reset => {
                state.origin_log[seen].trailers = trailers;
                state.origin_log[seen].complete = true;
                seen
            }
            _ => return,
        };
        if state.origin_log[seen].complete {
            state.note(format_args!("#{x} at the origin"));
            let request = state.origin_log[seen].clone();
            let gateway = state.exchanges[x].gateway.0;
            let mut reply = state.gateways[gateway].origin.answer(&request);
            let faults = state.plan.origin.clone();
            if reply.trouble.is_none() {
                reply.trouble = if state.draws.strikes(faults.reset_before) {
                    Some(OriginTrouble::ResetBefore)
                } else if state.draws.strikes(faults.reset_during) {
                    let pieces = reply.body.len();
                    Some(OriginTrouble::ResetAfter(
                        state.draws.faults.usize(..=pieces),
                    ))
                } else if state.draws.strikes(faults.silent) {
                    Some(OriginTrouble::Silent)
                } else {
                    None
                };
                if let Some(trouble) = reply.trouble {
                    state.note(format_args!("#{x} fault: origin {trouble:?}"));
                }
            }
            state.send_response(x, reply);
        }
    }
}

impl crate::core::State {
    /// Puts the pieces of a response on their way.
    fn send_response(&mut self, x: usize, reply: OriginReply) {
        let worker = crate::event::WorkerId {
            gateway: self.exchanges[x].gateway.0,
            worker: self.exchanges[x].worker,
        };
        let path = self.exchanges[x]
            .at_origin
            .and_then(|seen| self.origin_log[seen].headers.get(":path"));
        let timeout = self.gateways[worker.gateway].timeout_of(path.unwrap_or_default());
        let latency = self.plan.latency.origin;
        let mut at = self.now + crate::plan::nanos(reply.after) + self.draws.span(latency);
        if timeout > 0 {
            let failure = Task::UpstreamFailed(x, UpstreamFailure::Timeout);
            self.task(self.now + timeout, worker, failure);
        }
        let mut headers = sluice_embed::Headers::from([(":status", reply.status.to_string())]);
        for (name, value) in reply.headers.iter() {
            headers.add(name, value);
        }
        let broken = match reply.trouble {
            None => None,
            Some(OriginTrouble::Silent) => return,
            Some(OriginTrouble::ResetAfter(pieces)) => Some(pieces.min(reply.body.len())),
            Some(_) => {
                let failure = Task::UpstreamFailed(x, UpstreamFailure::Reset);
                return self.task(at, worker, failure);
            }
        };
        let only_headers = reply.body.is_empty() && reply.trailers.is_empty() && broken.is_none();
        self.task(
            at,
            worker,
            Task::Response(x, Piece::Headers(headers, only_headers)),
        );
        let mut pieces = reply.body;
        pieces.truncate(broken.unwrap_or(usize::MAX));
        for piece in pieces {
            at += 1 + self.draws.span(latency);
            self.task(at, worker, Task::Response(x, Piece::Body(piece, false)));
        }
        at += 1;
        let last = match broken {
            Some(_) => Task::UpstreamFailed(x, UpstreamFailure::Reset),
            None if only_headers => return,
            None if reply.trailers.is_empty() => Task::Response(x, Piece::Body(Vec::new(), true)),
            None => Task::Response(x, Piece::Trailers(reply.trailers)),
        };
        self.task(at, worker, last);
    }
}
