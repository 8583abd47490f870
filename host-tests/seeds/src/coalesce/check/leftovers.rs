//! What is left when all clients are gone, and how much memory it took.

use super::history::{History, SLACK};
use crate::world::WorkerEnd;
use std::time::Duration;

/// Bytes that a VM may grow by beyond its store: the allocator's own, and what each request needs that is there at once.
const GROWTH: usize = 1 << 20;
const REQUEST: usize = 8 << 10;
/// Bytes in shared data beside the answers: the flights, the times of what was forgotten, the workers.
const TABLES: usize = 1 << 20;

/// Streams, calls and waiting requests, of which there should be none, and keys that are not free.
#[must_use]
pub fn left(history: &History<'_>) -> Vec<String> {
    let (run, policy) = (history.run, history.policy);
    let mut found = Vec::new();
    if !run.quiet {
        found.push("something is still under way".to_owned());
    }
    let faults = &run.case.faults;
    // The stream to Redis stays open, and the emulator does not yet end that of a root context which was replaced.
    let fleet = history.policy.fleet.as_ref();
    let streams = usize::from(fleet.is_some_and(|fleet| fleet.stream));
    let left = |worker: &WorkerEnd| worker.left(streams * (1 + faults.reloads(worker.gateway)));
    found.extend(run.workers.iter().filter_map(left));
    for (gateway, metrics) in run.metrics.iter().enumerate() {
        let waiting = metrics.get("sluice_coalesce.waiting").copied();
        // What a VM that crashed had waiting it can take back no more.
        if waiting.unwrap_or(0) != 0 && !faults.crashes(gateway) {
            found.push(format!("{waiting:?} requests still wait at g{gateway}"));
        }
    }
    for request in &history.requests[run.load..] {
        let exchange = request.exchange;
        // The origin is well and fast again: what takes longer waits for somebody who is gone. A clock that has gone
        // back keeps leases for as long.
        let most = Duration::from_millis(60) + 10 * SLACK + policy.hearsay() + policy.question();
        let took = exchange.ended_at.saturating_sub(exchange.sent);
        let back = faults.back(request.sent.gateway) > Duration::ZERO;
        if took > most && !back {
            found.push(format!(
                "#{} ({}), which was sent when all was over, took {took:?}",
                request.place, request.sent
            ));
        }
    }
    found
}

/// VMs that have grown, and shared data that has.
#[must_use]
pub fn memory(history: &History<'_>) -> Vec<String> {
    let (run, policy) = (history.run, history.policy);
    let own = policy.store_worker + policy.store_worker.max(8 * policy.max_body);
    let own = own.min(4 << 20) + GROWTH + REQUEST * run.sent.len();
    let grown = run.workers.iter().filter_map(|worker| worker.grown(own));
    let mut found: Vec<String> = grown.collect();
    let most = policy.store_shared + TABLES;
    for (gateway, shared) in run.shared.iter().enumerate() {
        if *shared > most {
            found.push(format!(
                "{shared} bytes are shared at g{gateway}, and {most} may be"
            ));
        }
    }
    let most = (policy.store_worker * run.case.workers) as u64;
    for (gateway, metrics) in run.metrics.iter().enumerate() {
        let kept = metrics.get("sluice_coalesce.worker_bytes").copied();
        if kept.unwrap_or(0) > most && !run.case.faults.crashes(gateway) {
            found.push(format!(
                "g{gateway} keeps {kept:?} bytes, and {most} may be"
            ));
        }
    }
    found
}

/// VMs that crashed, though nothing was to make them.
#[must_use]
pub fn crashes(history: &History<'_>) -> Vec<String> {
    let crashed = crate::faults::crashed(history.run.crashes, &history.run.case.faults.timed);
    crashed.into_iter().collect()
}
