//! Plays a case in the emulator, and gathers what the checks look at.

use super::case::Case;
use super::origin::{Entry, Origin};
use super::policy::CLUSTER;
use super::sent::Sent;
use crate::world::{self, WorkerEnd};
use sluice_embed::Module;
use sluice_emulator::{Client, Cluster, Exchange, GatewayOptions, World};
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
    pub metrics: BTreeMap<String, u64>,
    pub crashes: usize,
    /// Bytes in shared data.
    pub shared: usize,
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
    let mut options = GatewayOptions::new(module, &configuration)
        .workers(case.workers)
        .cluster(CLUSTER, Cluster::Origin)
        .origin(origin.clone());
    options.route_timeout = Duration::from_millis(case.policy.upstream_timeout_ms);
    let gateways = [world::add_gateway(&mut world, options, planted)];
    let fresh = world::begin(&mut world, &gateways, &faults.skews, case.workers);
    for sent in &case.load.sent {
        world.request(sent.at, gateways[0], None, sent.request(), sent.client);
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
        let at = probe.at;
        world.request(at, gateways[0], None, probe.request(), Client::Patient);
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
        metrics: world.metrics(gateways[0]),
        crashes: world.crashes(gateways[0]),
        shared: world.shared_bytes(gateways[0]),
        quiet,
        trace: world.trace(),
        hash: world.trace_hash(),
        case,
    }
}

/// One plain request for each thing that was asked for: who was left behind would keep it waiting.
fn probes(case: &Case, now: Duration) -> Vec<Sent> {
    let mut probes = BTreeMap::new();
    let reads = case.load.sent.iter().filter(|sent| sent.method == "GET");
    for sent in reads {
        let id = (sent.uri(&case.policy), sent.user, sent.language);
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
