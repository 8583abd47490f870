//! Counters, gauges and histograms. Counts gather in the VM and go to the host by the tick: on the request path a
//! count costs no host call.

use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

/// A metric of a [`Registry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric(usize);

#[derive(Debug)]
struct Entry {
    id: u32,
    pending: u64,
}

/// The metrics of one plugin.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// Defines a counter; its name is the dotted path that the operator sees after the host's own prefix.
    pub fn counter(&mut self, name: &str) -> Metric {
        self.define(MetricType::Counter, name)
    }

    /// Defines a gauge.
    pub fn gauge(&mut self, name: &str) -> Metric {
        self.define(MetricType::Gauge, name)
    }

    /// Defines a histogram.
    pub fn histogram(&mut self, name: &str) -> Metric {
        self.define(MetricType::Histogram, name)
    }

    fn define(&mut self, metric_type: MetricType, name: &str) -> Metric {
        // Without the metric there is nothing to count, but the filter does its work all the same.
        match hostcalls::define_metric(metric_type, name) {
            Ok(id) => {
                self.entries.push(Entry { id, pending: 0 });
                Metric(self.entries.len() - 1)
            }
            Err(_) => Metric(usize::MAX),
        }
    }

    /// Adds to a counter, by the next [`Registry::flush`].
    pub fn add(&mut self, metric: Metric, count: u64) {
        if let Some(entry) = self.entries.get_mut(metric.0) {
            entry.pending += count;
        }
    }

    /// Moves a gauge up or down, at once. All workers of the process share it.
    pub fn shift(&mut self, metric: Metric, by: i64) {
        if let Some(entry) = self.entries.get(metric.0) {
            let _ = hostcalls::increment_metric(entry.id, by);
        }
    }

    /// Records a value in a histogram, or sets a gauge, at once.
    pub fn record(&mut self, metric: Metric, value: u64) {
        if let Some(entry) = self.entries.get(metric.0) {
            let _ = hostcalls::record_metric(entry.id, value);
        }
    }

    /// Hands the counters' gains to the host. The SDK panics on one that is not positive.
    pub fn flush(&mut self) {
        for Entry { id, pending } in &mut self.entries {
            if *pending > 0 {
                let count = i64::try_from(*pending).unwrap_or(i64::MAX);
                let _ = hostcalls::increment_metric(*id, count);
                *pending = 0;
            }
        }
    }
}
