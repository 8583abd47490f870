//! Plays a case in the emulator, and gathers what the checks look at.

use super::case::Case;
use super::fleet::REDIS;
use super::origin::{Entry, Origin};
use super::policy::CLUSTER;
use super::records::{self, Record};
use super::sent::Sent;
use crate::world::{self, WorkerEnd};
use sluice_embed::Module;
use sluice_emulator::{Client, Cluster, Exchange, GatewayId, GatewayOptions, World};
use std::collections::BTreeMap;
use std::time::Duration;

/// All that came of a case.
pub struct Run {
    pub case: Case,
    /// What was sent, and what came of it. Those after the load see whether anything is left.
    pub sent: Vec<Sent>,
    pub exchanges: Vec<Exchange>,
    /// How many of these are the load.
    pub load: usize,
    /// What came to the origin, and what it answered.
    pub book: Vec<Entry>,
    /// Exchanges to which the origin gave no connection.
    pub refused: Vec<usize>,
    /// By gateway.
    pub metrics: Vec<BTreeMap<String, u64>>,
    pub crashes: usize,
    /// Bytes in the shared data of each gateway.
    pub shared: Vec<usize>,
    /// What is in Redis.
    pub records: Vec<Record>,
    pub workers: Vec<WorkerEnd>,
    /// Whether everything came to an end, and when the load had.
    pub quiet: bool,
    pub trace: String,
    pub hash: u64,
}

/// Plays a case. `planted` chooses a bug of a build that has some.
#[must_use]
pub fn run(module: &Module, case: Case, planted: Option<usize>) -> Run {
    let faults = &case.faults;
    let mut world = World::new(case.seed, faults.plan());
    let configuration = case.policy.json().to_string();
    let origin = Origin::new(case.seed, case.natures.clone(), faults);
    let gateways: Vec<GatewayId> = (0..case.gateways)
        .map(|gateway| {
            let options = options(module, &case, &configuration, origin.of(gateway));
            world::add_gateway(&mut world, options, planted)
        })
        .collect();
    let fresh = world::begin(&mut world, &gateways, &faults.skews, case.workers);
    for sent in &case.load.sent {
        let gateway = gateways[sent.gateway];
        world.request(sent.at, gateway, None, sent.request(), sent.client);
    }
    for (at, event) in &faults.timed {
        world.run_until(*at);
        event.strike(&mut world, &gateways, &configuration);
    }
    world.run_until(case.load.end());
    let mut quiet = world::run_out(&mut world, case.crashes());
    // Leases end, and the ticks hand over the counts.
    world.run_for(Duration::from_millis(2 * case.policy.max_time_ms + 250));
    let mut sent = case.load.sent.clone();
    let load = sent.len();
    origin.recover();
    world.change_plan(|plan| *plan = sluice_emulator::Plan::calm());
    for probe in probes(&case, world.now()) {
        let (at, gateway) = (probe.at, gateways[probe.gateway]);
        world.request(at, gateway, None, probe.request(), Client::Patient);
        sent.push(probe);
    }
    quiet &= world::run_out(&mut world, false);
    world.run_for(Duration::from_millis(250));
    quiet &= world::run_out(&mut world, false);
    let (book, refused) = origin.book();
    Run {
        workers: world::ends(&world, &gateways, case.workers, &fresh),
        exchanges: world.exchanges(),
        sent,
        load,
        book,
        refused,
        metrics: gateways.iter().map(|id| world.metrics(*id)).collect(),
        crashes: gateways.iter().map(|id| world.crashes(*id)).sum(),
        shared: gateways.iter().map(|id| world.shared_bytes(*id)).collect(),
        records: records::all(&mut world),
        quiet,
        trace: world.trace(),
        hash: world.trace_hash(),
        case,
    }
}

fn options(module: &Module, case: &Case, configuration: &str, origin: Origin) -> GatewayOptions {
    let mut options = GatewayOptions::new(module, configuration)
        .workers(case.workers)
        .cluster(CLUSTER, Cluster::Origin)
        .origin(origin);
    if let Some(fleet) = &case.policy.fleet {
        let cluster = if fleet.stream {
            Cluster::RedisStream
        } else {
            Cluster::Redis
        };
        options = options.cluster(REDIS, cluster);
    }
    options.route_timeout = Duration::from_millis(case.policy.upstream_timeout_ms);
    options
}

/// One plain request for each thing that was asked for: who was left behind would keep it waiting.
fn probes(case: &Case, now: Duration) -> Vec<Sent> {
    let mut probes = BTreeMap::new();
    let reads = case.load.sent.iter().filter(|sent| sent.method == "GET");
    for sent in reads {
        let id = (
            sent.uri(&case.policy),
            sent.user,
            sent.language,
            sent.gateway,
        );
        let count = probes.len() as u64;
        probes.entry(id).or_insert_with(|| {
            let mut probe = sent.bare();
            // Not all at once: each is to find what is there, not another one of them.
            probe.at = now + Duration::from_millis(1 + 20 * count);
            probe
        });
    }
    probes.into_values().take(12).collect()
}
