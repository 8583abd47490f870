//! What the filter counts. Names are dotted paths whose parts the gateway's `stats_tags` turn into labels.

use sluice_core::rate_limit::check::Rule;
use sluice_core::rate_limit::counts::LimitCounts;
use sluice_core::rate_limit::limiter::Limiter;
use sluice_core::redis::trouble::Trouble;
use sluice_host::metrics::{Metric, Registry};
use sluice_host::shared::GatewayShared;

const PREFIX: &str = "sluice_rate_limit";

pub struct Metrics {
    registry: Registry,
    limits: Vec<LimitMetrics>,
    cas_retries: Metric,
    overflow: Metric,
    contended: Metric,
    redis: Option<RedisMetrics>,
    breaker_was_open: bool,
}

struct LimitMetrics {
    /// Allowed, denied, denied by a shadow: each request is one of them.
    outcomes: [Metric; 3],
    degraded: Metric,
}

struct RedisMetrics {
    errors: Vec<Metric>,
    callouts: Metric,
    commands: Metric,
    batch_size: Metric,
    deny_cache_hits: Metric,
    refunds: Metric,
    breaker_open: Metric,
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
        let redis = with_redis.then(|| RedisMetrics {
            errors: Trouble::ALL
                .iter()
                .map(|kind| registry.counter(&format!("{PREFIX}.redis.error.{}", kind.name())))
                .collect(),
            callouts: registry.counter(&format!("{PREFIX}.redis.callouts")),
            commands: registry.counter(&format!("{PREFIX}.redis.commands")),
            batch_size: registry.histogram(&format!("{PREFIX}.redis.batch_size")),
            deny_cache_hits: registry.counter(&format!("{PREFIX}.redis.deny_cache_hits")),
            refunds: registry.counter(&format!("{PREFIX}.redis.refunds")),
            breaker_open: registry.gauge(&format!("{PREFIX}.redis.breaker_open")),
        });
        Self {
            limits,
            cas_retries: registry.counter(&format!("{PREFIX}.local.cas_retries")),
            overflow: registry.counter(&format!("{PREFIX}.local.overflow")),
            contended: registry.counter(&format!("{PREFIX}.local.contended")),
            redis,
            breaker_was_open: false,
            registry,
        }
    }

    /// Records the size of each batch that has been sent since the last call.
    pub fn batches(&mut self, limiter: &mut Limiter<GatewayShared>) {
        for size in limiter.counts.batch_sizes.drain(..) {
            if let Some(redis) = &self.redis {
                self.registry.record(redis.batch_size, size as u64);
                self.registry.add(redis.callouts, 1);
                self.registry.add(redis.commands, size as u64);
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
            for (metric, count) in redis.errors.iter().zip(&mut limiter.counts.troubles) {
                self.registry.add(*metric, std::mem::take(count));
            }
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

    /// The gauge counts the workers whose breaker is open: each adds itself, and takes itself away.
    fn breaker(&mut self, open: bool) {
        if let Some(redis) = &self.redis
            && open != self.breaker_was_open
        {
            self.registry
                .shift(redis.breaker_open, if open { 1 } else { -1 });
            self.breaker_was_open = open;
        }
    }

    pub fn close(&mut self, limiter: &mut Limiter<GatewayShared>) {
        self.publish(limiter);
        self.breaker(false);
    }
}
