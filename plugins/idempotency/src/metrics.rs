//! What the filter counts. Names are dotted paths whose parts the gateway's `stats_tags` turn into labels.

use sluice_core::idempotency::counts::{Counts, Event};
use sluice_core::idempotency::problem::Problem;
use sluice_host::metrics::{Metric, Registry};
use sluice_host::redis_metrics::RedisMetrics;

const PREFIX: &str = "sluice_idempotency";

/// Requests that are refused before there is an exchange to count them.
const REFUSALS: [Problem; 3] = [
    Problem::KeyMissing,
    Problem::KeyInvalid,
    Problem::ClientUnknown,
];

pub struct Metrics {
    registry: Registry,
    routes: Vec<RouteMetrics>,
    redis: RedisMetrics,
    open: Metric,
    open_before: usize,
}

struct RouteMetrics {
    events: [Metric; Event::ALL.len()],
    refusals: [Metric; REFUSALS.len()],
}

impl Metrics {
    pub fn define<'a>(routes: impl Iterator<Item = &'a str>) -> Self {
        let mut registry = Registry::default();
        let routes = routes
            .map(|route| {
                let mut counter = |event: &str| {
                    registry.counter(&format!("{PREFIX}.route.{route}.event.{event}"))
                };
                RouteMetrics {
                    events: Event::ALL.map(|event| counter(event.name())),
                    refusals: REFUSALS.map(|problem| counter(&problem.name().replace('-', "_"))),
                }
            })
            .collect();
        Self {
            routes,
            redis: RedisMetrics::define(&mut registry, PREFIX),
            open: registry.gauge(&format!("{PREFIX}.open")),
            open_before: 0,
            registry,
        }
    }

    /// A request was refused for what is wrong with it.
    pub fn refused(&mut self, route: usize, problem: Problem) {
        if let Some(route) = self.routes.get(route)
            && let Some(index) = REFUSALS.iter().position(|other| *other == problem)
            && let Some(metric) = route.refusals.get(index)
        {
            self.registry.add(*metric, 1);
        }
    }

    /// A batch of so many commands has been sent.
    pub fn batch(&mut self, size: usize) {
        self.redis.batch(&mut self.registry, size);
    }

    /// Hands the counts to the gateway. `open`: how many exchanges this worker has.
    pub fn publish(&mut self, counts: &mut Counts, open: usize, breaker_is_open: bool) {
        for (counts, metrics) in counts.routes.iter_mut().zip(&self.routes) {
            let counts = std::mem::take(counts);
            for (event, metric) in Event::ALL.into_iter().zip(&metrics.events) {
                self.registry.add(*metric, counts.get(event));
            }
        }
        self.redis
            .troubles(&mut self.registry, &mut counts.troubles);
        self.redis.breaker(&mut self.registry, breaker_is_open);
        // The workers share the gauge: each adds what it has more than before.
        if open != self.open_before {
            let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            self.registry
                .shift(self.open, signed(open) - signed(self.open_before));
            self.open_before = open;
        }
        self.registry.flush();
    }
}
