//! The state that a VM's host functions work on.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{Memory, ResourceLimiter, TypedFunc};

use crate::context::{Context, Root, Stream};
use crate::effect::Effect;
use crate::engine::Limits;
use crate::services::{Level, MetricKind, Services};
use crate::vm::{RootId, StreamId, VmOptions};

/// The data of a VM's store.
pub(crate) struct Host {
    pub options: Arc<VmOptions>,
    pub services: Services,
    pub limits: Limits,
    pub generation: u32,
    pub memory: Option<Memory>,
    pub allocate: Option<TypedFunc<u32, u32>>,
    /// Host functions that the options refuse: a bit for each, by its place in the list.
    pub refused: u128,
    /// What may be called now.
    pub phase: Phase,
    pub contexts: HashMap<u32, Context>,
    pub next_context: u32,
    /// The context whose callback runs; 0 is the VM itself.
    pub current: u32,
    /// What `proxy_set_effective_context` chose; 0 is the current one.
    pub effective: u32,
    /// Whether the running callback's status is overruled by a local reply.
    pub stop: bool,
    /// Root contexts that said `proxy_done`, and are deleted after the call.
    pub done: Vec<u32>,
    pub effects: Vec<Effect>,
    pub calls: Calls,
    pub metrics: Metrics,
    /// Whether memory was asked for past the limit.
    pub out_of_memory: bool,
}

/// What a filter may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It initializes itself: WASI and logging only.
    Initializing,
    /// It allocates memory for the host: logging and the clock only.
    Allocating,
    Running,
}

/// HTTP and gRPC calls under way. Tokens count by four, and their last two bits say what they are of.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub open: HashMap<u32, Call>,
    drawn: [u32; 3],
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub root: u32,
    pub local_closed: bool,
    pub remote_closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Http = 0,
    Grpc = 1,
    GrpcStream = 2,
}

impl Calls {
    pub(crate) fn draw(&mut self, kind: CallKind) -> u32 {
        let [http, grpc, stream] = &mut self.drawn;
        let drawn = match kind {
            CallKind::Http => http,
            CallKind::Grpc => grpc,
            CallKind::GrpcStream => stream,
        };
        *drawn = drawn.wrapping_add(1);
        drawn.wrapping_mul(4).wrapping_add(kind as u32)
    }

    pub(crate) fn kind(token: u32) -> Option<CallKind> {
        match token & 3 {
            0 => Some(CallKind::Http),
            1 => Some(CallKind::Grpc),
            2 => Some(CallKind::GrpcStream),
            _ => None,
        }
    }

    pub(crate) fn began(&mut self, token: u32, root: u32) {
        let call = Call {
            root,
            local_closed: false,
            remote_closed: false,
        };
        self.open.insert(token, call);
    }
}

/// The VM's own ids of metrics: as in Envoy each definition draws one, even if the name is known.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counters: Vec<u32>,
    gauges: Vec<u32>,
    histograms: Vec<u32>,
}

impl Metrics {
    pub(crate) fn kind(id: u32) -> Option<MetricKind> {
        match id & 3 {
            0 => Some(MetricKind::Counter),
            1 => Some(MetricKind::Gauge),
            2 => Some(MetricKind::Histogram),
            _ => None,
        }
    }

    pub(crate) fn define(&mut self, kind: MetricKind, gateways: u32) -> u32 {
        let (ids, bits) = match kind {
            MetricKind::Counter => (&mut self.counters, 0),
            MetricKind::Gauge => (&mut self.gauges, 1),
            MetricKind::Histogram => (&mut self.histograms, 2),
        };
        ids.push(gateways);
        let place = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        place.wrapping_mul(4).wrapping_add(bits)
    }

    /// The gateway's id of a metric.
    pub(crate) fn find(&self, id: u32) -> Option<u32> {
        let ids = match Self::kind(id)? {
            MetricKind::Counter => &self.counters,
            MetricKind::Gauge => &self.gauges,
            MetricKind::Histogram => &self.histograms,
        };
        let place = usize::try_from(id >> 2).ok()?.checked_sub(1)?;
        ids.get(place).copied()
    }
}

impl Host {
    /// The context that a host function acts on. An effective context that is gone is no choice any more.
    pub(crate) fn acting(&self) -> u32 {
        if self.effective != 0 && self.contexts.contains_key(&self.effective) {
            self.effective
        } else {
            self.current
        }
    }

    /// The stream that a host function acts on, unless it acts on a root context.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        match self.contexts.get_mut(&self.acting())? {
            Context::Stream(stream) => Some(stream),
            Context::Root(_) => None,
        }
    }

    /// The number of the root context that a host function acts on, or of its stream's root context.
    pub(crate) fn root_number(&self) -> u32 {
        let acting = self.acting();
        match self.contexts.get(&acting) {
            Some(Context::Stream(stream)) => stream.root,
            _ => acting,
        }
    }

    pub(crate) fn root(&mut self) -> Option<&mut Root> {
        match self.contexts.get_mut(&self.root_number())? {
            Context::Root(root) => Some(root),
            Context::Stream(_) => None,
        }
    }

    pub(crate) fn stream_id(&self) -> StreamId {
        StreamId::new(self.generation, self.acting())
    }

    pub(crate) fn root_id(&self) -> RootId {
        RootId::new(self.generation, self.root_number())
    }

    /// A number for a new context.
    pub(crate) fn draw_context(&mut self) -> u32 {
        loop {
            let number = self.next_context;
            self.next_context = self.next_context.wrapping_add(1).max(1);
            if !self.contexts.contains_key(&number) {
                return number;
            }
        }
    }

    pub(crate) fn log(&self, level: Level, message: &str) {
        self.services.log.log(level, message);
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = maximum.unwrap_or(usize::MAX).min(self.limits.memory_bytes);
        let fits = desired <= limit;
        self.out_of_memory |= !fits;
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A table's element takes a pointer of the host's memory.
        let limit = self.limits.memory_bytes / size_of::<usize>();
        Ok(desired <= maximum.unwrap_or(usize::MAX).min(limit))
    }
}
