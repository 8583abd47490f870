//! The state of a world, and the loop that works off its schedule.

use crate::baton::{Baton, Next, Work, lock};
use crate::callout::{Call, Cluster};
use crate::draws::Draws;
use crate::event::{Event, StreamKey, Task, WorkerId};
use crate::exchange::{Answer, Ended, Exchange, OriginRequest};
use crate::gateway::{FailurePolicy, Gateway};
use crate::plan::Plan;
use crate::redis::{RedisNode, RedisStream};
use crate::schedule::Schedule;
use crate::trace::Trace;
use crate::worker::Worker;
use sluice_embed::{Headers, HttpCall, RootId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

/// When the wall clocks begin: some day in 2026, in nanoseconds since the Unix epoch.
pub(crate) const EPOCH: u64 = 1_780_000_000_000_000_000;

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Everything up to this time.
    Until(u64),
    /// Until nothing is under way, but no further than this time.
    Quiet(u64),
    /// One entry, if one is due until this time, and what it interrupts.
    Step(u64),
}

pub(crate) struct State {
    pub now: u64,
    pub goal: Goal,
    pub stepped: bool,
    /// The schedule is being worked off: calls may be interrupted.
    pub running: bool,
    /// Calls that are interrupted.
    pub interrupted: usize,
    pub schedule: Schedule<Event>,
    pub draws: Draws,
    pub plan: Plan,
    pub trace: Trace,
    pub gateways: Vec<Gateway>,
    pub exchanges: Vec<Exchange>,
    /// Exchanges that have not ended.
    pub open: usize,
    pub origin_log: Vec<OriginRequest>,
    pub calls: BTreeMap<u64, Call>,
    /// Calls that their filters have given up, and that still come to their servers.
    pub late: BTreeMap<u64, (WorkerId, HttpCall)>,
    pub redis: RedisNode,
    pub streams: BTreeMap<StreamKey, RedisStream>,
    /// Queue deliveries, reloads and timed faults that are under way.
    pub errands: usize,
    number: u64,
}

impl State {
    pub fn new(seed: u64, plan: Plan) -> Self {
        Self {
            now: 0,
            goal: Goal::Until(0),
            stepped: false,
            running: false,
            interrupted: 0,
            schedule: Schedule::new(),
            draws: Draws::new(seed),
            plan,
            trace: Trace::default(),
            gateways: Vec::new(),
            exchanges: Vec::new(),
            open: 0,
            origin_log: Vec::new(),
            calls: BTreeMap::new(),
            late: BTreeMap::new(),
            redis: RedisNode::new(seed),
            streams: BTreeMap::new(),
            errands: 0,
            number: 0,
        }
    }

    /// Puts an event into the schedule.
    pub fn enter(&mut self, at: u64, event: Event) {
        let draw = self.draws.schedule.u64(..);
        self.schedule.enter(at, draw, event);
    }

    pub fn task(&mut self, at: u64, worker: WorkerId, task: Task) {
        self.enter(at, Event::Worker(worker, task));
    }

    pub fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    pub fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    pub fn gateway(&mut self, id: WorkerId) -> &mut Gateway {
        &mut self.gateways[id.gateway]
    }

    pub fn cluster(&mut self, gateway: usize, name: &[u8]) -> Option<&mut Cluster> {
        let name = std::str::from_utf8(name).ok()?;
        self.gateways[gateway].clusters.get_mut(name)
    }

    /// Whether there is nothing left to wait for but timers.
    fn is_quiet(&self) -> bool {
        self.open == 0 && self.calls.is_empty() && self.errands == 0
    }

    fn is_reached(&self) -> bool {
        if self.interrupted > 0 {
            return false;
        }
        let (limit, early) = match self.goal {
            Goal::Until(limit) => (limit, false),
            Goal::Quiet(limit) => (limit, self.is_quiet()),
            Goal::Step(limit) => (limit, self.stepped),
        };
        early || self.schedule.next_at().is_none_or(|at| at > limit)
    }
}

/// A world's state, and the baton of its threads.
pub(crate) struct Core {
    state: Mutex<State>,
    pub baton: Baton,
    /// Itself, for the services of VMs.
    pub own: Weak<Core>,
}

impl Core {
    pub fn new(state: State) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            state: Mutex::new(state),
            baton: Baton::default(),
            own: Weak::clone(own),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        self.state().note(what);
    }

    pub fn buffer_limit(&self, gateway: usize) -> usize {
        self.state().gateways[gateway].buffer_limit
    }

    pub fn failure_policy(&self, worker: WorkerId) -> FailurePolicy {
        self.state().gateway(worker).failure_policy
    }

    pub fn next_number(&self) -> u64 {
        self.state().next_number()
    }

    pub fn tick_after(&self, worker: WorkerId, root: RootId, setting: u64, period: u64) {
        let mut state = self.state();
        let at = state.now.saturating_add(period);
        state.task(at, worker, Task::Tick(root, setting));
    }

    /// The VM of a worker has died.
    pub fn vm_died(&self, worker: WorkerId) {
        self.abandon_calls(worker);
        self.state().gateway(worker).crashes += 1;
    }

    /// A worker's callouts and streams are nobody's any more. What was sent comes to its server all the same.
    pub fn abandon_calls(&self, worker: WorkerId) {
        let mut state = self.state();
        let own = state.calls.iter().filter(|(_, call)| call.worker == worker);
        for number in own.map(|(number, _)| *number).collect::<Vec<_>>() {
            state.end_call(number);
        }
        state.streams.retain(|key, _| key.worker != worker);
    }

    /// The head of an answer has gone to the client.
    pub fn answer_headers(&self, x: usize, headers: Headers, only_headers: bool, closes: bool) {
        let mut state = self.state();
        let at = Duration::from_nanos(state.now);
        let status = headers
            .get(":status")
            .and_then(|value| std::str::from_utf8(value).ok());
        let status = status.and_then(|value| value.parse().ok()).unwrap_or(0);
        state.note(format_args!("#{x} answer {status}"));
        state.exchanges[x].answer = Some(Answer {
            status,
            headers,
            at,
            only_headers,
            closes,
            ..Answer::default()
        });
    }

    pub fn answer_data(&self, x: usize, piece: &[u8]) {
        if let Some(answer) = &mut self.state().exchanges[x].answer {
            answer.body.extend_from_slice(piece);
        }
    }

    pub fn answer_trailers(&self, x: usize, trailers: Headers) {
        if let Some(answer) = &mut self.state().exchanges[x].answer {
            answer.trailers = trailers;
        }
    }

    /// An exchange has ended. What the origin still had of it is broken off.
    pub fn ended(&self, x: usize, how: Ended, details: &str, upstream_open: bool) {
        let mut state = self.state();
        let now = Duration::from_nanos(state.now);
        state.note(format_args!("#{x} {how:?} {details}"));
        let exchange = &mut state.exchanges[x];
        exchange.ended = how;
        exchange.ended_at = now;
        details.clone_into(&mut exchange.details);
        if let Some(answer) = &mut exchange.answer {
            answer.complete = how == Ended::Answered;
        }
        let seen = exchange.at_origin;
        state.open -= 1;
        if let Some(seen) = seen.filter(|_| upstream_open) {
            state.origin_log[seen].reset = true;
        }
    }

    /// Runs a worker's task; if the worker is in an interrupted call, the task waits for its end.
    fn run_task(&self, id: WorkerId, key: crate::schedule::Key, task: Task) {
        let worker = {
            let mut state = self.state();
            let gateway = state.gateway(id);
            match gateway.place(id.worker).take() {
                Some(worker) => worker,
                None => {
                    let event = Event::Worker(id, task);
                    let entry = crate::schedule::Entry { key, event };
                    gateway.inbox(id.worker).push(entry);
                    return;
                }
            }
        };
        self.put_back(id, worker, |worker| worker.perform(self, task));
    }

    /// Has a worker do something, and puts it back to its place.
    pub fn put_back(&self, id: WorkerId, mut worker: Box<Worker>, act: impl FnOnce(&mut Worker)) {
        act(&mut worker);
        let mut state = self.state();
        let gateway = state.gateway(id);
        *gateway.place(id.worker) = Some(worker);
        for entry in std::mem::take(gateway.inbox(id.worker)) {
            state.schedule.put_back(entry);
        }
    }
}

impl Work for Core {
    fn work(&self) -> Next {
        loop {
            let entry = {
                let mut state = self.state();
                if state.is_reached() {
                    return Next::Finished;
                }
                let Some(entry) = state.schedule.pop() else {
                    return Next::Finished;
                };
                state.now = state.now.max(entry.key.at);
                entry
            };
            match entry.event {
                Event::Resume(seat) => {
                    self.state().interrupted -= 1;
                    return Next::Resume(seat);
                }
                Event::Worker(id, task) => self.run_task(id, entry.key, task),
                Event::Origin(x, piece) => self.at_origin(x, piece),
                Event::CallArrives(call) => self.call_arrives(call),
                Event::StreamArrives(key, bytes) => self.stream_arrives(key, &bytes),
                Event::Fault(fault) => self.strike(fault),
            }
            self.state().stepped = true;
        }
    }
}
