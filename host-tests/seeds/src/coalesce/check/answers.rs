//! Every request gets an answer, and in time.

use super::history::{History, Request};
use crate::coalesce::faults::Event;
use crate::coalesce::policy::TICK_MS;
use crate::world::was_hit;
use sluice_emulator::Ended;
use std::time::Duration;

/// What workers and clients may add: calls that stand still, pieces of bodies.
const SLACK: Duration = Duration::from_millis(60);
/// Pieces that a request and its answer have at most, with their ends.
const PIECES: u32 = 10;

/// Requests that were answered too late, or not at all.
#[must_use]
pub fn late(history: &History<'_>) -> Vec<String> {
    let policy = history.policy;
    let most = Duration::from_millis(policy.wait_ms + TICK_MS + policy.upstream_timeout_ms)
        // Whoever may not wait any more still asks Redis, and perhaps once more when it leads anew.
        + 2 * policy.question()
        + PIECES * history.run.case.faults.latency()
        + SLACK;
    let mut found = Vec::new();
    for request in &history.requests {
        let exchange = request.exchange;
        if was_in_a_crash(history, request) {
            continue;
        }
        let took = exchange.ended_at.saturating_sub(exchange.sent);
        match exchange.ended {
            Ended::Open => found.push(format!("#{} has no answer", request.place)),
            Ended::Answered | Ended::Reset if took > most => {
                found.push(format!(
                    "#{} ({}) took {took:?}, and may take {most:?}",
                    request.place, request.sent
                ));
            }
            Ended::Reset if !is_broken(history, request) => {
                found.push(format!(
                    "#{} ({}) was broken off",
                    request.place, request.sent
                ));
            }
            _ => {}
        }
    }
    found
}

/// Whether the origin broke off, or was too slow.
fn is_broken(history: &History<'_>, request: &Request<'_>) -> bool {
    let entry = request
        .asked
        .and_then(|number| history.run.book.get(number));
    entry.is_some_and(|entry| {
        let way = PIECES * history.run.case.faults.latency();
        let timeout = Duration::from_millis(history.policy.upstream_timeout_ms);
        entry.reply.trouble.is_some() || entry.reply.after + way >= timeout
    })
}

/// Streams of a VM that crashes, or of a process that is killed, are nobody's any more.
fn was_in_a_crash(history: &History<'_>, request: &Request<'_>) -> bool {
    let mut timed = history.run.case.faults.timed.iter();
    timed.any(|(at, event)| {
        let meant = match event {
            Event::Crash { worker, .. } => *worker == request.exchange.worker,
            Event::Kill { .. } => true,
            _ => false,
        };
        let here = event.gateway() == Some(request.sent.gateway);
        meant && here && was_hit(request.exchange, *at)
    })
}
