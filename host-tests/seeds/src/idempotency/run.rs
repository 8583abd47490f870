//! Plays a case in the emulator, and gathers what the checks look at.

use super::case::Case;
use super::faults::Event;
use super::origin::{Answered, Origin};
use super::policy::SECRET;
use super::record::Held;
use crate::world::{self, WorkerEnd};
use sluice_embed::Module;
use sluice_emulator::{Cluster, Exchange, GatewayId, GatewayOptions, OriginRequest, World};
use std::collections::BTreeMap;
use std::time::Duration;

/// All that came of a case.
pub struct Run {
    pub case: Case,
    pub gateways: Vec<GatewayId>,
    /// In the order of the load.
    pub exchanges: Vec<Exchange>,
    /// What came to the origin, and what it answered.
    pub origin: Vec<OriginRequest>,
    pub answered: Vec<Answered>,
    /// Exchanges to which the origin gave no connection.
    pub refused: Vec<usize>,
    /// By gateway.
    pub metrics: Vec<BTreeMap<String, u64>>,
    pub crashes: usize,
    pub held: Held,
    pub workers: Vec<WorkerEnd>,
    /// Whether everything came to an end.
    pub quiet: bool,
    /// When, in virtual time.
    pub end: Duration,
    pub trace: String,
    pub hash: u64,
}

/// Plays a case. `planted` chooses a bug of a build that has some.
#[must_use]
pub fn run(module: &Module, case: Case, planted: Option<usize>) -> Run {
    let mut world = World::new(case.seed, case.faults.plan(case.policy.timeout_ms));
    let configuration = case.policy.json().to_string();
    let origin = Origin::new(case.seed, case.faults.origin.clone());
    let gateways: Vec<GatewayId> = (0..case.gateways)
        .map(|_| {
            let options = options(module, &case, &configuration, &origin);
            world::add_gateway(&mut world, options, planted)
        })
        .collect();
    let fresh = world::begin(&mut world, &gateways, &case.faults.skews, case.workers);
    for sent in &case.load.sent {
        let gateway = gateways[sent.gateway];
        world.request(sent.at, gateway, None, sent.request(), sent.client);
    }
    for (at, event) in &case.faults.timed {
        world.run_until(*at);
        event.strike(&mut world, &gateways, &configuration);
    }
    world.run_until(case.load.end());
    let mut timed = case.faults.timed.iter();
    let crashes = timed.any(|(_, event)| matches!(event, Event::Crash { .. }));
    let mut quiet = world::run_out(&mut world, crashes);
    // What is stored although its client has left, what is tried again, and the ticks that hand over the counts.
    let policy = &case.policy;
    world.run_for(Duration::from_millis(8 * policy.question_ms() + 250));
    quiet &= world::run_out(&mut world, false);
    let (answered, refused) = origin.book();
    Run {
        workers: world::ends(&world, &gateways, case.workers, &fresh),
        exchanges: world.exchanges(),
        origin: world.origin_log(),
        answered,
        refused,
        metrics: gateways
            .iter()
            .map(|gateway| world.metrics(*gateway))
            .collect(),
        crashes: gateways.iter().map(|gateway| world.crashes(*gateway)).sum(),
        held: Held::read(&mut world),
        quiet,
        end: world.now(),
        trace: world.trace(),
        hash: world.trace_hash(),
        case,
        gateways,
    }
}

fn options(module: &Module, case: &Case, configuration: &str, origin: &Origin) -> GatewayOptions {
    let cluster = match case.policy.stream {
        true => Cluster::RedisStream,
        false => Cluster::Redis,
    };
    let mut options = GatewayOptions::new(module, configuration)
        .workers(case.workers)
        .cluster("redis", cluster)
        .origin(origin.clone());
    options.plugin.allow_on_headers_stop_iteration = case.policy.before_headers;
    let (name, secret) = SECRET;
    options
        .vm
        .environment
        .push((name.to_owned(), secret.to_owned()));
    options.route_timeout = Duration::from_millis(case.policy.upstream_timeout_ms);
    options
}
