//! Callouts of filters: HTTP calls to clusters, and the streams that carry Redis.

use crate::core::{Core, State};
use crate::event::{Event, StreamKey, Task, WorkerId};
use crate::plan::nanos;
use sluice_embed::{Effect, Headers, HttpCall, HttpReply};
use std::time::Duration;

/// What stands behind a cluster's name.
pub enum Cluster {
    /// The model Redis, by the `direct` route: the body of a POST is a pipeline, the body of the answer its replies.
    Redis,
    /// The model Redis, by a gRPC stream that stays open.
    RedisStream,
    /// What requests go to as well: [`crate::Origin::fetch`].
    Origin,
    /// A server of the test's own.
    Http(Box<dyn FnMut(&HttpCall) -> CallAnswer + Send>),
}

/// How a server answers a callout.
#[derive(Debug, Clone)]
pub enum CallAnswer {
    /// With this, after so long.
    Reply(HttpReply, Duration),
    /// There is no connection: the filter sees 503.
    Unavailable,
    /// The connection is reset: the filter sees a reply without headers.
    Reset,
    /// Never. The filter sees 504 after its timeout.
    Silent,
}

impl CallAnswer {
    /// A reply with this status and body, at once.
    #[must_use]
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::Reply(reply(status, body.as_ref().to_vec()), Duration::ZERO)
    }
}

/// An HTTP call that is under way.
pub(crate) struct Call {
    pub worker: WorkerId,
    pub token: u32,
    request: HttpCall,
    /// What is to go wrong with it.
    fate: Fate,
    /// It has come to its server.
    executed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Unavailable,
    Reset,
    LostReply,
    LateRequest,
    LateReply,
    Truncated,
    Garbage,
}

/// How much later than a call's timeout a late one is.
const LATE: Duration = Duration::from_millis(50);

pub(crate) fn reply(status: u16, body: Vec<u8>) -> HttpReply {
    let mut headers = Headers::from([(":status", status.to_string())]);
    headers.add("content-length", body.len().to_string());
    HttpReply {
        headers,
        body,
        trailers: None,
    }
}

/// Carries out what a filter asked of the network.
pub(crate) fn carry_out(core: &Core, worker: WorkerId, life: u32, effect: Effect) {
    let key = |token| StreamKey {
        worker,
        life,
        token,
    };
    let mut state = core.state();
    match effect {
        Effect::HttpCall { token, call, .. } => state.start_call(worker, token, call),
        Effect::GrpcStream { token, open, .. } => {
            state.open_stream(key(token), &open.upstream);
        }
        Effect::GrpcSend { token, message } => {
            state.send_on_stream(key(token), message.bytes);
        }
        Effect::GrpcClose { token } | Effect::GrpcCancel { token } => {
            state.close_stream(key(token));
        }
        other => state.note(format_args!("{worker} not carried out: {other:?}")),
    }
}

impl State {
    fn start_call(&mut self, worker: WorkerId, token: u32, request: HttpCall) {
        let fate = self.fate();
        let number = self.next_number();
        let upstream = String::from_utf8_lossy(&request.upstream).into_owned();
        self.note(format_args!(
            "{worker} call {number} to {upstream}: {fate:?}"
        ));
        let latency = self.plan.latency.callout;
        let mut arrives = self.now + self.draws.span(latency);
        if let Some(timeout) = request.timeout {
            let gives_up = self.now + nanos(timeout);
            let answer = reply(504, b"upstream request timeout".to_vec());
            self.task(gives_up, worker, Task::CallEnds(number, Some(answer)));
            if fate == Fate::LateRequest {
                arrives = gives_up + self.draws.fault_span(late());
            }
        }
        self.calls.insert(
            number,
            Call {
                worker,
                token,
                request,
                fate,
                executed: false,
            },
        );
        match fate {
            Fate::Unavailable => self.task(
                arrives,
                worker,
                Task::CallEnds(number, Some(no_connection())),
            ),
            Fate::Reset => self.task(arrives, worker, Task::CallEnds(number, None)),
            _ => self.enter(arrives, Event::CallArrives(number)),
        }
    }

    /// Draws what becomes of a call.
    fn fate(&mut self) -> Fate {
        let faults = self.plan.callouts.clone();
        let fates = [
            (faults.unavailable, Fate::Unavailable),
            (faults.reset, Fate::Reset),
            (faults.lost_reply, Fate::LostReply),
            (faults.late_request, Fate::LateRequest),
            (faults.late_reply, Fate::LateReply),
            (faults.truncated, Fate::Truncated),
            (faults.garbage, Fate::Garbage),
        ];
        let total: f64 = fates.iter().map(|(probability, _)| probability).sum();
        if total <= 0.0 {
            return Fate::Well;
        }
        let mut draw = self.draws.faults.f64();
        for (probability, fate) in fates {
            if draw < probability {
                return fate;
            }
            draw -= probability;
        }
        Fate::Well
    }

    /// What becomes of a server's reply on its way back.
    fn spoil(&mut self, fate: Fate, reply: &mut HttpReply) {
        let length = reply.body.len();
        match fate {
            Fate::Truncated if length > 0 => {
                let kept = self.draws.faults.usize(..length);
                reply.body.truncate(kept);
            }
            Fate::Garbage => {
                let length = self.draws.faults.usize(..64);
                reply.body = (0..length).map(|_| self.draws.faults.u8(..)).collect();
            }
            _ => {}
        }
    }
}

fn late() -> crate::plan::Span {
    crate::plan::Span {
        least: Duration::from_nanos(1),
        most: LATE,
    }
}

fn no_connection() -> HttpReply {
    let text = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
    reply(503, text.as_bytes().to_vec())
}

impl Core {
    /// A call has come to its server.
    pub fn call_arrives(&self, number: u64) {
        let mut state = self.state();
        let state = &mut *state;
        // A call that has timed out meanwhile is executed all the same, like one that waited in a socket.
        if state.redis.frozen && state.is_for_redis(number) {
            state.redis.waiting.push(Event::CallArrives(number));
            return;
        }
        let Some(call) = state.calls.get_mut(&number) else {
            return state.late_call(number);
        };
        call.executed = true;
        let (worker, fate) = (call.worker, call.fate);
        let request = call.request.clone();
        let latency = state.plan.latency.callout;
        let mut back = state.now + state.draws.span(latency);
        let answer = state.serve(worker, &request);
        if let (Fate::LateReply, Some(timeout)) = (fate, request.timeout) {
            back += nanos(timeout);
        }
        match answer {
            _ if fate == Fate::LostReply => state.task(back, worker, Task::CallEnds(number, None)),
            CallAnswer::Reply(mut reply, after) => {
                state.spoil(fate, &mut reply);
                state.task(
                    back + nanos(after),
                    worker,
                    Task::CallEnds(number, Some(reply)),
                );
            }
            CallAnswer::Unavailable => {
                state.task(back, worker, Task::CallEnds(number, Some(no_connection())));
            }
            CallAnswer::Reset => state.task(back, worker, Task::CallEnds(number, None)),
            CallAnswer::Silent => {}
        }
    }
}

impl State {
    fn is_for_redis(&mut self, number: u64) -> bool {
        let open = self
            .calls
            .get(&number)
            .map(|call| (call.worker, &call.request));
        let late = self.late.get(&number).map(|(worker, call)| (*worker, call));
        let Some((worker, call)) = open.or(late) else {
            return false;
        };
        let upstream = call.upstream.clone();
        let cluster = self.gateways[worker.gateway].cluster(&upstream);
        matches!(cluster, Some(Cluster::Redis))
    }

    fn serve(&mut self, worker: WorkerId, request: &HttpCall) -> CallAnswer {
        let now = self.now;
        let gateway = &mut self.gateways[worker.gateway];
        match gateway.cluster(&request.upstream) {
            Some(Cluster::Origin) => gateway.origin.fetch(Duration::from_nanos(now), request),
            Some(Cluster::Redis) => self.redis.answer(&request.body, now),
            Some(Cluster::Http(server)) => server(request),
            Some(Cluster::RedisStream) | None => CallAnswer::Unavailable,
        }
    }

    /// A call has ended for its filter. One that has not come to its server yet will all the same.
    pub fn end_call(&mut self, number: u64) -> Option<u32> {
        let call = self.calls.remove(&number)?;
        if !call.executed && !matches!(call.fate, Fate::Unavailable | Fate::Reset) {
            self.late.insert(number, (call.worker, call.request));
        }
        Some(call.token)
    }

    fn late_call(&mut self, number: u64) {
        if let Some((worker, request)) = self.late.remove(&number) {
            self.note(format_args!("{worker} call {number} is executed late"));
            self.serve(worker, &request);
        }
    }
}
