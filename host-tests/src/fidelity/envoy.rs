//! Scenarios on a real Envoy.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Runner;
use super::client::Call;
use super::observed::{self, Answer, Observed};
use super::origin::Origin;
use super::pace::Pace;
use super::scenario::{
    Condition, FailurePolicy, RedisRoute, RedisTrouble, Request, Scenario, Step,
};
use crate::config::Config;
use crate::gateway::{Gateway, Route};
use crate::redis::Redis;
use crate::{ports, wait};

/// How the probe's lines start.
const MARK: &str = "probe| ";

/// A trace that is silent for so long has ended.
const QUIET: Duration = Duration::from_millis(40);

/// A real Envoy, a real Redis, real time.
pub struct Envoy;

impl Runner for Envoy {
    fn name(&self) -> &'static str {
        "Envoy"
    }

    fn run(&self, scenario: &Scenario) -> Observed {
        let pace = Pace::default();
        let origin = Origin::start(&scenario.origin, pace.clone());
        let mut redis = (scenario.redis != RedisRoute::None).then(Redis::start);
        let gateway = match start(scenario, &origin, redis.as_ref()) {
            Ok(gateway) => gateway,
            Err(log) => {
                return Observed {
                    refused: true,
                    trace: trace(&log, None, 1),
                    ..Observed::default()
                };
            }
        };
        pace.follow(gateway.envoy().log_file());
        let mut run = Run {
            pace,
            scenario,
            gateway: &gateway,
            origin: &origin,
            calls: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        for step in &scenario.steps {
            run.step(step, redis.as_mut());
        }
        run.finish()
    }
}

fn start(scenario: &Scenario, origin: &Origin, redis: Option<&Redis>) -> Result<Gateway, String> {
    let route = match scenario.redis {
        RedisRoute::None => Route::None,
        RedisRoute::Direct => Route::Direct,
        RedisRoute::Stream => Route::Stream,
    };
    let mut builder = Gateway::builder()
        .route(route)
        .workers(scenario.workers)
        .wasm(&scenario.filter)
        .policy(scenario.configuration());
    if let Some(redis) = redis {
        builder = builder.redis(redis);
    }
    let (scenario, address) = (scenario.clone(), origin.address());
    builder
        .edit(move |config| {
            config.endpoints("origin", &[address]);
            configure(config, &scenario);
        })
        .try_start()
}

fn configure(config: &mut Config, scenario: &Scenario) {
    let filter = config.filter();
    filter["failure_policy"] = match scenario.failure_policy {
        FailurePolicy::FailReload => "FAIL_RELOAD",
        FailurePolicy::FailClosed => "FAIL_CLOSED",
        FailurePolicy::FailOpen => "FAIL_OPEN",
    }
    .into();
    let fields = filter.as_object_mut().expect("a filter is an object");
    if scenario.failure_policy == FailurePolicy::FailReload {
        fields["reload_config"] = json!({"backoff": {"base_interval": "0.01s"}});
    } else {
        fields.remove("reload_config");
    }
    filter["allow_on_headers_stop_iteration"] = scenario.allow_on_headers_stop_iteration.into();
    if scenario.program.is_some() {
        let vm = &mut filter["vm_config"];
        vm["configuration"] = json!({
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": scenario.configuration(),
        });
        // The probe may do anything.
        vm.as_object_mut()
            .expect("a VM's configuration is an object")
            .remove("capability_restriction_config");
    }
    if scenario.trailers {
        config
            .listener("gateway")
            .pointer_mut("/filter_chains/0/filters/0/typed_config")
            .expect("the gateway speaks HTTP")["http_protocol_options"] =
            json!({"enable_trailers": true});
        config.cluster("origin")["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {"enable_trailers": true}},
            }
        });
    }
    if let Some(limit) = scenario.buffer_limit {
        config.listener("gateway")["per_connection_buffer_limit_bytes"] = limit.into();
        config.cluster("origin")["per_connection_buffer_limit_bytes"] = limit.into();
    }
    // Paths that start so meet a port where nobody listens, or a gateway that does not wait long.
    let routes = config
        .listener("gateway")
        .pointer_mut("/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes")
        .and_then(serde_json::Value::as_array_mut)
        .expect("the gateway has routes");
    routes.insert(
        0,
        json!({"match": {"prefix": "/dead"}, "route": {"cluster": "dead"}}),
    );
    routes.insert(
        0,
        json!({"match": {"prefix": "/hasty"}, "route": {"cluster": "origin", "timeout": "0.1s"}}),
    );
    let clusters = config.value_mut()["static_resources"]["clusters"]
        .as_array_mut()
        .expect("there are clusters");
    clusters.push(json!({
        "name": "dead",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "dead", "endpoints": []},
    }));
    config.endpoints("dead", &[([127, 0, 0, 1], ports::free()).into()]);
}

struct Run<'a> {
    scenario: &'a Scenario,
    gateway: &'a Gateway,
    origin: &'a Origin,
    pace: Pace,
    calls: BTreeMap<String, Vec<Call>>,
    answers: BTreeMap<String, Answer>,
}

impl Run<'_> {
    fn step(&mut self, step: &Step, redis: Option<&mut Redis>) {
        match step {
            Step::Request(request) if request.repeat > 1 => self.repeat(request),
            Step::Request(request) => {
                self.start(request);
                self.finish_call(&request.name);
            }
            Step::Start(request) => self.start(request),
            Step::Finish(name) => self.finish_call(name),
            Step::Leave(name) => {
                let calls = self.calls.get(name);
                let calls = calls.expect("a request of this name was started");
                calls.iter().for_each(Call::leave);
                self.finish_call(name);
            }
            Step::WaitFor(condition) => {
                wait::until(&format!("{condition:?}"), || self.holds(condition));
            }
            Step::AdvanceMs(time) => thread::sleep(Duration::from_millis(*time)),
            Step::Redis(trouble) => {
                let redis = redis.expect("the scenario has a Redis");
                match trouble {
                    RedisTrouble::Stop => redis.kill(),
                    RedisTrouble::Start => redis.restart(),
                    RedisTrouble::Freeze => redis.pause(),
                    RedisTrouble::Thaw => redis.resume(),
                    RedisTrouble::Flush => drop(redis.cmd(&["FLUSHALL"])),
                    RedisTrouble::ForgetScripts => drop(redis.cmd(&["SCRIPT", "FLUSH"])),
                }
            }
        }
    }

    fn start(&mut self, request: &Request) {
        let start = |_| Call::start(self.gateway.address(), request, &self.pace);
        let calls = (0..request.repeat).map(start).collect();
        let before = self.calls.insert(request.name.clone(), calls);
        assert!(
            before.is_none() && !self.answers.contains_key(&request.name),
            "two requests are called {}",
            request.name
        );
    }

    fn finish_call(&mut self, name: &str) {
        let calls = self.calls.remove(name);
        let calls = calls.expect("a request of this name was started");
        let answers = calls.into_iter().map(Call::finish).collect();
        self.answers.insert(name.to_owned(), Answer::of(answers));
    }

    fn repeat(&mut self, request: &Request) {
        let send = |_| Call::start(self.gateway.address(), request, &self.pace).finish();
        let answers = (0..request.repeat).map(send).collect();
        self.answers
            .insert(request.name.clone(), Answer::of(answers));
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Trace { has, times } => {
                let log = self.gateway.envoy().log();
                let lines = log
                    .lines()
                    .filter(|line| line.contains(MARK) && line.contains(has));
                lines.count() >= *times
            }
            Condition::Origin { path, requests } => self.origin.hits(path) >= *requests,
            Condition::Metric { name, value } => {
                self.gateway.envoy().stat(&format!("wasmcustom.{name}")) == *value
            }
        }
    }

    fn finish(self) -> Observed {
        assert!(
            self.calls.is_empty(),
            "never finished: {:?}",
            self.calls.keys().collect::<Vec<_>>()
        );
        let envoy = self.gateway.envoy();
        wait::poll(wait::PATIENCE, || {
            (envoy.stat("http.gateway.downstream_cx_active") == 0).then_some(())
        });
        let mut log = envoy.log();
        loop {
            thread::sleep(QUIET);
            let now = envoy.log();
            if now == log {
                break;
            }
            log = now;
        }
        let prefixes = &self.scenario.metrics;
        let stats = if prefixes.is_empty() {
            BTreeMap::new()
        } else {
            envoy.stats()
        };
        let metrics = stats
            .into_iter()
            .filter_map(|(name, value)| {
                let name = name.strip_prefix("wasmcustom.")?;
                let wanted = prefixes.iter().any(|prefix| name.starts_with(prefix));
                wanted.then(|| (name.to_owned(), value))
            })
            .collect();
        Observed {
            refused: false,
            answers: self.answers,
            origin: self.origin.arrived(),
            trace: trace(&log, Some(envoy.running().pid()), self.scenario.workers),
            metrics,
        }
    }
}

/// The probe's lines of a log: those of the main thread, whose id is the process's, and those of the workers.
fn trace(log: &str, main: Option<u32>, workers: usize) -> BTreeMap<String, Vec<String>> {
    let mut trace: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in log.lines() {
        let Some((head, text)) = entry.split_once(MARK) else {
            continue;
        };
        let thread = head.split(['[', ']']).nth(3).unwrap_or_default();
        let is_main = main.is_none_or(|main| thread.parse() == Ok(main));
        let place = if is_main { "main" } else { "worker" };
        trace
            .entry(place.to_owned())
            .or_default()
            .push(observed::line(text));
    }
    if workers > 1 {
        trace.values_mut().for_each(|lines| lines.sort());
    }
    trace
}
