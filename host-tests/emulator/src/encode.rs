//! A response on its way through the filter to the client, by the rules of Envoy's filter manager.

use crate::core::Core;
use crate::side::{Iteration, Part};
use crate::stream::Reply;
use crate::worker::{Called, Worker};
use sluice_embed::{Action, Headers, Hold, Map, Side};

impl Worker {
    /// The head of a response comes to the filter.
    pub fn encode_headers(&mut self, core: &Core, x: usize, headers: Headers, end: bool) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.response.begun = true;
        stream.response.complete = end;
        stream.response.filter_ended = end;
        stream.response.calling = Some(Part::Headers);
        stream.response_headers = headers.clone();
        let attributes = stream.response_attributes();
        let called = self.call_stream(core, x, "response headers", |vm, context| {
            vm.set_attributes(context, attributes)?;
            vm.response_headers(context, headers, end)
        });
        let Some(called) = self.after_response_callback(x, called) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        match called {
            Called::Skipped | Called::Done(Action::Continue) => {
                if !std::mem::replace(&mut stream.response.headers_continued, true) {
                    self.pass_response_headers(core, x, end);
                }
            }
            Called::Done(Action::Pause(Hold::Iteration)) | Called::Failed => {
                stream.response.iteration = Iteration::StopSingle;
            }
            Called::Done(Action::Pause(hold)) => {
                stream.response.iteration = Iteration::StopAll;
                stream.response.streaming = hold != Hold::AllAndBuffer;
            }
        }
    }

    /// A piece of a response's body comes, from the origin or from what waited.
    pub fn encode_data(&mut self, core: &Core, x: usize, piece: Vec<u8>, end: bool, waited: bool) {
        let limit = core.buffer_limit(self.id.gateway);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.response.complete |= end;
        let side = &mut stream.response;
        if side.iteration == Iteration::StopAll {
            side.buffer(piece);
            if !side.streaming && side.is_too_large(limit) {
                self.response_too_large(core, x);
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
        if buffering && !side.streaming && self.held_in_vm(x, Side::Response) + piece.len() > limit
        {
            self.response_too_large(core, x);
            return;
        }
        let mut given = Some(piece);
        let called = self.call_stream(core, x, "response body", |vm, context| {
            vm.response_body(context, &given.take().unwrap_or_default(), told_end)
        });
        // A body that is held stays where the filter can see and change it.
        if called == Called::Done(Action::Pause(Hold::Buffer)) {
            self.response_held(core, x, limit);
            return;
        }
        let piece = given.unwrap_or_else(|| self.take_body(x, Side::Response));
        let Some(called) = self.after_response_callback(x, called) else {
            return;
        };
        let added = self.has_new_trailers(x, Map::ResponseTrailers);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = &mut stream.response;
        side.buffering = false;
        side.in_vm = false;
        let in_buffer = buffering || waited;
        match called {
            Called::Skipped | Called::Done(Action::Continue) => {
                if side.iteration == Iteration::StopSingle {
                    side.buffer(piece);
                    side.trailers |= added;
                    self.continue_response(core, x);
                } else {
                    self.pass_response_data(core, x, piece, end && !added);
                    if added {
                        self.pass_response_trailers(core, x);
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

    /// The trailers of a response come.
    pub fn encode_trailers(&mut self, core: &Core, x: usize) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.response.complete = true;
        if stream.response.iteration == Iteration::StopAll {
            return;
        }
        stream.response.calling = Some(Part::Trailers);
        let trailers = stream.response_trailers.clone();
        let called = self.call_stream(core, x, "response trailers", |vm, context| {
            vm.response_trailers(context, trailers)
        });
        let Some(called) = self.after_response_callback(x, called) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        stream.response.filter_ended = true;
        match called {
            Called::Skipped | Called::Done(Action::Continue) => {
                if stream.response.iteration == Iteration::StopSingle {
                    self.continue_response(core, x);
                } else {
                    self.pass_response_trailers(core, x);
                }
            }
            Called::Done(Action::Pause(_)) | Called::Failed => {
                if stream.response.iteration == Iteration::Continue {
                    stream.response.iteration = Iteration::StopSingle;
                }
            }
        }
    }

    /// A callback on the response is over; none if the stream is, too. A local reply from within it has gone to the
    /// client directly, and stops what the filter looked at.
    fn after_response_callback(&mut self, x: usize, called: Called) -> Option<Called> {
        let stream = self.streams.get_mut(&x)?;
        stream.response.calling = None;
        if stream.response.aborted {
            return None;
        }
        Some(called)
    }

    /// The filter has paused in the body: what has come stays in the VM.
    fn response_held(&mut self, core: &Core, x: usize, limit: usize) {
        if self.after_response_callback(x, Called::Skipped).is_none() {
            return;
        }
        let added = self.has_new_trailers(x, Map::ResponseTrailers);
        let size = self.held_in_vm(x, Side::Response);
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = &mut stream.response;
        side.trailers |= added;
        side.iteration = Iteration::StopSingle;
        side.buffering = true;
        side.streaming = false;
        side.in_vm = true;
        if size > limit {
            self.response_too_large(core, x);
        }
    }

    fn response_too_large(&mut self, core: &Core, x: usize) {
        let reply = Reply::new(500, "Internal Server Error", "response_payload_too_large");
        self.local_reply(core, x, reply);
    }

    /// A paused response goes on.
    pub fn continue_response(&mut self, core: &Core, x: usize) {
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        if stream.encode_complete {
            return;
        }
        let side = &mut stream.response;
        // Nothing has come that could go on.
        if !side.begun {
            return;
        }
        side.from_current = side.iteration == Iteration::StopAll;
        let from_current = side.from_current;
        side.iteration = Iteration::Continue;
        if !std::mem::replace(&mut side.headers_continued, true) {
            let end = side.complete && side.buffered.is_none() && !side.in_vm && !side.trailers;
            self.pass_response_headers(core, x, end);
        }
        let Some(stream) = self.streams.get_mut(&x) else {
            return;
        };
        let side = &mut stream.response;
        let (trailers, end) = (side.trailers, side.complete && !side.trailers);
        let held = std::mem::take(&mut side.in_vm);
        let buffered = side.buffered.take();
        let buffered = if held {
            Some(self.take_body(x, Side::Response))
        } else {
            buffered
        };
        if let Some(buffered) = buffered {
            if from_current {
                self.encode_data(core, x, buffered, end, true);
            } else {
                self.pass_response_data(core, x, buffered, end);
            }
        }
        if trailers {
            if from_current {
                self.encode_trailers(core, x);
            } else {
                self.pass_response_trailers(core, x);
            }
        }
    }
}
