//! Every request gets an answer, and in time.

use super::history::{History, Request};
use crate::idempotency::faults::Event;
use crate::world::was_hit;
use sluice_emulator::Ended;
use std::time::Duration;

/// What workers, networks and clients may add: the emulator's latencies, and calls that stand still.
const SLACK: Duration = Duration::from_millis(60);
/// How often a commit is tried.
const COMMITS: u64 = 3;

/// Requests that were answered too late, or not at all.
#[must_use]
pub fn late(history: &History<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for request in history
        .requests
        .iter()
        .filter(|request| !was_in_a_crash(history, request))
    {
        let exchange = request.exchange;
        let most = deadline(history, request);
        let took = exchange.ended_at.saturating_sub(exchange.sent);
        match exchange.ended {
            Ended::Open => found.push(format!("#{} has no answer", request.place)),
            Ended::Answered | Ended::Reset if took > most => {
                found.push(format!(
                    "#{} took {took:?}, and may take {most:?}",
                    request.place
                ));
            }
            _ => {}
        }
    }
    found
}

fn deadline(history: &History<'_>, request: &Request<'_>) -> Duration {
    let policy = history.policy;
    let asked = policy.wait_ms + 2 * policy.question_ms();
    let came = history
        .run
        .origin
        .iter()
        .any(|seen| seen.exchange == request.place);
    let upstream = match came {
        true => policy.upstream_timeout_ms,
        false => 0,
    };
    let stored = match came || history.run.refused.contains(&request.place) {
        true => COMMITS * (policy.question_ms() + policy.timeout_ms / 4 + policy.tick_ms()),
        false => 0,
    };
    Duration::from_millis(asked + upstream + stored) + SLACK
}

/// Streams of a VM that crashes are nobody's any more.
fn was_in_a_crash(history: &History<'_>, request: &Request<'_>) -> bool {
    let mut timed = history.run.case.faults.timed.iter();
    timed.any(|(at, event)| match event {
        Event::Crash { gateway, worker } => {
            *gateway == request.sent.gateway
                && *worker == request.exchange.worker
                && was_hit(request.exchange, *at)
        }
        _ => false,
    })
}
