//! What the filter counts. Names are dotted paths whose parts the gateway's `stats_tags` turn into labels.

use crate::caps::Caps;
use sluice_core::policy::shard_route::{Found, ShardRoute};
use sluice_core::shard::Problem;
use sluice_core::shard::decide::Role;
use sluice_host::metrics::{Metric, Registry};

const PREFIX: &str = "sluice_shard_route";

pub struct Metrics {
    registry: Registry,
    routes: Vec<RouteMetrics>,
    /// By table and by shard.
    shards: Vec<Vec<ShardMetrics>>,
    unremembered: Metric,
}

struct RouteMetrics {
    missing: Metric,
    invalid: Metric,
    refused: [Metric; Problem::ALL.len()],
}

struct ShardMetrics {
    /// Primary, replica, and where the route says nothing of it.
    requests: [Metric; 3],
    frozen: Metric,
    over_cap: Metric,
    /// Of shards with a cap: the gauge, and what this worker has added to it.
    in_flight: Option<(Metric, usize, u32)>,
}

impl Metrics {
    pub fn define(policy: &ShardRoute, caps: &Caps) -> Self {
        let mut registry = Registry::default();
        let routes = policy.routes.iter().map(|route| {
            let mut counter = |event: &str| {
                registry.counter(&format!("{PREFIX}.route.{}.event.{event}", route.name))
            };
            RouteMetrics {
                missing: counter("missing"),
                invalid: counter("invalid"),
                refused: Problem::ALL.map(|problem| {
                    counter(&format!("refused_{}", problem.name().replace('-', "_")))
                }),
            }
        });
        let routes = routes.collect();
        let mut shards = Vec::new();
        for (place, table) in policy.tables.iter().enumerate() {
            let directory = &table.directory;
            let shares = directory.shares();
            let metrics =
                (0_u16..)
                    .zip(&directory.hosts)
                    .zip(shares)
                    .map(|((shard, host), slots)| {
                        let prefix =
                            format!("{PREFIX}.table.{}.shard.{}", directory.name, host.name);
                        let share = registry.gauge(&format!("{prefix}.slots"));
                        registry.record(share, slots.into());
                        let mut counter =
                            |event: &str| registry.counter(&format!("{prefix}.{event}"));
                        ShardMetrics {
                            requests: ["primary", "replica", "any"]
                                .map(|role| counter(&format!("requests.{role}"))),
                            frozen: counter("frozen"),
                            over_cap: counter("over_cap"),
                            in_flight: caps.number(place, shard).map(|number| {
                                (registry.gauge(&format!("{prefix}.in_flight")), number, 0)
                            }),
                        }
                    });
            shards.push(metrics.collect());
        }
        Self {
            routes,
            shards,
            unremembered: registry.counter(&format!("{PREFIX}.unremembered_writes")),
            registry,
        }
    }

    /// What was found of a key.
    pub fn found(&mut self, route: usize, found: &Found) {
        let Some(route) = self.routes.get(route) else {
            return;
        };
        match found {
            Found::Missing => self.registry.add(route.missing, 1),
            Found::Invalid => self.registry.add(route.invalid, 1),
            Found::Key(_) | Found::InBody => {}
        }
    }

    /// A request was refused; `shard` says where it would have gone.
    pub fn refused(&mut self, route: usize, problem: Problem, shard: Option<(usize, u16)>) {
        let place = Problem::ALL.iter().position(|other| *other == problem);
        if let Some(route) = self.routes.get(route)
            && let Some(metric) = place.and_then(|place| route.refused.get(place))
        {
            self.registry.add(*metric, 1);
        }
        if let Some(shard) =
            shard.and_then(|(table, shard)| self.shards.get(table)?.get(usize::from(shard)))
        {
            match problem {
                Problem::Frozen => self.registry.add(shard.frozen, 1),
                Problem::Busy | Problem::Waited => self.registry.add(shard.over_cap, 1),
                _ => {}
            }
        }
    }

    /// A request goes to a shard.
    pub fn routed(&mut self, table: usize, shard: u16, role: Option<Role>) {
        let shards = self.shards.get(table);
        if let Some(shard) = shards.and_then(|shards| shards.get(usize::from(shard))) {
            let [primary, replica, any] = shard.requests;
            let metric = match role {
                Some(Role::Primary) => primary,
                Some(Role::Replica) => replica,
                None => any,
            };
            self.registry.add(metric, 1);
        }
    }

    /// There was no room to remember a write.
    pub fn unremembered(&mut self) {
        self.registry.add(self.unremembered, 1);
    }

    /// Hands the counts to the gateway.
    pub fn publish(&mut self, caps: &Caps) {
        for shard in self.shards.iter_mut().flatten() {
            if let Some((gauge, number, before)) = &mut shard.in_flight {
                // The workers share the gauge: each adds what it has more than before.
                let own = caps.own(*number);
                if own != *before {
                    let by = i64::from(own) - i64::from(*before);
                    self.registry.shift(*gauge, by);
                    *before = own;
                }
            }
        }
        self.registry.flush();
    }
}
