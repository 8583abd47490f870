//! A gRPC stream as a pair of pipes: messages go out, messages come in, until either side ends it. What travels in it
//! is not gRPC's business; `resp-bridge` turns the messages into a connection's bytes and back.
//!
//! Only root contexts open one: the SDK hands what comes in to the context that was running when it was opened.

use crate::raw;
use proxy_wasm::hostcalls;
use proxy_wasm::types::BufferType;
use sluice_core::redis::trouble::Trouble;

/// An open stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplex {
    token: u32,
}

impl Duplex {
    /// Opens a stream to `cluster`. That nobody is there is told later, by `on_grpc_stream_close`.
    ///
    /// # Errors
    /// When the gateway has no such cluster, or refuses at once.
    pub fn open(cluster: &str) -> Result<Self, Trouble> {
        hostcalls::open_grpc_stream(cluster, "sluice.Resp", "Talk", Vec::new())
            .map(|token| Self { token })
            .map_err(|_| Trouble::Connect)
    }

    /// Whether `token`, of a callback, is this stream's.
    #[must_use]
    pub fn is(self, token: u32) -> bool {
        self.token == token
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn send(self, message: &[u8]) -> Result<(), Trouble> {
        let sent = raw::send_on_stream(self.token, message);
        sent.then_some(()).ok_or(Trouble::Reset)
    }

    /// Ends this side of it. The gateway keeps a stream until both sides have ended theirs: without this, one that the
    /// other side ended would be kept for ever.
    pub fn close(self) {
        let _ = raw::close_stream(self.token);
    }

    /// Ends it at once, whatever is on its way.
    pub fn reset(self) {
        let _ = raw::cancel_stream(self.token);
    }
}

/// The message that has come. Call it in `on_grpc_stream_message` only, with its size.
#[must_use]
pub fn message(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::GrpcReceiveBuffer, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// What the status of `on_grpc_stream_close` says of a stream that was to stay open.
#[must_use]
pub fn trouble(status: u32) -> Trouble {
    const UNAVAILABLE: u32 = 14;
    match status {
        UNAVAILABLE => Trouble::Connect,
        _ => Trouble::Reset,
    }
}
