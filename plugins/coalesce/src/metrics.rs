//! What the filter counts. Names are dotted paths whose parts the gateway's `stats_tags` turn into labels.

use sluice_core::flight::machine::EVENTS;
use sluice_core::guard;
use sluice_core::policy::coalesce::Coalesce;
use sluice_core::redis::trouble::Trouble;
use sluice_host::metrics::{Metric, Registry};
use sluice_host::redis_metrics::RedisMetrics;

const PREFIX: &str = "sluice_coalesce";

pub struct Metrics {
    registry: Registry,
    events: [Metric; EVENTS.len()],
    waiting: Gauge,
    stored_bytes: Gauge,
    guards: Vec<OfGuard>,
    /// Only with Redis.
    redis: Option<RedisMetrics>,
}

struct OfGuard {
    events: [Metric; guard::EVENTS.len()],
    /// The workers in which every request passes.
    open: Gauge,
}

/// A gauge that all workers share: each moves it by what has changed with itself.
struct Gauge {
    metric: Metric,
    before: usize,
}

impl Metrics {
    pub fn define(policy: &Coalesce) -> Self {
        let mut registry = Registry::default();
        let events = EVENTS.map(|(_, name)| registry.counter(&format!("{PREFIX}.event.{name}")));
        let waiting = Gauge::define(&mut registry, "waiting");
        let stored_bytes = Gauge::define(&mut registry, "worker_bytes");
        let guards: Vec<OfGuard> = policy
            .guards
            .iter()
            .map(|guard| OfGuard {
                events: guard::EVENTS.map(|(_, event)| {
                    let name = &guard.name;
                    registry.counter(&format!("{PREFIX}.guard.{name}.event.{event}"))
                }),
                open: Gauge::define(&mut registry, &format!("guard.{}.open", guard.name)),
            })
            .collect();
        let redis = policy.redis.as_ref();
        let redis = redis.map(|_| RedisMetrics::define(&mut registry, PREFIX));
        Self {
            registry,
            events,
            waiting,
            stored_bytes,
            guards,
            redis,
        }
    }

    /// Takes what a guard has counted. `open`: every request passes.
    pub fn guard(&mut self, index: usize, counts: [u64; guard::EVENTS.len()], open: bool) {
        if let Some(guard) = self.guards.get_mut(index) {
            for (metric, count) in guard.events.iter().zip(counts) {
                self.registry.add(*metric, count);
            }
            guard.open.set(&mut self.registry, usize::from(open));
        }
    }

    /// The worker is going, and its guards with it.
    pub fn unguard(&mut self) {
        for guard in &mut self.guards {
            guard.open.set(&mut self.registry, 0);
        }
    }

    /// A batch of so many commands has been sent to Redis.
    pub fn batch(&mut self, size: usize) {
        if let Some(redis) = &self.redis {
            redis.batch(&mut self.registry, size);
        }
    }

    pub fn redis(&mut self, troubles: &mut [u64; Trouble::ALL.len()], breaker_is_open: bool) {
        if let Some(redis) = &mut self.redis {
            redis.troubles(&mut self.registry, troubles);
            redis.breaker(&mut self.registry, breaker_is_open);
        }
    }

    /// Hands the counts to the gateway.
    pub fn publish(&mut self, counts: [u64; EVENTS.len()], waiting: usize, bytes: usize) {
        for (metric, count) in self.events.iter().zip(counts) {
            self.registry.add(*metric, count);
        }
        self.waiting.set(&mut self.registry, waiting);
        self.stored_bytes.set(&mut self.registry, bytes);
        self.registry.flush();
    }
}

impl Gauge {
    fn define(registry: &mut Registry, name: &str) -> Self {
        Self {
            metric: registry.gauge(&format!("{PREFIX}.{name}")),
            before: 0,
        }
    }

    fn set(&mut self, registry: &mut Registry, now: usize) {
        let by =
            i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(self.before).unwrap_or(i64::MAX);
        if by != 0 {
            registry.shift(self.metric, by);
            self.before = now;
        }
    }
}
