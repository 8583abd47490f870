//! Answers of the gateway's own, and the end of a stream.

use crate::core::Core;
use crate::exchange::Ended;
use crate::stream::Reply;
use crate::worker::Worker;
use sluice_embed::Side;

/// Envoy's bits of `response.flags` for streams that the client, or nobody, ended.
pub(crate) const DOWNSTREAM_TERMINATION: i64 = 0x4000;

impl Worker {
    /// Answers a stream without its origin. Where the response has not begun, the answer takes the way of a response,
    /// through the filter.
    pub fn local_reply(&mut self, core: &Core, x: usize, reply: Reply) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.closes |= matches!(reply.status, 400 | 431);
        let in_request = stream.request.calling.is_some();
        if in_request {
            stream.request.aborted = true;
        } else if stream.response.calling.is_some() {
            stream.response.aborted = true;
        }
        stream.details.clone_from(&reply.details);
        core.note(format_args!(
            "{} #{x} local reply {} {}",
            self.id, reply.status, reply.details
        ));
        if stream.over {
            // Nobody gets it, but it passes the filter.
            if !stream.response.begun {
                self.send_reply(core, x, reply);
            }
        } else if !stream.response.begun {
            if in_request {
                stream.prepared.get_or_insert(reply);
            } else {
                self.send_reply(core, x, reply);
            }
        } else if !stream.encoded {
            self.send_directly(core, x, reply);
        } else {
            self.reset(core, x);
        }
    }

    /// Sends the answer that has waited for a callback to return.
    pub fn execute_prepared(&mut self, core: &Core, x: usize) {
        let prepared = self
            .streams
            .get_mut(&x)
            .and_then(|stream| stream.prepared.take());
        if let Some(reply) = prepared {
            self.send_reply(core, x, reply);
        }
    }

    fn send_reply(&mut self, core: &Core, x: usize, reply: Reply) {
        let (headers, body) = self.message(x, reply);
        let end = body.is_empty();
        self.headers_come(core, x, Side::Response, headers, end);
        if !end {
            self.data_comes(core, x, Side::Response, body, true, false);
        }
    }

    /// Sends an answer past the filter.
    fn send_directly(&mut self, core: &Core, x: usize, reply: Reply) {
        let (headers, body) = self.message(x, reply);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.encoded = true;
        core.answer_headers(x, headers, body.is_empty(), stream.closes());
        stream.sent += body.len();
        core.answer_data(x, &body);
        self.finish(core, x);
    }

    fn message(&self, x: usize, reply: Reply) -> (sluice_embed::Headers, Vec<u8>) {
        let request = self.streams.get(&x).map(|stream| &stream.request_headers);
        let of = |name: &str| request.and_then(|headers| headers.get(name));
        let is_grpc = of("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
        reply.message(is_grpc, of(":method") == Some(b"HEAD"))
    }

    /// The client has the whole answer.
    pub fn finish(&mut self, core: &Core, x: usize) {
        self.end(core, x, Ended::Answered);
    }

    /// The gateway breaks a stream off.
    pub fn reset(&mut self, core: &Core, x: usize) {
        core.note(format_args!("{} #{x} reset", self.id));
        self.end(core, x, Ended::Reset);
    }

    /// The client has left.
    pub fn aborted(&mut self, core: &Core, x: usize) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.flags |= DOWNSTREAM_TERMINATION;
        if stream.details.is_empty() {
            stream.details = "downstream_remote_disconnect".into();
        }
        core.note(format_args!("{} #{x} client leaves", self.id));
        self.end(core, x, Ended::Aborted);
    }

    /// The end of a stream: the request to the origin is given up, and the filter is told.
    fn end(&mut self, core: &Core, x: usize, how: Ended) {
        let Some(stream) = self.streams.get_mut(&x).filter(|stream| !stream.over) else {
            return;
        };
        stream.over = true;
        stream.encode_complete = true;
        core.ended(x, how, &stream.details, stream.upstream_open);
        let context = stream.context.filter(|_| !stream.lost);
        let attributes = stream.last_attributes(core.state().now);
        if let Some(context) = context {
            self.call(core, &format!("#{x} done"), |vm| {
                vm.set_attributes(context, attributes)?;
                vm.done(context)
            });
        }
        let stream = self.streams.remove(&x);
        if let Some(context) = stream.and_then(|stream| stream.context) {
            self.contexts.remove(&context);
        }
        if let Some(context) = context {
            self.call(core, &format!("#{x} delete"), |vm| vm.delete(context));
        }
    }
}
