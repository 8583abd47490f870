//! What every filter with a Redis, or another store in its place, counts of it.

use crate::metrics::{Metric, Registry};
use sluice_core::redis::trouble::Trouble;

/// Names begin with the filter's own prefix and the store's name.
#[derive(Debug)]
pub struct RedisMetrics {
    errors: Vec<Metric>,
    callouts: Metric,
    commands: Metric,
    batch_size: Metric,
    breaker_open: Metric,
    breaker_was_open: bool,
}

impl RedisMetrics {
    pub fn define(registry: &mut Registry, prefix: &str) -> Self {
        Self::of(registry, prefix, "redis")
    }

    /// Of the store `name`.
    pub fn of(registry: &mut Registry, prefix: &str, name: &str) -> Self {
        let store = format!("{prefix}.{name}");
        Self {
            errors: Trouble::ALL
                .iter()
                .map(|kind| registry.counter(&format!("{store}.error.{}", kind.name())))
                .collect(),
            callouts: registry.counter(&format!("{store}.callouts")),
            commands: registry.counter(&format!("{store}.commands")),
            batch_size: registry.histogram(&format!("{store}.batch_size")),
            breaker_open: registry.gauge(&format!("{store}.breaker_open")),
            breaker_was_open: false,
        }
    }

    /// A batch of so many commands has been sent.
    pub fn batch(&self, registry: &mut Registry, size: usize) {
        registry.record(self.batch_size, size as u64);
        registry.add(self.callouts, 1);
        registry.add(self.commands, size as u64);
    }

    /// Takes the counts of troubles, by the index in [`Trouble::ALL`].
    pub fn troubles(&self, registry: &mut Registry, counts: &mut [u64; Trouble::ALL.len()]) {
        for (metric, count) in self.errors.iter().zip(counts) {
            registry.add(*metric, std::mem::take(count));
        }
    }

    /// The gauge counts the workers whose breaker is open: each adds itself, and takes itself away.
    pub fn breaker(&mut self, registry: &mut Registry, open: bool) {
        if open != self.breaker_was_open {
            registry.shift(self.breaker_open, if open { 1 } else { -1 });
            self.breaker_was_open = open;
        }
    }
}
