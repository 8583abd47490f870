//! The model Redis behind the clusters, and the streams that carry it.

use crate::callout::{CallAnswer, Cluster, reply};
use crate::core::{Core, EPOCH, State};
use crate::event::{Event, StreamEnd, StreamKey, Task};
use crate::worker::Worker;
use sluice_embed::Headers;
use sluice_model_redis::{Connection, Server, Settings};
use std::time::Duration;

/// One Redis.
pub(crate) struct RedisNode {
    pub server: Server,
    /// It can't be connected to.
    pub down: bool,
    /// It stands still.
    pub frozen: bool,
    /// What has come meanwhile.
    pub waiting: Vec<Event>,
    /// How far its clock is off, in microseconds.
    pub clock_offset: i64,
}

impl RedisNode {
    pub fn new(seed: u64) -> Self {
        let settings = Settings {
            seed,
            // One that has everything at once, unless it is told to lag.
            replicas: 1,
            replica_backlog: 1000,
            ..Settings::default()
        };
        Self {
            server: Server::new(settings),
            down: false,
            frozen: false,
            waiting: Vec::new(),
            clock_offset: 0,
        }
    }

    /// Its time, in microseconds since the Unix epoch.
    pub fn now(&self, now: u64) -> u64 {
        (EPOCH.saturating_add(now) / 1000).saturating_add_signed(self.clock_offset)
    }

    /// Answers a pipeline that has a connection of its own.
    pub fn answer(&mut self, pipeline: &[u8], now: u64) -> CallAnswer {
        if self.down {
            return CallAnswer::Unavailable;
        }
        let micros = self.now(now);
        let mut connection = self.server.connect();
        let replies = self.server.feed(&mut connection, pipeline, micros);
        let mut answer = reply(200, replies);
        answer.headers.remove("content-length");
        CallAnswer::Reply(answer, Duration::ZERO)
    }
}

/// A gRPC stream with a connection to Redis behind it.
pub(crate) struct RedisStream {
    connection: Connection,
    /// When what was sent last arrives. Nothing overtakes.
    last_arrival: u64,
    /// When what Redis said last comes back.
    last_return: u64,
    frozen: bool,
    /// It has failed; its end is on the way.
    ended: bool,
}

impl State {
    pub fn open_stream(&mut self, key: StreamKey, cluster: &[u8]) {
        let is_redis = matches!(
            self.cluster(key.worker.gateway, cluster),
            Some(Cluster::RedisStream)
        );
        let unavailable = self.plan.streams.unavailable;
        let fails = self.draws.strikes(unavailable) || self.redis.down || !is_redis;
        let latency = self.plan.latency.callout;
        let at = self.now + self.draws.span(latency);
        self.note(format_args!(
            "{} stream {} opens{}",
            key.worker,
            key.token,
            if fails { ": fault: no connection" } else { "" }
        ));
        self.streams.insert(
            key,
            RedisStream {
                connection: self.redis.server.connect(),
                last_arrival: at,
                last_return: at,
                frozen: false,
                ended: fails,
            },
        );
        let task = match fails {
            true => Task::StreamEnds(key, StreamEnd::Unavailable),
            false => Task::StreamOpens(key),
        };
        self.task(at, key.worker, task);
    }

    pub fn send_on_stream(&mut self, key: StreamKey, bytes: Vec<u8>) {
        let latency = self.plan.latency.callout;
        let length = self.draws.span(latency);
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.last_arrival = stream.last_arrival.max(self.now + length) + 1;
            let at = stream.last_arrival;
            self.enter(at, Event::StreamArrives(key, bytes));
        }
    }

    /// The filter has no more use for a stream. What it has sent is on its way all the same.
    pub fn close_stream(&mut self, key: StreamKey) {
        self.note(format_args!("{} stream {} closed", key.worker, key.token));
        if let Some(stream) = self.streams.get_mut(&key) {
            stream.ended = true;
        }
    }

    /// Redis goes on with what has come since it stood still.
    pub fn thaw_redis(&mut self) {
        self.redis.frozen = false;
        let waiting = std::mem::take(&mut self.redis.waiting);
        for (at, event) in (self.now..).zip(waiting) {
            self.enter(at, event);
        }
    }

    /// All streams break: Redis has gone.
    pub fn break_streams(&mut self) {
        let now = self.now;
        let latency = self.plan.latency.callout;
        let keys: Vec<StreamKey> = self.streams.keys().copied().collect();
        for key in keys {
            let length = self.draws.span(latency);
            let Some(stream) = self.streams.get_mut(&key) else {
                continue;
            };
            if !std::mem::replace(&mut stream.ended, true) {
                let at = stream.last_return.max(now + length) + 1;
                self.task(at, key.worker, Task::StreamEnds(key, StreamEnd::Closed));
            }
        }
    }
}

impl Worker {
    /// The end of a stream, as Envoy's client of gRPC tells it.
    pub fn stream_ends(&mut self, core: &Core, key: StreamKey, end: StreamEnd) {
        const REFUSED: &str = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";
        let token = key.token;
        if core.state().streams.remove(&key).is_none() {
            return;
        }
        let what = format!("stream {token} ends: {end:?}");
        let mut trailers = Headers::new();
        let (status, message) = match end {
            StreamEnd::Unavailable => {
                // The gateway's own answer, made for gRPC.
                self.call(core, &what, |vm| {
                    vm.grpc_initial_metadata(token, Headers::new())
                });
                trailers.add(":status", "200");
                trailers.add("content-type", "application/grpc");
                trailers.add("grpc-status", "14");
                trailers.add("grpc-message", REFUSED);
                (
                    14,
                    format!("{REFUSED}{{{}}}", crate::origin::CONNECTION_REFUSED),
                )
            }
            StreamEnd::Closed => (2, "via_upstream".to_owned()),
            StreamEnd::Reset => (13, String::new()),
        };
        self.call(core, &what, |vm| vm.grpc_trailing_metadata(token, trailers));
        self.call(core, &what, |vm| vm.grpc_close(token, status, &message));
    }
}

impl Core {
    /// What a filter sent on a stream has come to Redis.
    pub fn stream_arrives(&self, key: StreamKey, bytes: &[u8]) {
        let mut state = self.state();
        let state = &mut *state;
        if state.redis.frozen {
            let event = Event::StreamArrives(key, bytes.to_vec());
            state.redis.waiting.push(event);
            return;
        }
        let faults = state.plan.streams.clone();
        let latency = state.plan.latency.callout;
        let (worker, token) = (key.worker, key.token);
        let micros = state.redis.now(state.now);
        let Some(stream) = state.streams.get_mut(&key) else {
            return;
        };
        if stream.frozen || state.redis.down {
            return;
        }
        let reset = state.draws.strikes(faults.reset);
        if !stream.ended && (reset || state.draws.strikes(faults.frozen)) {
            let what = if reset { "reset" } else { "frozen" };
            stream.frozen = true;
            stream.ended = reset;
            let at = stream.last_return.max(state.now) + 1;
            if reset {
                state.task(at, worker, Task::StreamEnds(key, StreamEnd::Reset));
            }
            state.note(format_args!("{worker} stream {token} fault: {what}"));
            return;
        }
        let mut replies = state
            .redis
            .server
            .feed(&mut stream.connection, bytes, micros);
        let closed = stream.connection.closed();
        if stream.ended {
            return;
        }
        let lost = state.draws.strikes(faults.lost_reply);
        if lost {
            let kept = state.draws.faults.usize(..=replies.len() / 2);
            replies.truncate(kept);
        }
        let mut at = stream
            .last_return
            .max(state.now + state.draws.span(latency));
        let split = replies.len() > 1 && state.draws.strikes(faults.pieces);
        let cut = if split {
            state.draws.faults.usize(1..replies.len())
        } else {
            replies.len()
        };
        let rest = replies.split_off(cut);
        stream.last_return = at + 3;
        stream.ended = lost || closed;
        for piece in [replies, rest] {
            at += 1;
            if !piece.is_empty() {
                state.task(at, worker, Task::StreamMessage(key, piece));
            }
        }
        if lost {
            state.note(format_args!("{worker} stream {token} fault: replies lost"));
        }
        if lost || closed {
            state.task(
                at + 1,
                worker,
                Task::StreamEnds(
                    key,
                    if lost {
                        StreamEnd::Reset
                    } else {
                        StreamEnd::Closed
                    },
                ),
            );
        }
    }
}
