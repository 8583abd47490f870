//! What the filter counts. Names are dotted paths whose parts the gateway's `stats_tags` turn into labels.

use sluice_core::rate_limit::check::Rule;
use sluice_core::rate_limit::counts::LimitCounts;
use sluice_core::rate_limit::limiter::Limiter;
use sluice_host::metrics::{Metric, Registry};
use sluice_host::redis_metrics::RedisMetrics;
use sluice_host::shared::GatewayShared;

const PREFIX: &str = "sluice_rate_limit";

pub struct Metrics {
    registry: Registry,
    limits: Vec<LimitMetrics>,
    cas_retries: Metric,
    overflow: Metric,
    contended: Metric,
    redis: Option<OfRedis>,
}

struct LimitMetrics {
    /// Allowed, denied, denied by a shadow: each request is one of them.
    outcomes: [Metric; 3],
    degraded: Metric,
}

struct OfRedis {
    common: RedisMetrics,
    deny_cache_hits: Metric,
    refunds: Metric,
}

impl Metrics {
    pub fn define(rules: &[Rule], with_redis: bool) -> Self {
        let mut registry = Registry::default();
        let limits = rules
            .iter()
            .map(|rule| LimitMetrics {
                outcomes: ["allowed", "denied", "shadow_denied"].map(|outcome| {
                    registry.counter(&format!("{PREFIX}.limit.{}.outcome.{outcome}", rule.name))
                }),
                degraded: registry.counter(&format!("{PREFIX}.limit.{}.degraded", rule.name)),
            })
            .collect();
        let redis = with_redis.then(|| OfRedis {
            common: RedisMetrics::define(&mut registry, PREFIX),
            deny_cache_hits: registry.counter(&format!("{PREFIX}.redis.deny_cache_hits")),
            refunds: registry.counter(&format!("{PREFIX}.redis.refunds")),
        });
        Self {
            limits,
            cas_retries: registry.counter(&format!("{PREFIX}.local.cas_retries")),
            overflow: registry.counter(&format!("{PREFIX}.local.overflow")),
            contended: registry.counter(&format!("{PREFIX}.local.contended")),
            redis,
            registry,
        }
    }

    /// Records the size of each batch that has been sent since the last call.
    pub fn batches(&mut self, limiter: &mut Limiter<GatewayShared>) {
        for size in limiter.counts.batch_sizes.drain(..) {
            if let Some(redis) = &self.redis {
                redis.common.batch(&mut self.registry, size);
            }
        }
    }

    /// Hands the limiter's counts to the gateway.
    pub fn publish(&mut self, limiter: &mut Limiter<GatewayShared>) {
        for (counts, metrics) in limiter.counts.limits.iter_mut().zip(&self.limits) {
            let LimitCounts {
                allowed,
                denied,
                shadow_denied,
                degraded,
            } = std::mem::take(counts);
            for (metric, count) in metrics
                .outcomes
                .iter()
                .zip([allowed, denied, shadow_denied])
            {
                self.registry.add(*metric, count);
            }
            self.registry.add(metrics.degraded, degraded);
        }
        let table = limiter.take_table_counters();
        self.registry.add(self.cas_retries, table.retries);
        self.registry.add(self.overflow, table.full);
        self.registry.add(self.contended, table.contended);
        if let Some(redis) = &self.redis {
            redis
                .common
                .troubles(&mut self.registry, &mut limiter.counts.troubles);
            self.registry.add(
                redis.deny_cache_hits,
                std::mem::take(&mut limiter.counts.deny_cache_hits),
            );
            self.registry
                .add(redis.refunds, std::mem::take(&mut limiter.counts.refunds));
        }
        self.breaker(limiter.breaker_is_open());
        self.registry.flush();
    }

    fn breaker(&mut self, open: bool) {
        if let Some(redis) = &mut self.redis {
            redis.common.breaker(&mut self.registry, open);
        }
    }

    pub fn close(&mut self, limiter: &mut Limiter<GatewayShared>) {
        self.publish(limiter);
        self.breaker(false);
    }
}
