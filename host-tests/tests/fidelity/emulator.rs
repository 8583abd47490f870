//! Scenarios in the emulator: no socket, no thread of Envoy's, and no time that passes by itself.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use host_tests::config::Config;
use host_tests::fidelity::Runner;
use host_tests::fidelity::observed::{self, Answer, Observed};
use host_tests::fidelity::scenario::{
    self, Bytes, Condition, RedisRoute, RedisTrouble, Scenario, Step,
};
use host_tests::gateway::Route;
use host_tests::message::Message;
use host_tests::tools;
use sluice_embed::{Attributes, Engine, Limits, Module};
use sluice_emulator::{
    CallAnswer, Client, Cluster, Ended, FailurePolicy, Fault, GatewayId, GatewayOptions, Plan,
    Request, Span, World,
};

use super::backend::{self, Backend};
use super::wire::{self, Rest};

/// How the probe's lines start.
const MARK: &str = "probe| ";

/// Nothing takes longer than this in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A trace that is silent for so long has ended.
const QUIET: Duration = Duration::from_millis(40);

/// How much later than it happens something is noticed by who waits for it.
const NOTICE: Duration = Duration::from_millis(5);

/// Between the pieces of a body, so that each comes by itself.
const BETWEEN: Duration = Duration::from_millis(15);

/// Gateways, origin and Redis of the emulator.
pub struct Emulator;

impl Runner for Emulator {
    fn name(&self) -> &'static str {
        "the emulator"
    }

    fn run(&self, scenario: &Scenario) -> Observed {
        let backend = Backend::new(scenario);
        let mut world = World::new(1, plan());
        let Ok(gateway) = world.add_gateway(options(scenario, &backend)) else {
            return Observed {
                refused: true,
                trace: trace(&world, scenario.workers),
                ..Observed::default()
            };
        };
        // It is up before the first client comes.
        world.run_for(Duration::from_millis(1));
        let mut run = Run {
            scenario,
            world,
            gateway,
            backend,
            calls: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        for step in &scenario.steps {
            run.step(step);
        }
        run.finish()
    }
}

/// A quick network on which nothing goes wrong.
fn plan() -> Plan {
    let mut plan = Plan::calm();
    let often = Span::exactly(Duration::from_millis(1));
    plan.latency.client = Span::micros(0, 0);
    plan.latency.connect = often;
    plan.latency.origin = often;
    plan.latency.callout = often;
    plan.latency.queue = Span::micros(10, 10);
    plan
}

/// The gateway of the example that the runner on Envoy starts.
fn options(scenario: &Scenario, backend: &Backend) -> GatewayOptions {
    let route = match scenario.redis {
        RedisRoute::None => Route::None,
        RedisRoute::Direct => Route::Direct,
        RedisRoute::Stream => Route::Stream,
    };
    let mut config = Config::example(route.example());
    let filter = config.filter();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let allowed = &filter["vm_config"]["capability_restriction_config"]["allowed_capabilities"];
    let allowed = allowed
        .as_object()
        .map(|names| names.keys().cloned().collect());

    let configuration = scenario.configuration();
    let mut options = GatewayOptions::new(&module(&scenario.filter), &configuration)
        .workers(scenario.workers)
        .origin(backend.clone());
    options.plugin.name = text(&filter["name"]);
    options.plugin.allow_on_headers_stop_iteration = scenario.allow_on_headers_stop_iteration;
    options.vm.vm_id = text(&filter["vm_config"]["vm_id"]);
    options.vm.allowed = allowed;
    options.attributes = Attributes::default().text(&["xds", "cluster_name"], "origin");
    if scenario.program.is_some() {
        options.vm.vm_configuration = configuration.into_bytes();
        options.vm.allowed = None;
    }
    options.failure_policy = match scenario.failure_policy {
        scenario::FailurePolicy::FailReload => FailurePolicy::Reload,
        scenario::FailurePolicy::FailClosed => FailurePolicy::Closed,
        scenario::FailurePolicy::FailOpen => FailurePolicy::Open,
    };
    options.reload_backoff = Duration::from_millis(10);
    options.route_timeouts = vec![("/hasty".to_owned(), Duration::from_millis(100))];
    if let Some(limit) = scenario.buffer_limit {
        options.buffer_limit = usize::try_from(limit).expect("a size of this machine");
    }
    let origin = backend.clone();
    let calls = Cluster::Http(Box::new(move |call| origin.call(call)));
    let dead = Cluster::Http(Box::new(|_| CallAnswer::Unavailable));
    let mut options = options.cluster("origin", calls).cluster("dead", dead);
    options = match scenario.redis {
        RedisRoute::None => options,
        RedisRoute::Direct => options.cluster("sluice-redis", Cluster::Redis),
        RedisRoute::Stream => options.cluster("sluice-redis", Cluster::RedisStream),
    };
    options
}

/// A filter, compiled once for all scenarios.
fn module(name: &str) -> Module {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&Limits::default()).unwrap());
    static MODULES: LazyLock<Mutex<HashMap<String, Module>>> = LazyLock::new(Mutex::default);
    let mut modules = MODULES.lock().unwrap();
    let compile = || {
        ENGINE
            .compile(&fs::read(tools::wasm(name)).unwrap())
            .unwrap()
    };
    modules
        .entry(name.to_owned())
        .or_insert_with(compile)
        .clone()
}

struct Run<'a> {
    scenario: &'a Scenario,
    world: World,
    gateway: GatewayId,
    backend: Backend,
    /// Requests under way, by name: the places of their exchanges.
    calls: BTreeMap<String, Vec<usize>>,
    answers: BTreeMap<String, Answer>,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Request(request) if request.repeat > 1 => {
                let mut answers = Vec::new();
                for _ in 0..request.repeat {
                    let exchange = self.send(request);
                    answers.push(self.answer(exchange, false));
                }
                self.answers
                    .insert(request.name.clone(), Answer::of(answers));
            }
            Step::Request(request) => {
                self.start(request);
                self.finish_call(&request.name, false);
            }
            Step::Start(request) => self.start(request),
            Step::Finish(name) => self.finish_call(name, false),
            Step::Leave(name) => {
                for exchange in &self.calls[name] {
                    self.world.leave(*exchange);
                }
                self.finish_call(name, true);
            }
            Step::WaitFor(condition) => {
                let limit = self.world.now() + PATIENCE;
                let (backend, gateway) = (self.backend.clone(), self.gateway);
                let holds = |world: &World| holds(world, gateway, &backend, condition);
                let held = self.world.run_until_true(limit, holds);
                assert!(held, "never: {condition:?}\n{}", self.world.trace());
                self.world.run_for(NOTICE);
            }
            Step::AdvanceMs(time) => self.world.run_for(Duration::from_millis(*time)),
            Step::Redis(trouble) => {
                match trouble {
                    RedisTrouble::Stop => {
                        self.world.strike(Fault::RedisRestart { keep_data: false });
                        self.world.run_for(Duration::ZERO);
                        self.world.strike(Fault::RedisDown);
                    }
                    RedisTrouble::Start => self.world.strike(Fault::RedisUp),
                    RedisTrouble::Freeze => self.world.strike(Fault::RedisFreeze),
                    RedisTrouble::Thaw => self.world.strike(Fault::RedisThaw),
                    RedisTrouble::Flush => drop(self.world.redis_command(&["FLUSHALL"])),
                    RedisTrouble::ForgetScripts => {
                        drop(self.world.redis_command(&["SCRIPT", "FLUSH"]));
                    }
                }
                self.world.run_for(Duration::ZERO);
            }
        }
    }

    fn start(&mut self, request: &scenario::Request) {
        let exchanges = (0..request.repeat).map(|_| self.send(request)).collect();
        let before = self.calls.insert(request.name.clone(), exchanges);
        assert!(
            before.is_none() && !self.answers.contains_key(&request.name),
            "two requests are called {}",
            request.name
        );
    }

    fn send(&mut self, request: &scenario::Request) -> usize {
        let chunked = !request.pieces.is_empty() || !request.trailers.is_empty();
        let between = if chunked { BETWEEN } else { Duration::ZERO };
        let change = |plan: &mut Plan| plan.latency.client = Span::exactly(between);
        self.world.change_plan(change);
        let request = as_sent(request, chunked, self.scenario.trailers);
        let now = self.world.now();
        let to = self.gateway;
        self.world.request(now, to, None, request, Client::Patient)
    }

    fn finish_call(&mut self, name: &str, left: bool) {
        let exchanges = self.calls.remove(name);
        let exchanges = exchanges.expect("a request of this name was started");
        let answers = exchanges.into_iter();
        let answers = answers.map(|exchange| self.answer(exchange, left));
        let answers = Answer::of(answers.collect());
        self.answers.insert(name.to_owned(), answers);
    }

    /// Waits for the end of an exchange, and tells what the client got.
    fn answer(&mut self, exchange: usize, left: bool) -> Answer {
        let limit = self.world.now() + PATIENCE;
        let over = |world: &World| world.exchange(exchange).ended != Ended::Open;
        let ended = self.world.run_until_true(limit, over);
        assert!(ended, "a request never ends\n{}", self.world.trace());
        let exchange = self.world.exchange(exchange);
        let is_head = exchange.request.method == "HEAD";
        let message = wire::answer(exchange.answer.as_ref(), is_head, self.scenario.trailers);
        let none = Answer {
            cut: true,
            ..Answer::default()
        };
        let mut answer = message.map_or(none, Answer::from);
        answer.left = left;
        answer.cut &= !left;
        answer
    }

    fn finish(mut self) -> Observed {
        assert!(
            self.calls.is_empty(),
            "never finished: {:?}",
            self.calls.keys().collect::<Vec<_>>()
        );
        loop {
            let before = trace(&self.world, 1);
            self.world.run_for(QUIET);
            if trace(&self.world, 1) == before {
                break;
            }
        }
        let prefixes = &self.scenario.metrics;
        let wanted = |name: &String| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let metrics = self.world.metrics(self.gateway).into_iter();
        let trailers = self.scenario.trailers;
        let arrived = arrived(&self.world, &self.backend, trailers);
        Observed {
            refused: false,
            answers: self.answers,
            origin: observed::arrived(&arrived),
            trace: trace(&self.world, self.scenario.workers),
            metrics: metrics.filter(|(name, _)| wanted(name)).collect(),
        }
    }
}

/// A request as a gateway reads it from a connection of HTTP/1.1.
fn as_sent(request: &scenario::Request, chunked: bool, trailers: bool) -> Request {
    let mut sent = Request::new(&request.method, &request.path);
    sent.authority = "gateway".to_owned();
    for (name, value) in &request.headers {
        let value = value.bytes();
        if name.eq_ignore_ascii_case("host") {
            sent.authority = String::from_utf8_lossy(&value).into_owned();
        } else {
            // A length without a body is one whose body never comes.
            sent.unfinished |= name.eq_ignore_ascii_case("content-length");
            sent.headers.add(name, value);
        }
    }
    if chunked {
        sent.headers.add("transfer-encoding", "chunked");
        sent.body = request.pieces.iter().map(Bytes::bytes).collect();
        if trailers {
            sent.trailers = backend::fields(&request.trailers);
        }
    } else if let Some(body) = &request.body {
        let body = body.bytes();
        sent.headers.add("content-length", body.len().to_string());
        sent.body = vec![body];
        sent.body.retain(|body| !body.is_empty());
    }
    sent
}

fn holds(world: &World, gateway: GatewayId, backend: &Backend, condition: &Condition) -> bool {
    match condition {
        Condition::Trace { has, times } => {
            let log = world.trace();
            let lines = log
                .lines()
                .filter(|line| line.contains(MARK) && line.contains(has));
            lines.count() >= *times
        }
        Condition::Origin { path, requests } => {
            let called = backend.calls().into_iter().map(|message| message.path);
            let log = world.origin_log().into_iter();
            let sent = log.filter_map(|seen| seen.header(":path"));
            let these = called
                .chain(sent)
                .filter(|target| target.split('?').next() == Some(path));
            these.count() >= *requests
        }
        Condition::Metric { name, value } => world.metric(gateway, name) == *value,
    }
}

/// What has come to the origin: whole, or cut short.
fn arrived(world: &World, backend: &Backend, trailers: bool) -> Vec<Message> {
    let mut all = backend.calls();
    let log = world.origin_log().into_iter();
    all.extend(log.filter(|seen| seen.complete || seen.reset).map(|seen| {
        let rest = Rest {
            only_headers: seen.only_headers,
            body: &seen.body,
            trailers: trailers.then_some(&seen.trailers),
            complete: seen.complete,
        };
        wire::request(&seen.headers, &rest)
    }));
    all
}

/// The probe's lines: those of the main thread and those of the workers.
fn trace(world: &World, workers: usize) -> BTreeMap<String, Vec<String>> {
    let mut trace: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in world.trace().lines() {
        let Some((head, text)) = entry.split_once(MARK) else {
            continue;
        };
        // The main thread is named after its gateway, and then what it is.
        let is_main = head.split_whitespace().nth(1) == Some("g0");
        let place = if is_main { "main" } else { "worker" };
        let lines = trace.entry(place.to_owned()).or_default();
        lines.push(observed::line(text));
    }
    if workers > 1 {
        trace.values_mut().for_each(|lines| lines.sort());
    }
    trace
}
