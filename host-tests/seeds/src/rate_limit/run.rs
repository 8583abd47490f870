//! Plays a case in the emulator, and gathers what the checks look at.

use crate::rate_limit::Case;
use crate::rate_limit::faults::Event;
use crate::world::{self, WorkerEnd};
use sluice_embed::Module;
use sluice_emulator::{Client, Cluster, Exchange, GatewayId, GatewayOptions, OriginRequest, World};
use std::collections::BTreeMap;
use std::time::Duration;

/// A record that Redis holds in the end.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: String,
    pub value: String,
    pub expires: bool,
}

/// All that came of a case.
pub struct Run {
    pub case: Case,
    pub gateways: Vec<GatewayId>,
    /// In the order of the load; those that test the recovery follow.
    pub exchanges: Vec<Exchange>,
    pub origin: Vec<OriginRequest>,
    /// By gateway.
    pub metrics: Vec<BTreeMap<String, u64>>,
    /// By gateway: the same, before the last requests, when all trouble should be over.
    pub recovered: Option<Vec<BTreeMap<String, u64>>>,
    pub crashes: usize,
    pub records: Vec<Record>,
    pub workers: Vec<WorkerEnd>,
    /// Bytes of each gateway's shared data.
    pub shared: Vec<usize>,
    /// Whether everything came to an end.
    pub quiet: bool,
    /// When, in virtual time.
    pub end: Duration,
    pub trace: String,
    pub hash: u64,
}

/// Plays a case. `planted` chooses a bug of a build that has some.
///
/// # Panics
/// When the policy is refused: every policy that is drawn is valid.
#[must_use]
pub fn run(module: &Module, case: Case, planted: Option<usize>) -> Run {
    let mut world = World::new(case.seed, case.faults.plan(case.policy.timeout_ms));
    let configuration = case.policy.json().to_string();
    let gateways: Vec<GatewayId> = (0..case.gateways)
        .map(|_| add_gateway(&mut world, module, &case, &configuration, planted))
        .collect();
    let fresh = world::begin(&mut world, &gateways, &case.faults.skews, case.workers);
    for sent in &case.load.sent {
        world.request(
            sent.at,
            gateways[sent.gateway],
            None,
            sent.request(),
            sent.client,
        );
    }
    for (at, event) in &case.faults.timed {
        world.run_until(*at);
        event.strike(&mut world, &gateways, &configuration);
    }
    world.run_until(case.load.end());
    let crashes = case
        .faults
        .timed
        .iter()
        .any(|(_, event)| matches!(event, Event::Crash { .. }));
    let mut quiet = world::run_out(&mut world, crashes);
    let metrics = |world: &World| {
        gateways
            .iter()
            .map(|gateway| world.metrics(*gateway))
            .collect()
    };
    let mut recovered = None;
    if quiet && !case.faults.by_chance() && !case.faults.slow && !case.faults.timed.is_empty() {
        recover(&mut world, &case, &gateways);
        recovered = Some(metrics(&world));
        ask_all(&mut world, &case, &gateways);
    }
    // Late calls, the last refunds and the ticks that hand over the counts.
    quiet &= world::run_out(&mut world, false);
    world.run_for(Duration::from_millis(case.policy.timeout_ms * 2 + 250));
    quiet &= world::run_out(&mut world, false);
    Run {
        workers: world::ends(&world, &gateways, case.workers, &fresh),
        exchanges: world.exchanges(),
        origin: world.origin_log(),
        metrics: metrics(&world),
        recovered,
        crashes: gateways.iter().map(|gateway| world.crashes(*gateway)).sum(),
        records: records(&mut world),
        shared: gateways
            .iter()
            .map(|gateway| world.shared_bytes(*gateway))
            .collect(),
        quiet,
        end: world.now(),
        trace: world.trace(),
        hash: world.trace_hash(),
        case,
        gateways,
    }
}

fn add_gateway(
    world: &mut World,
    module: &Module,
    case: &Case,
    configuration: &str,
    planted: Option<usize>,
) -> GatewayId {
    let cluster = if case.policy.stream {
        Cluster::RedisStream
    } else {
        Cluster::Redis
    };
    let options = GatewayOptions::new(module, configuration)
        .workers(case.workers)
        .cluster("redis", cluster);
    world::add_gateway(world, options, planted)
}

/// Has every worker find out that Redis is well again: a breaker tries it once per `open_for`.
fn recover(world: &mut World, case: &Case, gateways: &[GatewayId]) {
    world.run_until(world.now().max(case.faults.last()));
    for _ in 0..2 {
        world.run_for(Duration::from_millis(
            case.policy.breaker_open_ms + 2 * case.policy.timeout_ms + 1,
        ));
        ask_all(world, case, gateways);
        world::run_out(world, false);
    }
    world.run_for(Duration::from_millis(250));
}

/// A request to every worker, of clients that nobody has met.
fn ask_all(world: &mut World, case: &Case, gateways: &[GatewayId]) {
    for (gateway, worker) in world::workers(case.gateways, case.workers) {
        let mut request = sluice_emulator::Request::new("POST", "/");
        for name in crate::rate_limit::policy::KEY_HEADERS {
            request = request.header(name, format!("new-{}", world.now().as_nanos()));
        }
        world.request(
            world.now(),
            gateways[gateway],
            Some(worker),
            request,
            Client::Patient,
        );
        world.run_for(Duration::from_millis(5));
    }
}

fn records(world: &mut World) -> Vec<Record> {
    let redis = world.redis();
    let keys = redis.keys().into_iter();
    keys.map(|key| Record {
        value: String::from_utf8_lossy(&redis.get(key.database, &key.name).unwrap_or_default())
            .into_owned(),
        key: String::from_utf8_lossy(&key.name).into_owned(),
        expires: key.expires.is_some(),
    })
    .collect()
}
