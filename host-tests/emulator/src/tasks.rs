//! What a worker does when something happens.

use crate::core::Core;
use crate::event::{Piece, Task};
use crate::exchange::{Ended, Request};
use crate::gateway::FailurePolicy;
use crate::stream::{Reply, Stream};
use crate::worker::Worker;
use sluice_embed::{Headers, Plugin, RootId, Side};

/// How large a request's head may be: Envoy's `max_request_headers_kb` is 60 where nothing is said.
const MAX_HEADERS: usize = 60 * 1024;

impl Worker {
    pub fn perform(&mut self, core: &Core, task: Task) {
        match task {
            Task::Request(x, piece) => self.request(core, x, piece),
            Task::Abort(x) => self.aborted(core, x),
            Task::Response(x, piece) => self.response(core, x, piece),
            Task::UpstreamFailed(x, failure) => self.upstream_failed(core, x, failure),
            Task::Idle(x) => self.idle(core, x),
            Task::Tick(root, setting) => self.tick(core, root, setting),
            Task::Queue { root, token } => {
                core.state().errands -= 1;
                if let Some(root) = self.vm.root(root) {
                    self.call(core, "queue", |vm| vm.queue_ready(root, token));
                }
            }
            Task::CallEnds(number, reply) => {
                let token = core.state().end_call(number);
                if let Some(token) = token {
                    let status = reply
                        .as_ref()
                        .and_then(|reply| reply.headers.get(":status"));
                    let status = String::from_utf8_lossy(status.unwrap_or(b"reset")).into_owned();
                    self.call(core, &format!("call {number} ends: {status}"), |vm| {
                        vm.http_call_response(token, reply)
                    });
                }
            }
            Task::StreamOpens(key) if key.life == self.life => {
                let token = key.token;
                let metadata = Headers::from([(":status", "200")]);
                self.call(core, &format!("stream {token} is open"), |vm| {
                    vm.grpc_initial_metadata(token, metadata)
                });
            }
            Task::StreamMessage(key, message) if key.life == self.life => {
                let token = key.token;
                self.call(core, &format!("stream {token} message"), |vm| {
                    vm.grpc_message(token, message)
                });
            }
            // Of a VM that is gone.
            Task::StreamOpens(_) | Task::StreamMessage(..) => {}
            Task::StreamEnds(key, end) => self.stream_ends(core, key, end),
            Task::Reload(configuration) => self.reload(core, configuration),
            Task::Kill(after) => self.services.doom(after),
            Task::Restart => self.restart(core),
        }
        self.retire(core);
    }

    /// A part of a client's request has come.
    fn request(&mut self, core: &Core, x: usize, piece: Piece) {
        self.touch(core, x);
        match piece {
            Piece::Headers(headers, end) => self.open(core, x, headers, end),
            Piece::Body(piece, end) => {
                if let Some(stream) = self.streams.get_mut(&x) {
                    stream.received += piece.len();
                }
                self.data_comes(core, x, Side::Request, piece, end, false);
            }
            Piece::Trailers(trailers) => {
                if let Some(stream) = self.streams.get_mut(&x) {
                    stream.request.trailers = true;
                    stream.request_trailers = trailers;
                    self.trailers_come(core, x, Side::Request);
                }
            }
        }
    }

    /// A new stream.
    fn open(&mut self, core: &Core, x: usize, headers: Headers, end: bool) {
        self.revive(core);
        let attributes = core.attributes(self.id, x, &headers);
        let context = match self.root.filter(|_| !self.dead) {
            Some(root) => self.vm.open_stream(root, attributes).ok(),
            None => None,
        };
        if let Some(context) = context {
            self.contexts.insert(context, x);
        }
        let mut stream = Stream::new(context);
        stream.root = self.root;
        stream.opened_at = core.state().now;
        self.streams.insert(x, stream);
        self.touch(core, x);
        let idle_at = self.streams.get(&x).map_or(0, |stream| stream.idle_at);
        core.state().task(idle_at, self.id, Task::Idle(x));
        if headers.byte_size() > MAX_HEADERS {
            // It cannot be read: the filter hears of the end only.
            let text = "Request Header Fields Too Large";
            self.local_reply(core, x, Reply::new(431, text, "request_headers_too_large"));
            return;
        }
        self.headers_come(core, x, Side::Request, headers, end);
    }

    /// Loads a crashed VM again, if it is time.
    fn revive(&mut self, core: &Core) {
        if !self.dead || core.failure_policy(self.id) != FailurePolicy::Reload {
            return;
        }
        let (now, backoff, plugin) = {
            let mut state = core.state();
            let gateway = state.gateway(self.id);
            let (backoff, plugin) = (gateway.reload_backoff, gateway.plugin.clone());
            (state.now, backoff, plugin)
        };
        if now.saturating_sub(self.loaded_at) < backoff {
            return;
        }
        self.loaded_at = now;
        self.life += 1;
        self.root = None;
        self.draining.clear();
        self.contexts.clear();
        if self.vm.rebuild().is_ok() {
            self.dead = false;
            core.note(format_args!("{} the VM is loaded again", self.id));
            self.start(core, &plugin);
        }
    }

    /// The process has been killed and started again: all that it had is gone, connections first.
    fn restart(&mut self, core: &Core) {
        core.state().errands -= 1;
        let streams = std::mem::take(&mut self.streams);
        for (x, stream) in streams.iter().filter(|(_, stream)| !stream.over) {
            core.ended(*x, Ended::Reset, "killed", stream.upstream_open);
        }
        core.abandon_calls(self.id);
        match core.new_worker(self.id) {
            Ok(fresh) => {
                let life = self.life + 1;
                *self = Worker { life, ..*fresh };
                let plugin = core.state().gateway(self.id).plugin.clone();
                self.start(core, &plugin);
            }
            Err(error) => core.note(format_args!("{} does not start: {error}", self.id)),
        }
    }

    /// Starts the plugin in the VM. It has been tried out on the main thread; if it fails here, streams are answered 503.
    pub fn start(&mut self, core: &Core, plugin: &Plugin) {
        let mut root = None;
        self.call(core, "start", |vm| match vm.start(plugin) {
            Ok((id, effects)) => {
                root = Some(id);
                Ok(effects)
            }
            Err(sluice_embed::StartError::Vm(error)) => Err(error),
            Err(_) => Ok(Vec::new()),
        });
        self.root = root;
    }

    /// Another configuration: a root context of its own, which new streams belong to.
    fn reload(&mut self, core: &Core, configuration: Vec<u8>) {
        core.state().errands -= 1;
        let plugin = {
            let mut state = core.state();
            let plugin = &mut state.gateway(self.id).plugin;
            plugin.configuration = configuration;
            plugin.clone()
        };
        if self.dead {
            return;
        }
        self.draining.extend(self.root);
        self.start(core, &plugin);
    }

    /// Ends the root contexts of earlier configurations that no stream belongs to any more.
    fn retire(&mut self, core: &Core) {
        let in_use = |root: &RootId| {
            self.streams
                .values()
                .any(|stream| stream.root == Some(*root) && !stream.lost)
        };
        let (stay, go) = self.draining.iter().partition(|root| in_use(root));
        self.draining = stay;
        let go: Vec<RootId> = go;
        for root in go {
            self.ticks.remove(&root);
            self.call(core, "root done", |vm| {
                vm.shut_down(root).map(|(_, effects)| effects)
            });
        }
    }

    fn tick(&mut self, core: &Core, root: RootId, setting: u64) {
        let Some(&(period, current)) = self.ticks.get(&root) else {
            return;
        };
        if current != setting || period == 0 {
            return;
        }
        self.call(core, "tick", |vm| vm.tick(root));
        // The timer runs on, unless the tick has set another.
        if self.ticks.get(&root) == Some(&(period, current)) {
            core.tick_after(self.id, root, setting, period);
        }
    }

    /// Something has happened on a stream.
    pub fn touch(&mut self, core: &Core, x: usize) {
        if let Some(stream) = self.streams.get_mut(&x) {
            let mut state = core.state();
            let timeout = state.gateway(self.id).idle_timeout;
            stream.idle_at = state.now.saturating_add(timeout);
        }
    }

    /// Nothing has happened on a stream for too long.
    fn idle(&mut self, core: &Core, x: usize) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let idle_at = stream.idle_at;
        if idle_at > core.state().now {
            core.state().task(idle_at, self.id, Task::Idle(x));
            return;
        }
        let complete = stream.request.complete;
        stream.flags |= 0x1_0000;
        let (status, text) = if complete {
            (504, "stream timeout")
        } else {
            (408, "stream timeout")
        };
        self.local_reply(core, x, Reply::new(status, text, "stream_idle_timeout"));
    }
}

/// The head of a request as it comes to the filter: with what a gateway at the edge adds.
pub(crate) fn head(x: usize, request: &Request) -> Headers {
    let mut headers = Headers::from([
        (":authority", request.authority.as_str()),
        (":path", request.path.as_str()),
        (":method", request.method.as_str()),
        (":scheme", "http"),
    ]);
    for (name, value) in request.headers.iter() {
        headers.add(name, value);
    }
    // It holds for this gateway only.
    headers.remove("transfer-encoding");
    let client = request.source.rsplit_once(':');
    let client = client.map_or(request.source.as_str(), |(address, _)| address);
    headers.add("x-forwarded-for", client);
    headers.replace("x-forwarded-proto", "http");
    headers.replace("x-envoy-external-address", client);
    headers.replace("x-request-id", format!("00000000-0000-4000-8000-{x:012x}"));
    headers
}
