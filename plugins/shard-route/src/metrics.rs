//! What the filter counts. Names are dotted paths whose parts the gateway's `stats_tags` turn into labels.

use crate::caps::Caps;
use sluice_core::policy::shard_route::{Found, ShardRoute};
use sluice_core::shard::Problem;
use sluice_core::shard::decide::Role;
use sluice_core::shard::refresh::Counts;
use sluice_core::shard::seats::Seats;
use sluice_host::metrics::{Metric, Registry};

const PREFIX: &str = "sluice_shard_route";

pub struct Metrics {
    registry: Registry,
    routes: Vec<RouteMetrics>,
    /// By [`Seats`].
    shards: Vec<ShardMetrics>,
    unremembered: Metric,
    /// None where tables stay as they are.
    refresh: Option<RefreshMetrics>,
}

struct RefreshMetrics {
    version: Metric,
    failed: Metric,
    rejected: Metric,
    older: Metric,
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
    slots: Metric,
    /// Of shards with a cap: the gauge, and what this worker has added to it.
    in_flight: Option<(Metric, u32)>,
}

impl Metrics {
    pub fn define(policy: &ShardRoute) -> Self {
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
        let refresh = policy.refresh.as_ref().map(|_| RefreshMetrics {
            version: registry.gauge(&format!("{PREFIX}.tables_version")),
            failed: registry.counter(&format!("{PREFIX}.refresh.failed")),
            rejected: registry.counter(&format!("{PREFIX}.refresh.rejected")),
            older: registry.counter(&format!("{PREFIX}.refresh.older")),
        });
        Self {
            routes,
            shards: Vec::new(),
            unremembered: registry.counter(&format!("{PREFIX}.unremembered_writes")),
            refresh,
            registry,
        }
    }

    /// Takes other tables. Shards that are gone have no slots any more.
    pub fn take(&mut self, policy: &ShardRoute, seats: &Seats, caps: &Caps) {
        let Self {
            registry, shards, ..
        } = self;
        for shard in shards.iter() {
            registry.record(shard.slots, 0);
        }
        for (place, table) in policy.tables.iter().enumerate() {
            let directory = &table.directory;
            for ((shard, host), slots) in (0..).zip(&directory.hosts).zip(directory.shares()) {
                let Some(seat) = seats.of(place, shard) else {
                    continue;
                };
                let prefix = format!("{PREFIX}.table.{}.shard.{}", directory.name, host.name);
                // Seats are given in this order.
                if seat == shards.len() {
                    shards.push(ShardMetrics::define(registry, &prefix));
                }
                let Some(metrics) = shards.get_mut(seat) else {
                    continue;
                };
                registry.record(metrics.slots, slots.into());
                if metrics.in_flight.is_none() && caps.own(seat).is_some() {
                    metrics.in_flight = Some((registry.gauge(&format!("{prefix}.in_flight")), 0));
                }
            }
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

    /// A request was refused; `seat` says where it would have gone.
    pub fn refused(&mut self, route: usize, problem: Problem, seat: Option<usize>) {
        let place = Problem::ALL.iter().position(|other| *other == problem);
        if let Some(route) = self.routes.get(route)
            && let Some(metric) = place.and_then(|place| route.refused.get(place))
        {
            self.registry.add(*metric, 1);
        }
        if let Some(shard) = seat.and_then(|seat| self.shards.get(seat)) {
            match problem {
                Problem::Frozen => self.registry.add(shard.frozen, 1),
                Problem::Busy | Problem::Waited => self.registry.add(shard.over_cap, 1),
                _ => {}
            }
        }
    }

    /// A request goes to a shard.
    pub fn routed(&mut self, seat: usize, role: Option<Role>) {
        if let Some(shard) = self.shards.get(seat) {
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

    /// What is known of newer tables.
    pub fn newer(&mut self, version: u64, (counts, rejected): (Counts, u64)) {
        if let Some(metrics) = &self.refresh {
            self.registry.record(metrics.version, version);
            self.registry.add(metrics.failed, counts.failed);
            self.registry.add(metrics.older, counts.older);
            self.registry.add(metrics.rejected, rejected);
        }
    }

    /// Hands the counts to the gateway.
    pub fn publish(&mut self, caps: &Caps) {
        for (seat, shard) in self.shards.iter_mut().enumerate() {
            if let Some((gauge, before)) = &mut shard.in_flight
                && let Some(own) = caps.own(seat)
            {
                // The workers share the gauge: each adds what it has more than before.
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

impl ShardMetrics {
    fn define(registry: &mut Registry, prefix: &str) -> Self {
        let slots = registry.gauge(&format!("{prefix}.slots"));
        let mut counter = |event: &str| registry.counter(&format!("{prefix}.{event}"));
        Self {
            requests: ["primary", "replica", "any"]
                .map(|role| counter(&format!("requests.{role}"))),
            frozen: counter("frozen"),
            over_cap: counter("over_cap"),
            slots,
            in_flight: None,
        }
    }
}
