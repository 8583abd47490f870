//! Who is refused is refused for a reason that is there.

use super::history::{History, Request, Verdict};
use sluice_emulator::OriginTrouble;
use std::time::Duration;

/// Refusals without a reason.
#[must_use]
pub fn unfounded(history: &History<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for request in &history.requests {
        let founded = match &request.verdict {
            Verdict::Problem(name) => problem(history, request, name),
            Verdict::Gateway(_) => gateway(history, request),
            Verdict::Broken => broken(history, request),
            _ => true,
        };
        if !founded {
            let at = request.told;
            found.push(format!(
                "#{} was told {:?} at {at:?}, for no reason",
                request.place, request.verdict
            ));
        }
    }
    found
}

fn problem(history: &History<'_>, request: &Request<'_>, name: &str) -> bool {
    let policy = history.policy;
    let sent = request.sent;
    let faults = &history.run.case.faults;
    let Some(scope) = &request.scope else {
        return match name {
            "key-missing" => sent.post && sent.key.is_none() && policy.required,
            "client-unknown" => sent.post && sent.key.is_some() && sent.tenant.is_none(),
            _ => false,
        };
    };
    let others = || {
        history.requests.iter().filter(move |other| {
            other.place != request.place
                && other.scope.as_ref() == Some(scope)
                && other.exchange.sent < request.told
        })
    };
    match name {
        "body-too-large" => sent.body.len() > policy.max_request_body,
        "key-reused" => others().any(|o| o.sent.fingerprint(policy) != sent.fingerprint(policy)),
        "in-flight" => others().any(|o| o.sent.fingerprint(policy) == sent.fingerprint(policy)),
        "unknown" => {
            let lease = Duration::from_millis(policy.lease_ms);
            let old =
                |other: &Request<'_>| faults.jumps() || other.exchange.sent + lease <= request.told;
            let trouble = faults.redis_fails() || !faults.timed.is_empty();
            others().any(|other| old(other) && (trouble || in_doubt(history, other, request.told)))
        }
        "answer-not-kept" => others().any(|other| {
            let reply = history
                .execution(other.place)
                .and_then(|execution| execution.reply);
            reply.is_some_and(|(_, reply)| is_long(history, reply))
        }),
        "store-unavailable" => faults.redis_fails(),
        "not-sent" => history.run.refused.contains(&request.place),
        "not-recorded" => policy.before_headers && may_be_unstored(history, request),
        "overloaded" => policy.max_open < 100,
        _ => false,
    }
}

/// Whether nobody knows, at this time, what became of a request that was sent, though Redis answers.
fn in_doubt(history: &History<'_>, other: &Request<'_>, now: Duration) -> bool {
    let over = other.exchange.ended_at <= now
        && matches!(
            other.verdict,
            Verdict::Left | Verdict::Broken | Verdict::Gateway(_)
        );
    let longest = Duration::from_millis(history.policy.execution_ms);
    let execution = history.execution(other.place);
    over || execution.is_some_and(|execution| execution.at + longest <= now)
}

/// Whether of an answer only the status is stored.
fn is_long(history: &History<'_>, reply: &sluice_emulator::OriginReply) -> bool {
    let length: usize = reply.body.iter().map(Vec::len).sum();
    let kind = reply.headers.get("content-type").unwrap_or_default();
    length > history.policy.max_response_body
        || reply.trailers.iter().next().is_some()
        || kind.starts_with(b"text/event-stream")
}

/// The gateway's own words are for what the origin did not answer.
fn gateway(history: &History<'_>, request: &Request<'_>) -> bool {
    if history.was_killed(request) {
        return true;
    }
    let refused = history.run.refused.contains(&request.place);
    if request.scope.is_none() {
        return refused
            || history
                .run
                .answered
                .iter()
                .any(|own| own.exchange == request.place);
    }
    let answer = request.exchange.answer.as_ref();
    let flag = answer.and_then(|answer| answer.header("idempotency-status"));
    let unknown = flag.as_deref() == Some("unknown");
    let timed_out =
        history.policy.stores_timeouts && answer.is_some_and(|answer| answer.status == 504);
    history.execution(request.place).is_some() && (unknown || timed_out)
}

/// Whether there may be no place for an answer: Redis fails, or the record has ended and the key is another's.
fn may_be_unstored(history: &History<'_>, request: &Request<'_>) -> bool {
    history.execution(request.place).is_some_and(|execution| {
        let outlived = history.kept_until(execution.at, request.told) <= request.told;
        history.run.case.faults.redis_fails() || outlived
    })
}

/// Connections break where the origin breaks off, or where the end of an answer could not be stored.
fn broken(history: &History<'_>, request: &Request<'_>) -> bool {
    let reply = history
        .run
        .answered
        .iter()
        .find(|own| own.exchange == request.place);
    let policy = history.policy;
    let breaks = reply.is_some_and(|own| {
        let late = own.reply.after + Duration::from_millis(20);
        matches!(own.reply.trouble, Some(OriginTrouble::ResetAfter(_)))
            || late > Duration::from_millis(policy.upstream_timeout_ms)
    });
    let unstored = !policy.before_headers && may_be_unstored(history, request);
    breaks || unstored || history.was_killed(request)
}
