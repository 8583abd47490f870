//! What is left when all clients are gone, how much memory it took, and what is counted.

use super::history::{History, Verdict};
use crate::idempotency::faults::Event;
use crate::idempotency::policy::ROUTES;

/// Bytes that a VM may grow by: what a few dozen requests with small bodies need, with the allocator's own.
const GROWTH: usize = 1 << 20;

/// Streams, callouts and exchanges, of which there should be none.
#[must_use]
pub fn left(history: &History<'_>) -> Vec<String> {
    let run = history.run;
    let mut found = Vec::new();
    if !run.quiet {
        found.push("something is still under way".to_owned());
    }
    // The stream to Redis stays open. That of a root context which was replaced is a gateway's to end, and the emulator
    // does not do it yet.
    let streams = usize::from(run.case.policy.stream);
    for worker in &run.workers {
        let reload = |event: &Event| matches!(event, Event::Reload { gateway } if *gateway == worker.gateway);
        let reloads = run
            .case
            .faults
            .timed
            .iter()
            .filter(|(_, event)| reload(event))
            .count();
        found.extend(worker.left(streams * (1 + reloads)));
    }
    for (gateway, metrics) in run.metrics.iter().enumerate() {
        let open = metrics.get("sluice_idempotency.open").copied().unwrap_or(0);
        // What a VM that crashed had open it can take back no more.
        if open != 0 && !run.case.faults.kills(gateway) {
            found.push(format!("g{gateway} still has {open} exchanges open"));
        }
    }
    found
}

/// VMs that have grown.
#[must_use]
pub fn memory(history: &History<'_>) -> Vec<String> {
    let workers = history.run.workers.iter();
    workers.filter_map(|worker| worker.grown(GROWTH)).collect()
}

/// VMs that crashed, though nothing was to make them.
#[must_use]
pub fn crashes(history: &History<'_>) -> Vec<String> {
    let crashed = crate::faults::crashed(history.run.crashes, &history.run.case.faults.timed);
    crashed.into_iter().collect()
}

/// Counts that are not what happened.
#[must_use]
pub fn counts(history: &History<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let leavers = history
        .requests
        .iter()
        .any(|request| request.verdict == Verdict::Left);
    for (gateway, metrics) in history.run.metrics.iter().enumerate() {
        if history.run.case.faults.kills(gateway) || leavers {
            continue;
        }
        let count = |names: &[&str]| -> u64 {
            let paths = ROUTES.iter().flat_map(|route| {
                names
                    .iter()
                    .map(move |name| format!("sluice_idempotency.route.{route}.{name}"))
            });
            paths.filter_map(|path| metrics.get(&path)).sum()
        };
        let own = || {
            history
                .requests
                .iter()
                .filter(|request| request.sent.gateway == gateway)
        };
        let told = |names: &[&str]| {
            let told = |verdict: &Verdict| matches!(verdict, Verdict::Problem(name) if names.contains(&name.as_str()));
            own().filter(|request| told(&request.verdict)).count() as u64
        };
        let mut same = |what: &str, counted: u64, happened: u64| {
            if counted != happened {
                found.push(format!(
                    "g{gateway} counts {counted} {what}, and there were {happened}"
                ));
            }
        };
        let replays = |request: &&super::history::Request<'_>| {
            matches!(
                request.verdict,
                Verdict::Replay(_) | Verdict::ReplayedTimeout
            )
        };
        same(
            "replays",
            count(&["event.replayed"]),
            own().filter(replays).count() as u64,
        );
        if history.run.case.policy.trusted_ms == 0 {
            same("replays unasked", count(&["event.remembered"]), 0);
        }
        for (problem, name) in [
            ("key-reused", "event.key_reused"),
            ("unknown", "event.unknown"),
            ("answer-not-kept", "event.answer_not_kept"),
            ("body-too-large", "event.body_too_large"),
            ("overloaded", "event.overloaded"),
            ("record-corrupt", "event.corrupt"),
            ("key-missing", "event.key_missing"),
            ("client-unknown", "event.client_unknown"),
        ] {
            same(problem, count(&[name]), told(&[problem]));
        }
        // Who has waited for another is told of it, even if Redis has not answered at last.
        same(
            "refusals",
            count(&["event.in_flight", "event.store_unavailable"]),
            told(&["in-flight", "store-unavailable"]),
        );
        let executed = own()
            .filter(|request| request.scope.is_some())
            .filter(|request| {
                history.execution(request.place).is_some()
                    || history.run.refused.contains(&request.place)
            });
        let executed = executed.count() as u64;
        same("executions", count(&["event.executed"]), executed);
        let ends = [
            "event.committed",
            "event.restored",
            "event.not_recorded",
            "event.left_unknown",
            "event.not_sent",
            "event.not_stored",
        ];
        same("ends of executions", count(&ends), executed);
    }
    found
}
