//! What comes to a root context: ticks, queues, and answers to its calls.

use wasmtime::TypedFunc;

use super::{RootId, Vm, size32};
use crate::context::{Context, Root};
use crate::effect::{Effect, HttpReply};
use crate::error::VmError;
use crate::headers::Headers;
use crate::host::{CallKind, Calls};
use crate::status::Status;

impl Vm {
    /// A period passed, see [`Effect::TickPeriod`].
    ///
    /// # Errors
    /// Of this and all the others here: when the context is not there, the VM dead, or the filter fails.
    pub fn tick(&mut self, root: RootId) -> Result<Vec<Effect>, VmError> {
        let number = self.find_root(root)?;
        let callback = self.exports.tick.clone();
        self.run(number, callback.as_ref(), number)?;
        Ok(self.take_effects())
    }

    /// Something is in a queue that the context registered.
    ///
    /// # Errors
    /// As [`Vm::tick`].
    pub fn queue_ready(&mut self, root: RootId, token: u32) -> Result<Vec<Effect>, VmError> {
        let number = self.find_root(root)?;
        let callback = self.exports.queue_ready.clone();
        self.run(number, callback.as_ref(), (number, token))?;
        Ok(self.take_effects())
    }

    /// An HTTP call was answered, or (`None`) broke off: reset, or an answer past the gateway's limit. A timeout or a
    /// connection refused is an answer of the gateway's own, 504 or 503. A token that is not of a call under way is
    /// ignored.
    ///
    /// # Errors
    /// As [`Vm::tick`].
    pub fn http_call_response(
        &mut self,
        token: u32,
        reply: Option<HttpReply>,
    ) -> Result<Vec<Effect>, VmError> {
        self.alive()?;
        let kind = Calls::kind(token);
        let open = self.store.data_mut().calls.open.remove(&token);
        let Some(call) = open.filter(|_| kind == Some(CallKind::Http)) else {
            return Ok(Vec::new());
        };
        if self.root(call.root).is_none() {
            return Ok(Vec::new());
        }
        let mut parameters = (call.root, token, 0, 0, 0);
        if let Some(reply) = &reply {
            parameters.2 = size32(reply.headers.len());
            parameters.3 = size32(reply.body.len());
            parameters.4 = size32(reply.trailers.as_ref().map_or(0, Headers::len));
        } else {
            let status = (Status::BrokenConnection as u32, b"reset".to_vec());
            self.change_root(call.root, |root| root.status = status);
        }
        self.change_root(call.root, |root| root.http_reply = reply);
        let callback = self.exports.http_call_response.clone();
        self.run(call.root, callback.as_ref(), parameters)?;
        self.change_root(call.root, |root| {
            root.http_reply = None;
            root.status.1.clear();
        });
        Ok(self.take_effects())
    }

    /// Initial metadata of a gRPC stream came. A token that is not of a call under way is ignored, here and below.
    ///
    /// # Errors
    /// As [`Vm::tick`].
    pub fn grpc_initial_metadata(
        &mut self,
        token: u32,
        metadata: Headers,
    ) -> Result<Vec<Effect>, VmError> {
        let callback = self.exports.grpc_initial_metadata.clone();
        let slot = |root: &mut Root, map| root.grpc_initial_metadata = map;
        self.grpc_metadata(token, metadata, callback.as_ref(), slot)
    }

    /// Trailing metadata of a gRPC stream came.
    ///
    /// # Errors
    /// As [`Vm::tick`].
    pub fn grpc_trailing_metadata(
        &mut self,
        token: u32,
        metadata: Headers,
    ) -> Result<Vec<Effect>, VmError> {
        let callback = self.exports.grpc_trailing_metadata.clone();
        let slot = |root: &mut Root, map| root.grpc_trailing_metadata = map;
        self.grpc_metadata(token, metadata, callback.as_ref(), slot)
    }

    /// Runs a callback for which the root context has a map.
    fn grpc_metadata(
        &mut self,
        token: u32,
        metadata: Headers,
        callback: Option<&TypedFunc<(u32, u32, u32), ()>>,
        set: fn(&mut Root, Option<Headers>),
    ) -> Result<Vec<Effect>, VmError> {
        let Some(number) = self.caller(token)? else {
            return Ok(Vec::new());
        };
        let count = size32(metadata.len());
        self.change_root(number, |root| set(root, Some(metadata)));
        self.run(number, callback, (number, token, count))?;
        self.change_root(number, |root| set(root, None));
        Ok(self.take_effects())
    }

    /// A gRPC message came; of a unary call its answer, which ends it.
    ///
    /// # Errors
    /// As [`Vm::tick`].
    pub fn grpc_message(&mut self, token: u32, message: Vec<u8>) -> Result<Vec<Effect>, VmError> {
        let Some(number) = self.caller(token)? else {
            return Ok(Vec::new());
        };
        let size = size32(message.len());
        self.change_root(number, |root| root.grpc_message = Some(message));
        let callback = self.exports.grpc_message.clone();
        self.run(number, callback.as_ref(), (number, token, size))?;
        self.change_root(number, |root| root.grpc_message = None);
        if Calls::kind(token) == Some(CallKind::Grpc) {
            self.store.data_mut().calls.open.remove(&token);
        }
        Ok(self.take_effects())
    }

    /// The other side closed a gRPC stream, or a unary call failed. `status` is a gRPC status. A stream is over when
    /// both sides closed it.
    ///
    /// # Errors
    /// As [`Vm::tick`].
    pub fn grpc_close(
        &mut self,
        token: u32,
        status: u32,
        message: &str,
    ) -> Result<Vec<Effect>, VmError> {
        let Some(number) = self.caller(token)? else {
            return Ok(Vec::new());
        };
        if let Some(call) = self.store.data_mut().calls.open.get_mut(&token) {
            call.remote_closed = true;
        }
        self.change_root(number, |root| {
            root.status = (status, message.as_bytes().to_vec())
        });
        let callback = self.exports.grpc_close.clone();
        self.run(number, callback.as_ref(), (number, token, status))?;
        self.change_root(number, |root| root.status.1.clear());
        let unary = Calls::kind(token) == Some(CallKind::Grpc);
        let open = &mut self.store.data_mut().calls.open;
        if unary || open.get(&token).is_some_and(|call| call.local_closed) {
            open.remove(&token);
        }
        Ok(self.take_effects())
    }

    /// How many calls are under way.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.store.data().calls.open.len()
    }

    /// The root context that made a gRPC call.
    fn caller(&self, token: u32) -> Result<Option<u32>, VmError> {
        self.alive()?;
        if Calls::kind(token) == Some(CallKind::Http) {
            return Ok(None);
        }
        let host = self.store.data();
        let call = host.calls.open.get(&token);
        Ok(call
            .map(|call| call.root)
            .filter(|root| host.contexts.contains_key(root)))
    }

    pub(super) fn change_root(&mut self, number: u32, change: impl FnOnce(&mut Root)) {
        if let Some(Context::Root(root)) = self.store.data_mut().contexts.get_mut(&number) {
            change(root);
        }
    }
}
