//! What a worker's VM asks of its gateway. The host functions on shared data and queues are where the emulator may
//! interrupt a call and let other workers run.

use crate::core::{Core, EPOCH};
use crate::event::{Event, Task, WorkerId};
use sluice_embed::memory::{MetricsStore, SharedQueues, SharedStore};
use sluice_embed::{
    CallRefused, CasMismatch, Clock, GrpcCall, GrpcStream, HttpCall, Level, Log, MetricKind,
    Metrics, NoSuchQueue, Queues, Random, Receiver, Services, SharedData, Upstreams,
};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// The number of the VM that a configuration is tried in. It is told of no queue, and has no timer.
pub(crate) const CANARY: usize = usize::MAX;

/// The number of the main thread's own VM.
pub(crate) const MAIN: usize = usize::MAX - 1;

pub(crate) struct WorkerServices {
    core: Arc<Core>,
    id: WorkerId,
    shared: Arc<SharedStore>,
    queues: Arc<SharedQueues>,
    metrics: Arc<MetricsStore>,
    random: Mutex<fastrand::Rng>,
    /// How many more host calls the VM survives, plus one; 0 for no end.
    doomed: AtomicU32,
    /// The VM counts as crashed: nothing that it still does has an effect.
    killed: AtomicBool,
}

impl WorkerServices {
    pub fn new(
        core: &Arc<Core>,
        id: WorkerId,
        shared: Arc<SharedStore>,
        queues: Arc<SharedQueues>,
        metrics: Arc<MetricsStore>,
        random: fastrand::Rng,
    ) -> Arc<Self> {
        Arc::new(Self {
            core: Arc::clone(core),
            id,
            shared,
            queues,
            metrics,
            random: Mutex::new(random),
            doomed: AtomicU32::new(0),
            killed: AtomicBool::new(false),
        })
    }

    pub fn services(self: &Arc<Self>) -> Services {
        Services {
            shared: Arc::clone(self) as _,
            queues: Arc::clone(self) as _,
            clock: Arc::clone(self) as _,
            random: Arc::clone(self) as _,
            metrics: Arc::clone(self) as _,
            log: Arc::clone(self) as _,
            upstreams: Arc::clone(self) as _,
        }
    }

    /// The VM is to crash in its next call, after so many of these host calls.
    pub fn doom(&self, after: u32) {
        self.doomed
            .store(after.saturating_add(1), Ordering::Relaxed);
    }

    /// Whether the call that has just ended was the last one.
    pub fn take_kill(&self) -> bool {
        let doomed = self.doomed.swap(0, Ordering::Relaxed) > 0;
        self.killed.swap(false, Ordering::Relaxed) || doomed
    }

    fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// On entering a host function on shared state: the place where a VM crashes, or stands still for a while.
    fn enter(&self) {
        match self.doomed.load(Ordering::Relaxed) {
            0 => {}
            1 => self.killed.store(true, Ordering::Relaxed),
            left => self.doomed.store(left - 1, Ordering::Relaxed),
        }
        let mut state = self.core.state();
        let plan = state.plan.interruption;
        if !state.running
            || plan.probability <= 0.0
            || state.draws.schedule.f64() >= plan.probability
        {
            return;
        }
        let length = state.draws.span(plan.length);
        let at = state.now + length;
        // With nothing to do meanwhile, only time passes.
        if state.schedule.next_at().is_none_or(|next| next > at) {
            state.now = at;
            return;
        }
        state.note(format_args!("{} interrupted", self.id));
        state.interrupted += 1;
        drop(state);
        let work = Arc::clone(&self.core) as _;
        self.core.baton.interrupt(work, |seat| {
            self.core.state().enter(at, Event::Resume(seat));
        });
    }

    /// Whether a callout to this cluster is refused at once.
    fn refuses(&self, cluster: &[u8], is_stream: bool) -> Result<(), CallRefused> {
        if self.id.worker == CANARY || self.is_killed() {
            return Err(CallRefused::Failed);
        }
        let mut state = self.core.state();
        if state.cluster(self.id.gateway, cluster).is_none() {
            return Err(CallRefused::UnknownCluster);
        }
        let probability = match is_stream {
            true => state.plan.streams.refused,
            false => state.plan.callouts.refused,
        };
        if state.draws.strikes(probability) {
            state.note(format_args!("{} fault: callout refused", self.id));
            return Err(CallRefused::Failed);
        }
        Ok(())
    }
}

impl SharedData for WorkerServices {
    fn get(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.enter();
        self.shared.get(key)
    }

    fn set(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), CasMismatch> {
        self.enter();
        if self.is_killed() {
            return Ok(());
        }
        self.shared.set(key, value, cas)
    }
}

impl Queues for WorkerServices {
    fn register(&self, vm_id: &str, name: &[u8], receiver: Receiver) -> u32 {
        self.queues.register(vm_id, name, receiver)
    }

    fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        self.queues.resolve(vm_id, name)
    }

    fn enqueue(&self, token: u32, value: &[u8]) -> Result<(), NoSuchQueue> {
        self.enter();
        if self.is_killed() {
            return Ok(());
        }
        self.queues.enqueue(token, value)?;
        let mut state = self.core.state();
        for (receiver, token) in self.queues.take_notices() {
            let worker = usize::try_from(receiver.vm).unwrap_or(CANARY);
            if worker == CANARY {
                continue;
            }
            let latency = state.plan.latency.queue;
            let at = state.now + state.draws.span(latency);
            let to = WorkerId { worker, ..self.id };
            let root = receiver.root;
            state.errands += 1;
            state.task(at, to, Task::Queue { root, token });
        }
        Ok(())
    }

    fn dequeue(&self, token: u32) -> Result<Option<Vec<u8>>, NoSuchQueue> {
        self.enter();
        if self.is_killed() {
            return Ok(None);
        }
        self.queues.dequeue(token)
    }
}

impl Clock for WorkerServices {
    fn now_nanos(&self) -> u64 {
        let mut state = self.core.state();
        let offset = state.gateway(self.id).clock_offset;
        EPOCH
            .saturating_add(state.now)
            .saturating_add_signed(offset)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.core.state().now
    }
}

impl Random for WorkerServices {
    fn fill(&self, bytes: &mut [u8]) {
        crate::baton::lock(&self.random).fill(bytes);
    }
}

impl Metrics for WorkerServices {
    fn define(&self, kind: MetricKind, name: &str) -> u32 {
        self.metrics.define(kind, name)
    }

    fn increment(&self, id: u32, by: i64) {
        if !self.is_killed() {
            self.metrics.increment(id, by);
        }
    }

    fn record(&self, id: u32, value: u64) {
        if !self.is_killed() {
            self.metrics.record(id, value);
        }
    }

    fn get(&self, id: u32) -> u64 {
        self.metrics.get(id)
    }
}

impl Log for WorkerServices {
    fn log(&self, level: Level, message: &str) {
        if !self.is_killed() {
            self.core
                .note(format_args!("{} log {level:?}: {message}", self.id));
        }
    }
}

impl Upstreams for WorkerServices {
    fn http_call(&self, _token: u32, call: &HttpCall) -> Result<(), CallRefused> {
        self.refuses(&call.upstream, false)
    }

    fn grpc_call(&self, _token: u32, _call: &GrpcCall) -> Result<(), CallRefused> {
        // No filter here makes one yet.
        Err(CallRefused::UnknownCluster)
    }

    fn grpc_stream(&self, _token: u32, open: &GrpcStream) -> Result<(), CallRefused> {
        self.refuses(&open.upstream, true)
    }
}
