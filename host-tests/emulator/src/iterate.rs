//! A message on its way through the filter: a request to the origin, or a response to the client. The rules are those of
//! Envoy's filter manager, with one filter in the chain; they are the same for both ways but for how the stream ends.

use crate::core::Core;
use crate::side::{Iteration, Part};
use crate::stream::Reply;
use crate::worker::{Called, Worker};
use sluice_embed::{Action, Attributes, Headers, Hold, Map, Side};

impl Worker {
    /// The head of a message comes to the filter.
    pub fn headers_come(&mut self, core: &Core, x: usize, way: Side, headers: Headers, end: bool) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = stream.side(way);
        side.begun = true;
        side.complete = end;
        side.filter_ended = end;
        side.calling = Some(Part::Headers);
        *stream.map(headers_of(way)) = headers.clone();
        let attributes = match way {
            Side::Request => Attributes::default(),
            Side::Response => stream.response_attributes(),
        };
        let called = self.call_stream(core, x, way, "headers", |vm, context| match way {
            Side::Request => vm.request_headers(context, headers, end),
            Side::Response => {
                vm.set_attributes(context, attributes)?;
                vm.response_headers(context, headers, end)
            }
        });
        if self.is_over_after_callback(core, x, way) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = stream.side(way);
        match called {
            Called::Skipped | Called::Done(Action::Continue) => {
                // A filter that resumed itself has sent them on already.
                if !std::mem::replace(&mut side.headers_continued, true) {
                    self.pass_headers(core, x, way, end);
                }
            }
            Called::Done(Action::Pause(Hold::Iteration)) => side.iteration = Iteration::StopSingle,
            Called::Done(Action::Pause(hold)) => {
                side.iteration = Iteration::StopAll;
                side.streaming = hold != Hold::AllAndBuffer;
            }
            Called::Failed => side.iteration = Iteration::StopAll,
        }
    }

    /// A piece of a body comes: from the wire, or (`waited`) from what was held back before the filter saw it.
    pub fn data_comes(
        &mut self,
        core: &Core,
        x: usize,
        way: Side,
        piece: Vec<u8>,
        end: bool,
        waited: bool,
    ) {
        let limit = core.buffer_limit(self.id.gateway);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        // With the whole answer there, what still comes of the request is of no interest.
        if way == Side::Request && stream.response.complete {
            return;
        }
        let side = stream.side(way);
        side.complete |= end;
        if side.iteration == Iteration::StopAll {
            side.buffer(piece);
            if !side.streaming && side.is_too_large(limit) {
                self.too_large(core, x, way);
            }
            return;
        }
        if side.filter_ended {
            return;
        }
        side.calling = Some(Part::Body);
        side.filter_ended = end && !side.trailers;
        let (told_end, buffering) = (side.filter_ended, side.buffering);
        if buffering && self.held_in_vm(x, way) + piece.len() > limit {
            self.too_large(core, x, way);
            self.is_over_after_callback(core, x, way);
            return;
        }
        let mut given = Some(piece);
        let called = self.call_stream(core, x, way, "body", |vm, context| {
            let piece = given.take().unwrap_or_default();
            match way {
                Side::Request => vm.request_body(context, &piece, told_end),
                Side::Response => vm.response_body(context, &piece, told_end),
            }
        });
        if self.is_over_after_callback(core, x, way) {
            return;
        }
        let added = self.has_new_trailers(x, trailers_of(way));
        // A body that is held stays where the filter can see and change it.
        let held = called == Called::Done(Action::Pause(Hold::Buffer));
        let size = if held { self.held_in_vm(x, way) } else { 0 };
        let piece = match given {
            Some(piece) => piece,
            None if held => Vec::new(),
            None => self.take_body(x, way),
        };
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = stream.side(way);
        side.buffering = held;
        side.in_vm = held;
        let stopped = side.iteration == Iteration::StopSingle;
        if let Called::Skipped | Called::Done(Action::Continue) = called {
            if stopped {
                side.trailers |= added;
                side.buffer(piece);
                self.resume(core, x, way);
            } else {
                self.pass_data(core, x, way, piece, end && !added);
                if added {
                    self.pass_trailers(core, x, way);
                }
            }
            return;
        }
        side.iteration = Iteration::StopSingle;
        side.trailers |= added;
        match called {
            Called::Done(Action::Pause(Hold::Buffer)) => {
                side.streaming = false;
                if size > limit {
                    self.too_large(core, x, way);
                }
            }
            Called::Done(Action::Pause(Hold::Watermark)) => {
                side.streaming = true;
                side.buffer(piece);
            }
            // What the filter saw of the buffer is the buffer, not a new piece: that stays.
            _ if buffering || waited => side.buffer(piece),
            // Of a piece that is dropped its end is kept.
            _ if side.complete && !side.trailers && side.buffered.is_none() => {
                side.buffer(Vec::new());
            }
            _ => {}
        }
    }

    /// The trailers of a message come.
    pub fn trailers_come(&mut self, core: &Core, x: usize, way: Side) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        if way == Side::Request && stream.response.complete {
            return;
        }
        let side = stream.side(way);
        side.complete = true;
        if side.iteration == Iteration::StopAll {
            return;
        }
        side.calling = Some(Part::Trailers);
        let trailers = stream.map(trailers_of(way)).clone();
        let called = self.call_stream(core, x, way, "trailers", |vm, context| match way {
            Side::Request => vm.request_trailers(context, trailers),
            Side::Response => vm.response_trailers(context, trailers),
        });
        if self.is_over_after_callback(core, x, way) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = stream.side(way);
        side.filter_ended = true;
        match called {
            Called::Skipped | Called::Done(Action::Continue) => {
                if side.iteration == Iteration::StopSingle {
                    self.resume(core, x, way);
                } else {
                    self.pass_trailers(core, x, way);
                }
            }
            Called::Done(Action::Pause(_)) | Called::Failed => {
                if side.iteration == Iteration::Continue {
                    side.iteration = Iteration::StopSingle;
                }
            }
        }
    }

    /// A callback is over. Answers true if the stream is, too, or a local reply has ended this way of it. On the way of
    /// a request the reply has waited for the callback's end; on that of a response it has gone to the client directly.
    fn is_over_after_callback(&mut self, core: &Core, x: usize, way: Side) -> bool {
        let Some(stream) = self.streams.get_mut(&x) else {
            return true;
        };
        let side = stream.side(way);
        side.calling = None;
        let aborted = side.aborted;
        if aborted && way == Side::Request {
            self.execute_prepared(core, x);
        }
        aborted
    }

    fn too_large(&mut self, core: &Core, x: usize, way: Side) {
        let reply = match way {
            Side::Request => Reply::new(413, "Payload Too Large", "request_payload_too_large"),
            Side::Response => {
                Reply::new(500, "Internal Server Error", "response_payload_too_large")
            }
        };
        self.local_reply(core, x, reply);
    }

    /// A paused message goes on.
    pub fn resume(&mut self, core: &Core, x: usize, way: Side) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let is_over = stream.over
            || match way {
                Side::Request => stream.response.complete,
                Side::Response => stream.encode_complete,
            };
        let side = stream.side(way);
        if is_over || !side.begun {
            return;
        }
        // Where all was stopped, the filter has not seen what waits: it comes first.
        let from_current = side.iteration == Iteration::StopAll;
        side.iteration = Iteration::Continue;
        if !std::mem::replace(&mut side.headers_continued, true) {
            let waits = side.buffered.is_some() || side.in_vm || side.trailers;
            let end = side.complete && !waits;
            self.pass_headers(core, x, way, end);
        }
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = stream.side(way);
        let (trailers, end) = (side.trailers, side.complete && !side.trailers);
        let held = std::mem::take(&mut side.in_vm);
        let buffered = side.buffered.take();
        let buffered = match held {
            true => Some(self.take_body(x, way)),
            false => buffered,
        };
        match buffered {
            Some(buffered) if from_current => self.data_comes(core, x, way, buffered, end, true),
            Some(buffered) => self.pass_data(core, x, way, buffered, end),
            None => {}
        }
        if trailers && from_current {
            self.trailers_come(core, x, way);
        } else if trailers {
            self.pass_trailers(core, x, way);
        }
    }
}

fn headers_of(way: Side) -> Map {
    match way {
        Side::Request => Map::RequestHeaders,
        Side::Response => Map::ResponseHeaders,
    }
}

fn trailers_of(way: Side) -> Map {
    match way {
        Side::Request => Map::RequestTrailers,
        Side::Response => Map::ResponseTrailers,
    }
}
