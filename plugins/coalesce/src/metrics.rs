//! What the filter counts. Names are dotted paths whose parts the gateway's `stats_tags` turn into labels.

use sluice_core::flight::machine::EVENTS;
use sluice_host::metrics::{Metric, Registry};

const PREFIX: &str = "sluice_coalesce";

pub struct Metrics {
    registry: Registry,
    events: [Metric; EVENTS.len()],
    waiting: Gauge,
    stored_bytes: Gauge,
}

/// A gauge that all workers share: each moves it by what has changed with itself.
struct Gauge {
    metric: Metric,
    before: usize,
}

impl Metrics {
    pub fn define() -> Self {
        let mut registry = Registry::default();
        let events = EVENTS.map(|(_, name)| registry.counter(&format!("{PREFIX}.event.{name}")));
        let mut gauge = |name: &str| Gauge {
            metric: registry.gauge(&format!("{PREFIX}.{name}")),
            before: 0,
        };
        let (waiting, stored_bytes) = (gauge("waiting"), gauge("worker_bytes"));
        Self {
            registry,
            events,
            waiting,
            stored_bytes,
        }
    }

    /// Hands the counts to the gateway.
    pub fn publish(&mut self, counts: [u64; EVENTS.len()], waiting: usize, bytes: usize) {
        for (metric, count) in self.events.iter().zip(counts) {
            self.registry.add(*metric, count);
        }
        let gauges = [
            (&mut self.waiting, waiting),
            (&mut self.stored_bytes, bytes),
        ];
        for (gauge, now) in gauges {
            let by = i64::try_from(now).unwrap_or(i64::MAX)
                - i64::try_from(gauge.before).unwrap_or(i64::MAX);
            if by != 0 {
                self.registry.shift(gauge.metric, by);
                gauge.before = now;
            }
        }
        self.registry.flush();
    }
}
