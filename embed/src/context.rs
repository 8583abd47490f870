//! What the host keeps for each context: a plugin's root context, or a stream.
//!
//! Envoy hands filters pointers to its own maps and buffers, and takes them away again. Here a map stays in its slot,
//! and `visible` says whether the filter still has the pointer. The rules, in Envoy's terms:
//! a callback sets the pointer; its Continue takes it away, its Pause leaves it; resuming a stream, on either side,
//! takes away all pointers of the request side and none of the response side.

use std::sync::Arc;

use crate::attributes::Attributes;
use crate::effect::HttpReply;
use crate::headers::{Headers, Map, Side};
use crate::vm::Plugin;

/// A context: `parent` of a root context is 0, of a stream its root.
#[derive(Debug)]
pub(crate) enum Context {
    Root(Root),
    Stream(Stream),
}

/// A plugin's root context.
#[derive(Debug)]
pub(crate) struct Root {
    pub plugin: Arc<Plugin>,
    /// Whether `proxy_on_context_create` was called.
    pub created: bool,
    /// Whether its configuration can be read: only while it starts.
    pub configuring: bool,
    /// The answer to an HTTP call, while its callback runs.
    pub http_reply: Option<HttpReply>,
    pub grpc_initial_metadata: Option<Headers>,
    pub grpc_message: Option<Vec<u8>>,
    pub grpc_trailing_metadata: Option<Headers>,
    /// What `proxy_get_status` reads: the status of the last failed call, and a text while its callback runs.
    pub status: (u32, Vec<u8>),
    /// Whether `proxy_on_done` asked to wait for `proxy_done`.
    pub pending_done: bool,
}

impl Root {
    pub(crate) fn new(plugin: Arc<Plugin>) -> Self {
        Self {
            plugin,
            created: false,
            configuring: false,
            http_reply: None,
            grpc_initial_metadata: None,
            grpc_message: None,
            grpc_trailing_metadata: None,
            status: (0, Vec::new()),
            pending_done: false,
        }
    }
}

/// A stream: one request and its response.
#[derive(Debug)]
pub(crate) struct Stream {
    pub root: u32,
    pub plugin: Arc<Plugin>,
    pub created: bool,
    pub attributes: Attributes,
    /// What `proxy_set_property` wrote, by its whole path.
    pub state: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
    pub request: Half,
    pub response: Half,
    /// Whether the last callback of either side was the last of its side.
    pub end_of_stream: bool,
    /// Whether `proxy_on_log` runs, in which all maps can be read.
    pub logging: bool,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Half {
    pub headers: Slot<Headers>,
    pub body: Slot<Vec<u8>>,
    pub trailers: Slot<Headers>,
    /// Whether the next piece of the body joins what is in the buffer.
    pub buffering: bool,
}

/// A value that the host keeps, and the filter may see.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    pub value: Option<T>,
    pub visible: bool,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            value: None,
            visible: false,
        }
    }
}

impl<T> Slot<T> {
    pub(crate) fn show(&mut self, value: T) {
        self.value = Some(value);
        self.visible = true;
    }

    pub(crate) fn seen(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.visible)
    }

    pub(crate) fn seen_mut(&mut self) -> Option<&mut T> {
        self.value.as_mut().filter(|_| self.visible)
    }
}

impl Stream {
    pub(crate) fn new(root: u32, plugin: Arc<Plugin>, attributes: Attributes) -> Self {
        Self {
            root,
            plugin,
            created: false,
            attributes,
            state: std::collections::BTreeMap::new(),
            request: Half::default(),
            response: Half::default(),
            end_of_stream: false,
            logging: false,
        }
    }

    pub(crate) fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    pub(crate) fn map(&self, map: Map) -> &Slot<Headers> {
        match map {
            Map::RequestHeaders => &self.request.headers,
            Map::RequestTrailers => &self.request.trailers,
            Map::ResponseHeaders => &self.response.headers,
            Map::ResponseTrailers => &self.response.trailers,
        }
    }

    pub(crate) fn map_mut(&mut self, map: Map) -> &mut Slot<Headers> {
        match map {
            Map::RequestHeaders => &mut self.request.headers,
            Map::RequestTrailers => &mut self.request.trailers,
            Map::ResponseHeaders => &mut self.response.headers,
            Map::ResponseTrailers => &mut self.response.trailers,
        }
    }

    /// A map to read. All can be read while the stream is logged, but the request trailers: Envoy's log has none.
    pub(crate) fn readable(&self, map: Map) -> Option<&Headers> {
        if self.logging {
            let all = self.map(map).value.as_ref();
            return all.filter(|_| map != Map::RequestTrailers);
        }
        self.map(map).seen()
    }

    /// A map to change, and whether it was made just now: trailers come into being when they are touched in the last
    /// body callback.
    pub(crate) fn writable(&mut self, map: Map) -> Option<(&mut Headers, bool)> {
        let side = match map {
            Map::RequestTrailers => Some(Side::Request),
            Map::ResponseTrailers => Some(Side::Response),
            Map::RequestHeaders | Map::ResponseHeaders => None,
        };
        let end_of_stream = self.end_of_stream;
        let mut made = false;
        if let Some(side) = side {
            let half = self.half(side);
            if !half.trailers.visible && half.body.visible && end_of_stream {
                half.trailers.show(Headers::new());
                made = true;
            }
        }
        let map = self.map_mut(map).seen_mut()?;
        Some((map, made))
    }

    /// What resuming takes away.
    pub(crate) fn resumed(&mut self) {
        self.request.headers.visible = false;
        self.request.body.visible = false;
        self.request.trailers.visible = false;
    }
}
