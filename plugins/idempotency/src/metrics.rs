//! What the filter counts. Names are dotted paths whose parts the gateway's `stats_tags` turn into labels.

use sluice_core::idempotency::counts::{Counts, Event};
use sluice_host::metrics::{Metric, Registry};
use sluice_host::redis_metrics::RedisMetrics;

const PREFIX: &str = "sluice_idempotency";

pub struct Metrics {
    registry: Registry,
    /// Of each route, by its index, the events in their order.
    routes: Vec<[Metric; Event::ALL.len()]>,
    store: RedisMetrics,
    open: Metric,
    open_before: usize,
}

impl Metrics {
    /// `store`: which one has the records.
    pub fn define<'a>(routes: impl Iterator<Item = &'a str>, store: &str) -> Self {
        let mut registry = Registry::default();
        let routes = routes
            .map(|route| {
                Event::ALL.map(|event| {
                    let event = event.name();
                    registry.counter(&format!("{PREFIX}.route.{route}.event.{event}"))
                })
            })
            .collect();
        Self {
            routes,
            store: RedisMetrics::of(&mut registry, PREFIX, store),
            open: registry.gauge(&format!("{PREFIX}.open")),
            open_before: 0,
            registry,
        }
    }

    /// A batch of so many commands has been sent.
    pub fn batch(&mut self, size: usize) {
        self.store.batch(&mut self.registry, size);
    }

    /// Hands the counts to the gateway. `open`: how many exchanges this worker has.
    pub fn publish(&mut self, counts: &mut Counts, open: usize, breaker_is_open: bool) {
        for (counts, metrics) in counts.routes.iter_mut().zip(&self.routes) {
            let counts = std::mem::take(counts);
            for (event, metric) in Event::ALL.into_iter().zip(metrics) {
                self.registry.add(*metric, counts.get(event));
            }
        }
        self.store
            .troubles(&mut self.registry, &mut counts.troubles);
        self.store.breaker(&mut self.registry, breaker_is_open);
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
