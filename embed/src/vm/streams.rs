//! The phases of a stream.

use super::{StreamId, Vm, size32};
use crate::action::{Action, Hold, Outcome};
use crate::attributes::Attributes;
use crate::context::{Context, Stream};
use crate::effect::Effect;
use crate::error::VmError;
use crate::headers::{Headers, Map, Side};

impl Vm {
    /// Request headers came.
    ///
    /// # Errors
    /// Of this and all other phases: when the stream is not there, the VM dead, or the filter fails. Envoy answers the
    /// stream with a 503 (`wasm_fail_stream`) then, or lets it pass if the plugin is to fail open.
    pub fn request_headers(
        &mut self,
        stream: StreamId,
        headers: Headers,
        end_of_stream: bool,
    ) -> Result<Outcome, VmError> {
        let number = self.find_stream(stream)?;
        let root = self.stream(number)?.root;
        self.create(number, root)?;
        self.headers_came(number, Side::Request, headers, end_of_stream)
    }

    /// A piece of the request body came. After a [`Hold::Buffer`] it joins what is in the buffer.
    ///
    /// # Errors
    /// As [`Vm::request_headers`].
    pub fn request_body(
        &mut self,
        stream: StreamId,
        piece: &[u8],
        end_of_stream: bool,
    ) -> Result<Outcome, VmError> {
        self.body_came(stream, Side::Request, piece, end_of_stream)
    }

    /// Request trailers came.
    ///
    /// # Errors
    /// As [`Vm::request_headers`].
    pub fn request_trailers(
        &mut self,
        stream: StreamId,
        trailers: Headers,
    ) -> Result<Outcome, VmError> {
        self.trailers_came(stream, Side::Request, trailers)
    }

    /// Response headers came, from the upstream or from the gateway's own reply. A filter that saw no request headers
    /// sees none of the response.
    ///
    /// # Errors
    /// As [`Vm::request_headers`].
    pub fn response_headers(
        &mut self,
        stream: StreamId,
        headers: Headers,
        end_of_stream: bool,
    ) -> Result<Outcome, VmError> {
        let number = self.find_stream(stream)?;
        let stream = self.stream_mut(number)?;
        if !stream.created {
            // For the log.
            stream.response.headers.value = Some(headers);
            return Ok(self.unseen());
        }
        self.headers_came(number, Side::Response, headers, end_of_stream)
    }

    /// A piece of the response body came.
    ///
    /// # Errors
    /// As [`Vm::request_headers`].
    pub fn response_body(
        &mut self,
        stream: StreamId,
        piece: &[u8],
        end_of_stream: bool,
    ) -> Result<Outcome, VmError> {
        self.body_came(stream, Side::Response, piece, end_of_stream)
    }

    /// Response trailers came.
    ///
    /// # Errors
    /// As [`Vm::request_headers`].
    pub fn response_trailers(
        &mut self,
        stream: StreamId,
        trailers: Headers,
    ) -> Result<Outcome, VmError> {
        self.trailers_came(stream, Side::Response, trailers)
    }

    /// The stream ended, well or not: `proxy_on_log`, then `proxy_on_done`. The gateway carries out what the filter asks
    /// for in them, which for the most part is too late, and then calls [`Vm::delete`].
    ///
    /// # Errors
    /// As [`Vm::request_headers`].
    pub fn done(&mut self, stream: StreamId) -> Result<Vec<Effect>, VmError> {
        let number = self.find_stream(stream)?;
        let root = self.stream(number)?.root;
        self.create(number, root)?;
        self.stream_mut(number)?.logging = true;
        let log = self.exports.log.clone();
        self.run(number, log.as_ref(), number)?;
        self.stream_mut(number)?.logging = false;
        // An HTTP stream ends whatever `proxy_on_done` answers.
        let done = self.exports.done.clone();
        self.run(number, done.as_ref(), number)?;
        Ok(self.take_effects())
    }

    /// The end of a stream's context: `proxy_on_delete`. In a dead VM the context only goes.
    ///
    /// # Errors
    /// As [`Vm::request_headers`]; the context is gone all the same.
    pub fn delete(&mut self, stream: StreamId) -> Result<Vec<Effect>, VmError> {
        if stream.generation != self.generation {
            return Err(VmError::StaleContext);
        }
        let deleted = self
            .find_stream(stream)
            .and_then(|number| self.forget(number));
        self.store.data_mut().contexts.remove(&stream.number);
        deleted?;
        Ok(self.take_effects())
    }

    /// A header or trailer map as the filter left it. `None` before it came.
    #[must_use]
    pub fn headers(&self, stream: StreamId, map: Map) -> Option<&Headers> {
        let number = self.find_stream(stream).ok()?;
        self.stream(number).ok()?.map(map).value.as_ref()
    }

    /// Puts a map in the place of what is there: what the log callback is to read when a later filter or the gateway
    /// changed it. Does not let the filter see what it could not see before.
    ///
    /// # Errors
    /// When the stream is not there, or the VM dead.
    pub fn set_headers(
        &mut self,
        stream: StreamId,
        map: Map,
        headers: Headers,
    ) -> Result<(), VmError> {
        let number = self.find_stream(stream)?;
        self.stream_mut(number)?.map_mut(map).value = Some(headers);
        Ok(())
    }

    /// What is in a body's buffer, as the filter left it.
    #[must_use]
    pub fn body(&self, stream: StreamId, side: Side) -> Option<&[u8]> {
        let number = self.find_stream(stream).ok()?;
        let stream = self.stream(number).ok()?;
        let half = match side {
            Side::Request => &stream.request,
            Side::Response => &stream.response,
        };
        half.body.value.as_deref()
    }

    /// Takes what is in a body's buffer, to send it on: after Continue, or once a held body is resumed.
    pub fn take_body(&mut self, stream: StreamId, side: Side) -> Vec<u8> {
        let Ok(number) = self.find_stream(stream) else {
            return Vec::new();
        };
        let half = self.stream_mut(number).map(|stream| stream.half(side));
        half.ok()
            .and_then(|half| half.body.value.take())
            .unwrap_or_default()
    }

    /// Adds facts about a stream, over those that it has, such as `["response", "flags"]`.
    ///
    /// # Errors
    /// When the stream is not there, or the VM dead.
    pub fn set_attributes(
        &mut self,
        stream: StreamId,
        attributes: Attributes,
    ) -> Result<(), VmError> {
        let number = self.find_stream(stream)?;
        self.stream_mut(number)?.attributes.extend(attributes);
        Ok(())
    }

    fn headers_came(
        &mut self,
        number: u32,
        side: Side,
        headers: Headers,
        end_of_stream: bool,
    ) -> Result<Outcome, VmError> {
        let stream = self.stream_mut(number)?;
        stream.end_of_stream = end_of_stream;
        let stop_iteration = stream.plugin.allow_on_headers_stop_iteration;
        let count = size32(headers.len());
        stream.half(side).headers.show(headers);
        let callback = match side {
            Side::Request => self.exports.request_headers.clone(),
            Side::Response => self.exports.response_headers.clone(),
        };
        let parameters = (number, count, u32::from(end_of_stream));
        let status = self.run(number, callback.as_ref(), parameters)?;
        let action = match status {
            Some(status) => Action::of_headers(status, self.stopped(), stop_iteration),
            None => Action::Continue,
        };
        if action == Action::Continue {
            self.stream_mut(number)?.half(side).headers.visible = false;
        }
        Ok(self.outcome(action))
    }

    fn body_came(
        &mut self,
        stream: StreamId,
        side: Side,
        piece: &[u8],
        end_of_stream: bool,
    ) -> Result<Outcome, VmError> {
        let number = self.find_stream(stream)?;
        let stream = self.stream_mut(number)?;
        let created = stream.created;
        stream.end_of_stream = end_of_stream;
        let half = stream.half(side);
        let mut body = match half.body.value.take() {
            Some(buffered) if half.buffering => buffered,
            _ => Vec::new(),
        };
        body.extend_from_slice(piece);
        let size = size32(body.len());
        half.body.value = Some(body);
        if !created {
            return Ok(self.unseen());
        }
        half.body.visible = true;
        let callback = match side {
            Side::Request => self.exports.request_body.clone(),
            Side::Response => self.exports.response_body.clone(),
        };
        let parameters = (number, size, u32::from(end_of_stream));
        let status = self.run(number, callback.as_ref(), parameters)?;
        let action = match status {
            Some(status) => Action::of_body(status, self.stopped()),
            None => Action::Continue,
        };
        let half = self.stream_mut(number)?.half(side);
        half.buffering = action == Action::Pause(Hold::Buffer);
        match action {
            Action::Continue => half.body.visible = false,
            Action::Pause(Hold::Drop) => half.body.value = Some(Vec::new()),
            Action::Pause(_) => {}
        }
        Ok(self.outcome(action))
    }

    fn trailers_came(
        &mut self,
        stream: StreamId,
        side: Side,
        trailers: Headers,
    ) -> Result<Outcome, VmError> {
        let number = self.find_stream(stream)?;
        let count = size32(trailers.len());
        let stream = self.stream_mut(number)?;
        if !stream.created {
            return Ok(self.unseen());
        }
        stream.half(side).trailers.show(trailers);
        let callback = match side {
            Side::Request => self.exports.request_trailers.clone(),
            Side::Response => self.exports.response_trailers.clone(),
        };
        let status = self.run(number, callback.as_ref(), (number, count))?;
        let action = match status {
            Some(status) => Action::of_trailers(status, self.stopped()),
            None => Action::Continue,
        };
        if action == Action::Continue {
            self.stream_mut(number)?.half(side).trailers.visible = false;
        }
        Ok(self.outcome(action))
    }

    fn outcome(&mut self, action: Action) -> Outcome {
        let effects = self.take_effects();
        Outcome { action, effects }
    }

    /// Of a stream that the filter knows nothing of.
    fn unseen(&mut self) -> Outcome {
        self.outcome(Action::Continue)
    }

    fn stream(&self, number: u32) -> Result<&Stream, VmError> {
        match self.store.data().contexts.get(&number) {
            Some(Context::Stream(stream)) => Ok(stream),
            _ => Err(VmError::UnknownContext),
        }
    }

    fn stream_mut(&mut self, number: u32) -> Result<&mut Stream, VmError> {
        match self.store.data_mut().contexts.get_mut(&number) {
            Some(Context::Stream(stream)) => Ok(stream),
            _ => Err(VmError::UnknownContext),
        }
    }
}
