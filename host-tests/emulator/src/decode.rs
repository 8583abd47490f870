//! A request on its way through the filter to the origin, by the rules of Envoy's filter manager.

use crate::core::Core;
use crate::side::{Iteration, Part};
use crate::stream::Reply;
use crate::worker::{Called, Worker};
use sluice_embed::{Action, Headers, Hold, Map, Side};

impl Worker {
    /// The head of a request comes to the filter.
    pub fn decode_headers(&mut self, core: &Core, x: usize, headers: Headers, end: bool) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.request.begun = true;
        stream.request.complete = end;
        stream.request.filter_ended = end;
        stream.request.calling = Some(Part::Headers);
        stream.request_headers = headers.clone();
        let called = self.call_stream(core, x, "request headers", |vm, context| {
            vm.request_headers(context, headers, end)
        });
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.request.calling = None;
        if stream.request.aborted {
            self.execute_prepared(core, x);
            return;
        }
        match called {
            Called::Skipped | Called::Done(Action::Continue) => {
                // A filter that resumed itself has sent them on already.
                if !std::mem::replace(&mut stream.request.headers_continued, true) {
                    self.pass_request_headers(core, x, end);
                }
            }
            Called::Done(Action::Pause(Hold::Iteration)) => {
                stream.request.iteration = Iteration::StopSingle;
            }
            Called::Done(Action::Pause(hold)) => {
                stream.request.iteration = Iteration::StopAll;
                stream.request.streaming = hold != Hold::AllAndBuffer;
            }
            Called::Failed => stream.request.iteration = Iteration::StopAll,
        }
    }

    /// A piece of a request's body comes, from the client or from what waited.
    pub fn decode_data(&mut self, core: &Core, x: usize, piece: Vec<u8>, end: bool, waited: bool) {
        let limit = core.buffer_limit(self.id.gateway);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        // With the whole answer sent, what still comes of the request is of no interest.
        if stream.response.complete {
            return;
        }
        let side = &mut stream.request;
        if side.iteration == Iteration::StopAll {
            side.buffer(piece);
            if !side.streaming && side.is_too_large(limit) {
                self.request_too_large(core, x);
            }
            return;
        }
        if side.filter_ended {
            return;
        }
        side.calling = Some(Part::Body);
        side.filter_ended = end && !side.trailers;
        let told_end = side.filter_ended;
        let buffering = side.buffering;
        if buffering && !side.streaming && self.held_in_vm(x, Side::Request) + piece.len() > limit {
            self.request_too_large(core, x);
            self.after_request_callback(core, x);
            return;
        }
        let mut given = Some(piece);
        let called = self.call_stream(core, x, "request body", |vm, context| {
            vm.request_body(context, &given.take().unwrap_or_default(), told_end)
        });
        // A body that is held stays where the filter can see and change it.
        if called == Called::Done(Action::Pause(Hold::Buffer)) {
            self.request_held(core, x, limit);
            return;
        }
        let piece = given.unwrap_or_else(|| self.take_body(x, Side::Request));
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.request.buffering = false;
        if self.after_request_callback(core, x) {
            return;
        }
        let added = self.has_new_trailers(x, Map::RequestTrailers);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = &mut stream.request;
        // What the filter saw of the buffer is the buffer, not a new piece.
        let in_buffer = buffering || waited;
        side.in_vm = false;
        match called {
            Called::Skipped | Called::Done(Action::Continue) => {
                if side.iteration == Iteration::StopSingle {
                    side.buffer(piece);
                    side.trailers |= added;
                    self.continue_request(core, x);
                } else {
                    self.pass_request_data(core, x, piece, end && !added);
                    if added {
                        self.pass_request_trailers(core, x);
                    }
                }
            }
            Called::Done(Action::Pause(hold)) => {
                side.iteration = Iteration::StopSingle;
                side.trailers |= added;
                match hold {
                    Hold::Watermark => {
                        side.streaming = true;
                        side.buffer(piece);
                    }
                    _ if in_buffer => side.buffer(piece),
                    // Its end is kept, if nothing else is.
                    _ if side.complete && !side.trailers && side.buffered.is_none() => {
                        side.buffer(Vec::new());
                    }
                    _ => {}
                }
            }
            Called::Failed => side.iteration = Iteration::StopSingle,
        }
    }

    /// The trailers of a request come.
    pub fn decode_trailers(&mut self, core: &Core, x: usize) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        if stream.response.complete || stream.request.iteration == Iteration::StopAll {
            return;
        }
        stream.request.calling = Some(Part::Trailers);
        let trailers = stream.request_trailers.clone();
        let called = self.call_stream(core, x, "request trailers", |vm, context| {
            vm.request_trailers(context, trailers)
        });
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.request.filter_ended = true;
        if self.after_request_callback(core, x) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        match called {
            Called::Skipped | Called::Done(Action::Continue) => {
                if stream.request.iteration == Iteration::StopSingle {
                    self.continue_request(core, x);
                } else {
                    self.pass_request_trailers(core, x);
                }
            }
            Called::Done(Action::Pause(_)) | Called::Failed => {
                if stream.request.iteration == Iteration::Continue {
                    stream.request.iteration = Iteration::StopSingle;
                }
            }
        }
    }

    /// A callback on the request is over. Answers true if a local reply has ended the request meanwhile.
    fn after_request_callback(&mut self, core: &Core, x: usize) -> bool {
        let Some(stream) = self.streams.get_mut(&x) else {
            return true;
        };
        stream.request.calling = None;
        if stream.request.aborted {
            self.execute_prepared(core, x);
            return true;
        }
        false
    }

    /// The filter has paused in the body: what has come stays in the VM.
    fn request_held(&mut self, core: &Core, x: usize, limit: usize) {
        if self.after_request_callback(core, x) {
            return;
        }
        let added = self.has_new_trailers(x, Map::RequestTrailers);
        let size = self.held_in_vm(x, Side::Request);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = &mut stream.request;
        side.trailers |= added;
        side.iteration = Iteration::StopSingle;
        side.buffering = true;
        side.streaming = false;
        side.in_vm = true;
        if size > limit {
            self.request_too_large(core, x);
        }
    }

    fn request_too_large(&mut self, core: &Core, x: usize) {
        let reply = Reply::new(413, "Payload Too Large", "request_payload_too_large");
        self.local_reply(core, x, reply);
    }

    /// A paused request goes on.
    pub fn continue_request(&mut self, core: &Core, x: usize) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        // It has been answered.
        if stream.response.complete {
            return;
        }
        let side = &mut stream.request;
        side.from_current = side.iteration == Iteration::StopAll;
        let from_current = side.from_current;
        side.iteration = Iteration::Continue;
        if !std::mem::replace(&mut side.headers_continued, true) {
            let end = side.complete && side.buffered.is_none() && !side.in_vm && !side.trailers;
            self.pass_request_headers(core, x, end);
        }
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = &mut stream.request;
        let (trailers, end) = (side.trailers, side.complete && !side.trailers);
        let held = std::mem::take(&mut side.in_vm);
        let buffered = side.buffered.take();
        let buffered = if held {
            Some(self.take_body(x, Side::Request))
        } else {
            buffered
        };
        if let Some(buffered) = buffered {
            if from_current {
                self.decode_data(core, x, buffered, end, true);
            } else {
                self.pass_request_data(core, x, buffered, end);
            }
        }
        if trailers {
            if from_current {
                self.decode_trailers(core, x);
            } else {
                self.pass_request_trailers(core, x);
            }
        }
    }
}
