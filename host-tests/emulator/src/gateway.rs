//! A gateway: one process with its shared data, queues, metrics and workers.

use crate::callout::{CallAnswer, Cluster};
use crate::event::Event;
use crate::exchange::{OriginReply, OriginRequest, OriginTrouble};
use crate::schedule::Entry;
use crate::services::MAIN;
use crate::worker::Worker;
use sluice_embed::memory::{MetricsStore, SharedQueues, SharedStore};
use sluice_embed::{Attributes, HttpCall, Module, Plugin, VmOptions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What serves the requests that pass a gateway.
pub trait Origin: Send {
    /// Whether the request can be sent at all; its body has not come yet.
    fn connect(&mut self, request: &OriginRequest) -> Result<(), OriginTrouble> {
        let _ = request;
        Ok(())
    }

    /// The answer to a whole request.
    fn answer(&mut self, request: &OriginRequest) -> OriginReply;

    /// The answer to a call that a filter makes to [`Cluster::Origin`], past itself, and that comes at this time.
    fn fetch(&mut self, at: Duration, call: &HttpCall) -> CallAnswer {
        let _ = (at, call);
        CallAnswer::Unavailable
    }
}

impl<F: FnMut(&OriginRequest) -> OriginReply + Send> Origin for F {
    fn answer(&mut self, request: &OriginRequest) -> OriginReply {
        self(request)
    }
}

/// What becomes of requests once the VM of their worker has crashed. The request that it crashed on is broken off in any
/// case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailurePolicy {
    /// `FAIL_RELOAD`: they are answered 503 until the VM is loaded again.
    #[default]
    Reload,
    /// `FAIL_CLOSED`: they are answered 503.
    Closed,
    /// `FAIL_OPEN`: they pass without the filter.
    Open,
}

/// How a gateway is set up.
pub struct GatewayOptions {
    /// The filter, compiled. Compile it once and give it to every world of the process.
    pub module: Module,
    /// The VM's options. `number` is the emulator's to set.
    pub vm: VmOptions,
    /// The plugin, its configuration among it.
    pub plugin: Plugin,
    /// How many workers there are, 1 or more.
    pub workers: usize,
    /// What the filter can call, by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// What requests go to.
    pub origin: Box<dyn Origin>,
    /// How many bytes of a body wait at most: `per_connection_buffer_limit_bytes`.
    pub buffer_limit: usize,
    /// How long a stream may be without an event: `stream_idle_timeout`.
    pub idle_timeout: Duration,
    /// How long the origin has for its answer: the route's `timeout`.
    pub route_timeout: Duration,
    /// Timeouts of routes of their own, by how the paths start.
    pub route_timeouts: Vec<(String, Duration)>,
    /// What a crash of a VM means for requests: `failure_policy`.
    pub failure_policy: FailurePolicy,
    /// How soon after it was loaded a crashed VM may be loaded again: `reload_config`.
    pub reload_backoff: Duration,
    /// Attributes of every stream beyond those that the emulator gives.
    pub attributes: Attributes,
}

impl GatewayOptions {
    /// A gateway with one worker, no clusters, and an origin that answers `200` and `ok`.
    #[must_use]
    pub fn new(module: &Module, configuration: impl AsRef<[u8]>) -> Self {
        let plugin = Plugin {
            configuration: configuration.as_ref().to_vec(),
            ..Plugin::default()
        };
        Self {
            module: module.clone(),
            vm: VmOptions::default(),
            plugin,
            workers: 1,
            clusters: BTreeMap::new(),
            origin: Box::new(|_: &OriginRequest| OriginReply::new(200, "ok")),
            buffer_limit: 1024 * 1024,
            idle_timeout: Duration::from_secs(300),
            route_timeout: Duration::from_secs(15),
            route_timeouts: Vec::new(),
            failure_policy: FailurePolicy::default(),
            reload_backoff: Duration::from_secs(1),
            attributes: Attributes::default(),
        }
    }

    /// With so many workers.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// With one more cluster.
    #[must_use]
    pub fn cluster(mut self, name: &str, cluster: Cluster) -> Self {
        self.clusters.insert(name.to_owned(), cluster);
        self
    }

    /// With this origin.
    #[must_use]
    pub fn origin(mut self, origin: impl Origin + 'static) -> Self {
        self.origin = Box::new(origin);
        self
    }
}

pub(crate) struct Gateway {
    pub module: Module,
    pub vm: VmOptions,
    pub plugin: Plugin,
    pub shared: Arc<SharedStore>,
    pub queues: Arc<SharedQueues>,
    pub metrics: Arc<MetricsStore>,
    /// The main thread has a VM of its own, which serves no requests.
    pub main: Option<Box<Worker>>,
    pub main_inbox: Vec<Entry<Event>>,
    /// A worker that is running is not in its place.
    pub workers: Vec<Option<Box<Worker>>>,
    /// What has come for workers whose call is interrupted.
    pub inboxes: Vec<Vec<Entry<Event>>>,
    pub clusters: BTreeMap<String, Cluster>,
    pub origin: Box<dyn Origin>,
    pub buffer_limit: usize,
    pub idle_timeout: u64,
    pub route_timeout: u64,
    pub route_timeouts: Vec<(String, u64)>,
    pub failure_policy: FailurePolicy,
    pub reload_backoff: u64,
    pub attributes: Attributes,
    /// How far its wall clock is off, in nanoseconds.
    pub clock_offset: i64,
    /// How many VMs have crashed.
    pub crashes: usize,
}

impl Gateway {
    /// The place of a worker, or of the main thread.
    pub fn place(&mut self, worker: usize) -> &mut Option<Box<Worker>> {
        match worker {
            MAIN => &mut self.main,
            worker => &mut self.workers[worker],
        }
    }

    pub fn inbox(&mut self, worker: usize) -> &mut Vec<Entry<Event>> {
        match worker {
            MAIN => &mut self.main_inbox,
            worker => &mut self.inboxes[worker],
        }
    }

    /// How long the origin has for a request with this path; 0 is for ever.
    pub fn timeout_of(&self, path: &[u8]) -> u64 {
        let own = self.route_timeouts.iter();
        let mut own = own.filter(|(start, _)| path.starts_with(start.as_bytes()));
        own.next()
            .map_or(self.route_timeout, |(_, timeout)| *timeout)
    }

    pub fn cluster(&mut self, name: &[u8]) -> Option<&mut Cluster> {
        self.clusters.get_mut(std::str::from_utf8(name).ok()?)
    }
}
