//! The services in memory, by Envoy's rules: for tests, for the emulator, and for a gateway of one process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::effect::{GrpcCall, GrpcStream, HttpCall};
use crate::services::{
    CallRefused, CasMismatch, Clock, Level, Log, MetricKind, Metrics, NoSuchQueue, Queues, Random,
    Receiver, SharedData, Upstreams,
};

/// A thread that panicked left nothing half done here: each change is one statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shared data of one `vm_id`. Versions count over all keys, start at 1 and are never 0; no key is ever deleted.
#[derive(Debug, Default)]
pub struct SharedStore {
    versions: Arc<Mutex<u32>>,
    values: Mutex<HashMap<Vec<u8>, Versioned>>,
}

/// A value and its version.
pub type Versioned = (Vec<u8>, u32);

impl SharedStore {
    /// A store for another `vm_id` of the same process: keys apart, versions counted together, as in Envoy.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            versions: Arc::clone(&self.versions),
            values: Mutex::default(),
        }
    }

    /// All keys and values, in the order of the keys.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<Vec<u8>, Versioned> {
        let values = lock(&self.values);
        values.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    fn next_version(&self) -> u32 {
        let mut last = lock(&self.versions);
        *last = last.checked_add(1).unwrap_or(1);
        *last
    }
}

impl SharedData for SharedStore {
    fn get(&self, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        lock(&self.values).get(key).cloned()
    }

    fn set(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), CasMismatch> {
        let mut values = lock(&self.values);
        match values.get_mut(key) {
            Some((_, version)) if cas != 0 && cas != *version => return Err(CasMismatch),
            Some(entry) => *entry = (value.to_vec(), self.next_version()),
            None => {
                values.insert(key.to_vec(), (value.to_vec(), self.next_version()));
            }
        }
        Ok(())
    }
}

/// The queues of a process. Each entry leaves a notice for its receiver, to be taken and delivered.
#[derive(Debug, Default)]
pub struct SharedQueues(Mutex<QueueState>);

#[derive(Debug, Default)]
struct QueueState {
    tokens: HashMap<(String, Vec<u8>), u32>,
    queues: HashMap<u32, (Receiver, VecDeque<Vec<u8>>)>,
    notices: VecDeque<(Receiver, u32)>,
}

impl SharedQueues {
    /// The notices since the last time, oldest first: who is to be told of an entry in which queue.
    pub fn take_notices(&self) -> VecDeque<(Receiver, u32)> {
        std::mem::take(&mut lock(&self.0).notices)
    }

    /// How many entries wait in a queue.
    #[must_use]
    pub fn len(&self, token: u32) -> usize {
        let state = lock(&self.0);
        state.queues.get(&token).map_or(0, |(_, queue)| queue.len())
    }
}

impl Queues for SharedQueues {
    fn register(&self, vm_id: &str, name: &[u8], receiver: Receiver) -> u32 {
        let mut state = lock(&self.0);
        let next = u32::try_from(state.tokens.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let key = (vm_id.to_owned(), name.to_vec());
        let token = *state.tokens.entry(key).or_insert(next);
        // What is in the queue stays in it.
        state
            .queues
            .entry(token)
            .or_insert((receiver, VecDeque::new()))
            .0 = receiver;
        token
    }

    fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        let key = (vm_id.to_owned(), name.to_vec());
        lock(&self.0).tokens.get(&key).copied()
    }

    fn enqueue(&self, token: u32, value: &[u8]) -> Result<(), NoSuchQueue> {
        let mut state = lock(&self.0);
        let (receiver, queue) = state.queues.get_mut(&token).ok_or(NoSuchQueue)?;
        queue.push_back(value.to_vec());
        let notice = (*receiver, token);
        state.notices.push_back(notice);
        Ok(())
    }

    fn dequeue(&self, token: u32) -> Result<Option<Vec<u8>>, NoSuchQueue> {
        let mut state = lock(&self.0);
        let (_, queue) = state.queues.get_mut(&token).ok_or(NoSuchQueue)?;
        Ok(queue.pop_front())
    }
}

/// A clock that moves when it is told to. Both of its times start at `start` nanoseconds.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    #[must_use]
    pub fn new(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }

    pub fn advance_nanos(&self, by: u64) {
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_nanos(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.now_nanos()
    }
}

/// Bytes that follow from a seed (SplitMix64). Not for secrets.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        for chunk in bytes.chunks_mut(8) {
            let mut z = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            for (byte, random) in chunk.iter_mut().zip(z.to_le_bytes()) {
                *byte = random;
            }
        }
    }
}

/// Counters, gauges, and the values that histograms were given.
#[derive(Debug, Default)]
pub struct MetricsStore(Mutex<Vec<Metric>>);

#[derive(Debug)]
struct Metric {
    kind: MetricKind,
    name: String,
    value: u64,
    recorded: Vec<u64>,
}

impl MetricsStore {
    /// The value of a counter or gauge.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<u64> {
        let metrics = lock(&self.0);
        let metric = metrics.iter().find(|metric| metric.name == name)?;
        Some(metric.value)
    }

    /// All counters and gauges, by name.
    #[must_use]
    pub fn values(&self) -> BTreeMap<String, u64> {
        let metrics = lock(&self.0);
        let plain = metrics
            .iter()
            .filter(|metric| metric.kind != MetricKind::Histogram);
        plain.map(|m| (m.name.clone(), m.value)).collect()
    }

    /// What a histogram was given, in order.
    #[must_use]
    pub fn recorded(&self, name: &str) -> Vec<u64> {
        let metrics = lock(&self.0);
        let metric = metrics.iter().find(|metric| metric.name == name);
        metric.map(|m| m.recorded.clone()).unwrap_or_default()
    }

    fn with<R: Default>(&self, id: u32, change: impl FnOnce(&mut Metric) -> R) -> R {
        let mut metrics = lock(&self.0);
        let metric = usize::try_from(id).ok().and_then(|id| metrics.get_mut(id));
        metric.map(change).unwrap_or_default()
    }
}

impl Metrics for MetricsStore {
    fn define(&self, kind: MetricKind, name: &str) -> u32 {
        let mut metrics = lock(&self.0);
        let known = metrics
            .iter()
            .position(|metric| metric.kind == kind && metric.name == name);
        let index = known.unwrap_or_else(|| {
            metrics.push(Metric {
                kind,
                name: name.to_owned(),
                value: 0,
                recorded: Vec::new(),
            });
            metrics.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    fn increment(&self, id: u32, by: i64) {
        self.with(id, |metric| {
            metric.value = metric.value.wrapping_add_signed(by);
        });
    }

    fn record(&self, id: u32, value: u64) {
        self.with(id, |metric| match metric.kind {
            MetricKind::Counter => metric.value = metric.value.wrapping_add(value),
            MetricKind::Gauge => metric.value = value,
            MetricKind::Histogram => metric.recorded.push(value),
        });
    }

    fn get(&self, id: u32) -> u64 {
        self.with(id, |metric| metric.value)
    }
}

/// Log lines, kept.
#[derive(Debug, Default)]
pub struct LogLines(Mutex<Vec<(Level, String)>>);

impl LogLines {
    /// The lines since the last time.
    pub fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut lock(&self.0))
    }
}

impl Log for LogLines {
    fn log(&self, level: Level, message: &str) {
        lock(&self.0).push((level, message.to_owned()));
    }
}

/// Knows no cluster.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoUpstreams;

impl Upstreams for NoUpstreams {
    fn http_call(&self, _token: u32, _call: &HttpCall) -> Result<(), CallRefused> {
        Err(CallRefused::UnknownCluster)
    }

    fn grpc_call(&self, _token: u32, _call: &GrpcCall) -> Result<(), CallRefused> {
        Err(CallRefused::UnknownCluster)
    }

    fn grpc_stream(&self, _token: u32, _open: &GrpcStream) -> Result<(), CallRefused> {
        Err(CallRefused::UnknownCluster)
    }
}
