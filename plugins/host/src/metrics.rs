//! Counters and gauges. Counts gather in the VM and go to the host by the tick: on the request path a count costs no
//! host call.

use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

/// A counter or a gauge of a [`Registry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric(usize);

#[derive(Debug)]
struct Entry {
    id: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Counter { pending: u64 },
    Gauge { value: u64, changed: bool },
}

/// The metrics of one plugin.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// Defines a counter; its name is the dotted path that the operator sees after the host's own prefix.
    pub fn counter(&mut self, name: &str) -> Metric {
        self.define(MetricType::Counter, name, Kind::Counter { pending: 0 })
    }

    /// Defines a gauge.
    pub fn gauge(&mut self, name: &str) -> Metric {
        let kind = Kind::Gauge {
            value: 0,
            changed: true,
        };
        self.define(MetricType::Gauge, name, kind)
    }

    fn define(&mut self, metric_type: MetricType, name: &str, kind: Kind) -> Metric {
        // Without the metric there is nothing to count, but requests are limited all the same.
        if let Ok(id) = hostcalls::define_metric(metric_type, name) {
            self.entries.push(Entry { id, kind });
            Metric(self.entries.len() - 1)
        } else {
            Metric(usize::MAX)
        }
    }

    pub fn add(&mut self, metric: Metric, count: u64) {
        if let Some(Entry {
            kind: Kind::Counter { pending },
            ..
        }) = self.entries.get_mut(metric.0)
        {
            *pending += count;
        }
    }

    pub fn set(&mut self, metric: Metric, new: u64) {
        if let Some(Entry {
            kind: Kind::Gauge { value, changed },
            ..
        }) = self.entries.get_mut(metric.0)
        {
            *changed |= *value != new;
            *value = new;
        }
    }

    /// Hands to the host what has changed.
    pub fn flush(&mut self) {
        for Entry { id, kind } in &mut self.entries {
            match kind {
                // The SDK panics on an increment that is not positive.
                Kind::Counter { pending } if *pending > 0 => {
                    let _ = hostcalls::increment_metric(*id, i64::try_from(*pending).unwrap_or(i64::MAX));
                    *pending = 0;
                }
                Kind::Gauge { value, changed } if *changed => {
                    let _ = hostcalls::record_metric(*id, *value);
                    *changed = false;
                }
                _ => {}
            }
        }
    }
}
