//! Gateways, clients, an origin and a Redis in one process, under a virtual clock.

use crate::core::{Core, Goal, State};
use crate::event::{Event, Piece, Task, WorkerId};
use crate::exchange::{Client, Ended, Exchange, OriginRequest, Request};
use crate::gateway::{Gateway, GatewayOptions};
use crate::plan::{Fault, Plan, Span, nanos};
use crate::services::MAIN;
use sluice_embed::StartError;
use sluice_embed::memory::{MetricsStore, SharedQueues, SharedStore};
use sluice_model_redis::Server;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// A gateway of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId(pub(crate) usize);

/// The whole: whatever happens in it happens in virtual time, in an order that its seed decides.
pub struct World {
    core: Arc<Core>,
    seed: u64,
}

impl World {
    /// A world without gateways. The plan says how hostile it is.
    #[must_use]
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut state = State::new(seed, plan);
        state.enter_faults();
        Self {
            core: Core::new(state),
            seed,
        }
    }

    /// Starts a gateway: the main thread tries the plugin out in a VM that it drops, starts it in one of its own, then
    /// each worker starts it.
    ///
    /// # Errors
    /// When the filter refuses the configuration, or fails. The log in the trace says more.
    pub fn add_gateway(&mut self, options: GatewayOptions) -> Result<GatewayId, StartError> {
        let index = {
            let mut state = self.core.state();
            state.gateways.push(Gateway {
                module: options.module,
                vm: options.vm,
                plugin: options.plugin,
                shared: Arc::new(SharedStore::default()),
                queues: Arc::new(SharedQueues::default()),
                metrics: Arc::new(MetricsStore::default()),
                main: None,
                main_inbox: Vec::new(),
                workers: Vec::new(),
                inboxes: Vec::new(),
                clusters: options.clusters,
                origin: options.origin,
                buffer_limit: options.buffer_limit,
                idle_timeout: nanos(options.idle_timeout),
                route_timeout: nanos(options.route_timeout),
                route_timeouts: options
                    .route_timeouts
                    .into_iter()
                    .map(|(start, timeout)| (start, nanos(timeout)))
                    .collect(),
                failure_policy: options.failure_policy,
                reload_backoff: nanos(options.reload_backoff),
                attributes: options.attributes,
                clock_offset: 0,
                crashes: 0,
            });
            state.gateways.len() - 1
        };
        let plugin = self.core.state().gateways[index].plugin.clone();
        self.core.try_on_main_thread(index, &plugin.configuration)?;
        let mut main = self.core.new_worker(WorkerId {
            gateway: index,
            worker: MAIN,
        })?;
        main.start(&self.core, &plugin);
        self.core.state().gateways[index].main = Some(main);
        for worker in 0..options.workers {
            let id = WorkerId {
                gateway: index,
                worker,
            };
            let mut worker = self.core.new_worker(id)?;
            worker.start(&self.core, &plugin);
            let mut state = self.core.state();
            let gateway = state.gateway(id);
            gateway.workers.push(Some(worker));
            gateway.inboxes.push(Vec::new());
        }
        Ok(GatewayId(index))
    }

    /// Puts a request into the schedule, at a time of the virtual clock that is not past. Answers its place in the list
    /// of exchanges. Without a worker, one is drawn.
    pub fn request(
        &mut self,
        at: Duration,
        gateway: GatewayId,
        worker: Option<usize>,
        request: Request,
        client: Client,
    ) -> usize {
        let mut state = self.core.state();
        let workers = state.gateways[gateway.0].workers.len();
        let worker = worker.unwrap_or_else(|| state.draws.schedule.usize(..workers));
        let x = state.exchanges.len();
        let id = WorkerId {
            gateway: gateway.0,
            worker,
        };
        let sent = nanos(at).max(state.now);
        state.open += 1;
        state.send_request(sent, id, x, &request);
        let leaves = match client {
            Client::Patient => None,
            Client::LeavesAfter(patience) => Some(nanos(patience)),
            Client::AsPlanned => {
                let (probability, patience) =
                    (state.plan.client_aborts, state.plan.client_patience);
                let leaves = state.draws.strikes(probability);
                leaves.then(|| state.draws.fault_span(patience))
            }
        };
        if let Some(patience) = leaves {
            state.task(sent + patience + 1, id, Task::Abort(x));
        }
        state.exchanges.push(Exchange {
            gateway,
            worker,
            sent: Duration::from_nanos(sent),
            request,
            answer: None,
            ended: Ended::Open,
            ended_at: Duration::ZERO,
            details: String::new(),
            at_origin: None,
            upstream_at: 0,
            connected_at: 0,
            unreachable: false,
        });
        x
    }

    /// The client of an exchange leaves now, if it is not over.
    pub fn leave(&mut self, exchange: usize) {
        let mut state = self.core.state();
        let Exchange {
            gateway, worker, ..
        } = state.exchanges[exchange];
        let id = WorkerId {
            gateway: gateway.0,
            worker,
        };
        let now = state.now;
        state.task(now, id, Task::Abort(exchange));
    }

    /// Works off the schedule up to this time, and sets the clock to it.
    pub fn run_until(&mut self, at: Duration) {
        self.run(Goal::Until(nanos(at)));
        let mut state = self.core.state();
        state.now = state.now.max(nanos(at));
    }

    /// Works off the schedule for so long.
    pub fn run_for(&mut self, length: Duration) {
        self.run_until(self.now() + length);
    }

    /// Works off the schedule until all exchanges have ended and no callout or queue entry is under way, or this time
    /// has come. Answers whether it is quiet.
    pub fn run_to_quiet(&mut self, limit: Duration) -> bool {
        self.run(Goal::Quiet(nanos(limit)));
        let state = self.core.state();
        state.open == 0 && state.calls.is_empty() && state.errands == 0
    }

    /// Works off the schedule until a condition holds, or this time has come. Answers whether it holds.
    pub fn run_until_true(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&World) -> bool,
    ) -> bool {
        while !condition(self) {
            self.run(Goal::Step(nanos(limit)));
            if !self.core.state().stepped {
                return condition(self);
            }
        }
        true
    }

    fn run(&mut self, goal: Goal) {
        let mut state = self.core.state();
        state.goal = goal;
        state.stepped = false;
        state.running = true;
        drop(state);
        self.core.baton.run(&*self.core);
        self.core.state().running = false;
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.core.state().now)
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Makes something happen now.
    pub fn strike(&mut self, fault: Fault) {
        let mut state = self.core.state();
        let now = state.now;
        state.enter(now, Event::Fault(fault));
    }

    /// Makes the run more or less hostile from now on. What the new plan times is not put into the schedule: see
    /// [`World::strike`].
    pub fn change_plan(&mut self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.core.state().plan);
    }

    /// Draws a number below `limit` for the workload, from a stream of its own.
    pub fn draw(&mut self, limit: u64) -> u64 {
        self.core.state().draws.workload.u64(..limit.max(1))
    }

    /// Draws a length of time for the workload.
    pub fn draw_span(&mut self, span: Span) -> Duration {
        let (least, most) = span.nanos();
        Duration::from_nanos(
            self.core
                .state()
                .draws
                .workload
                .u64(least..=most.max(least)),
        )
    }

    /// All exchanges, in the order in which they were asked for.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.core.state().exchanges.clone()
    }

    /// One exchange.
    #[must_use]
    pub fn exchange(&self, place: usize) -> Exchange {
        self.core.state().exchanges[place].clone()
    }

    /// All requests that came to an origin, in the order of their heads.
    #[must_use]
    pub fn origin_log(&self) -> Vec<OriginRequest> {
        self.core.state().origin_log.clone()
    }

    /// What has happened, line by line.
    #[must_use]
    pub fn trace(&self) -> String {
        self.core.state().trace.text().to_owned()
    }

    /// A fingerprint of the trace.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.core.state().trace.hash()
    }

    /// The counters and gauges of a gateway, by name.
    #[must_use]
    pub fn metrics(&self, gateway: GatewayId) -> BTreeMap<String, u64> {
        let metrics = Arc::clone(&self.core.state().gateways[gateway.0].metrics);
        metrics.values()
    }

    /// One of them; 0 if it does not exist.
    #[must_use]
    pub fn metric(&self, gateway: GatewayId, name: &str) -> u64 {
        let metrics = Arc::clone(&self.core.state().gateways[gateway.0].metrics);
        metrics.value(name).unwrap_or(0)
    }

    /// A gateway's shared data: keys and values.
    #[must_use]
    pub fn shared_data(&self, gateway: GatewayId) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let shared = Arc::clone(&self.core.state().gateways[gateway.0].shared);
        let entries = shared.entries().into_iter();
        entries.map(|(key, (value, _))| (key, value)).collect()
    }

    /// The bytes of all keys and values in a gateway's shared data.
    #[must_use]
    pub fn shared_bytes(&self, gateway: GatewayId) -> usize {
        let entries = self.shared_data(gateway);
        entries
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }

    /// How many VMs of a gateway have crashed.
    #[must_use]
    pub fn crashes(&self, gateway: GatewayId) -> usize {
        self.core.state().gateways[gateway.0].crashes
    }

    /// Streams and callouts that a worker holds. A VM that has crashed hears no more of its callouts.
    #[must_use]
    pub fn under_way(&self, gateway: GatewayId, worker: usize) -> usize {
        let state = self.core.state();
        let worker = state.gateways[gateway.0].workers[worker].as_ref();
        worker.map_or(0, |worker| {
            let calls = match worker.dead {
                true => 0,
                false => worker.vm.calls(),
            };
            worker.streams.len() + calls
        })
    }

    /// The bytes of a worker's linear memory.
    #[must_use]
    pub fn vm_memory(&self, gateway: GatewayId, worker: usize) -> usize {
        let mut state = self.core.state();
        let worker = state.gateways[gateway.0].workers[worker].as_mut();
        worker.map_or(0, |worker| worker.vm.memory_bytes())
    }

    /// What Redis answers to a command of the test's own.
    pub fn redis_command(&mut self, arguments: &[&str]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", arguments.len());
        for argument in arguments {
            request += &format!("${}\r\n{argument}\r\n", argument.len());
        }
        let mut state = self.core.state();
        let micros = state.redis.now(state.now);
        let mut connection = state.redis.server.connect();
        let server = &mut state.redis.server;
        server.feed(&mut connection, request.as_bytes(), micros)
    }

    /// Redis, to look into and to change.
    #[must_use]
    pub fn redis(&mut self) -> Redis<'_> {
        Redis(self.core.state())
    }
}

/// The model Redis of a world.
pub struct Redis<'a>(MutexGuard<'a, State>);

impl Deref for Redis<'_> {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.0.redis.server
    }
}

impl DerefMut for Redis<'_> {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0.redis.server
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.core.baton.dismiss();
        // The workers hold the core, which holds them.
        let gateways = std::mem::take(&mut self.core.state().gateways);
        drop(gateways);
    }
}

impl State {
    /// Puts the pieces of a request on their way.
    fn send_request(&mut self, sent: u64, worker: WorkerId, x: usize, request: &Request) {
        let latency = self.plan.latency.client;
        let mut at = sent;
        let only_headers = request.body.is_empty() && request.trailers.is_empty();
        let only_headers = only_headers && !request.unfinished;
        let head = Piece::Headers(crate::tasks::head(x, request), only_headers);
        self.task(at, worker, Task::Request(x, head));
        let last = request.body.len().wrapping_sub(1);
        let end = request.ends_with_body && request.trailers.is_empty();
        for (number, piece) in request.body.iter().enumerate() {
            at += 1 + self.draws.span(latency);
            let piece = Piece::Body(piece.clone(), end && number == last);
            self.task(at, worker, Task::Request(x, piece));
        }
        if only_headers || request.unfinished || (end && !request.body.is_empty()) {
            return;
        }
        at += 1;
        let piece = match request.trailers.is_empty() {
            true => Piece::Body(Vec::new(), true),
            false => Piece::Trailers(request.trailers.clone()),
        };
        self.task(at, worker, Task::Request(x, piece));
    }
}
