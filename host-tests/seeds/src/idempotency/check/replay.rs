//! A replay is the first answer, to the byte; whoever asks again gets it; and nobody gets another's.

use super::history::{Execution, History, Request, Verdict};
use sluice_emulator::{Answer, OriginReply};
use std::time::Duration;

/// Answers that are not what they should be.
#[must_use]
pub fn wrong(history: &History<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for request in &history.requests {
        let problem = match request.verdict {
            Verdict::First(number) => first(history, request, number),
            Verdict::Replay(number) => replay(history, request, number),
            Verdict::ReplayedTimeout => timeout(history, request),
            _ => None,
        };
        if let Some(problem) = problem {
            found.push(format!("#{} {problem}", request.place));
        }
    }
    found
}

fn first(history: &History<'_>, request: &Request<'_>, number: usize) -> Option<String> {
    let answered = history.run.answered.get(number)?;
    let answer = request.exchange.answer.as_ref()?;
    if answered.exchange != request.place {
        return Some(format!(
            "got answer {number}, which is #{}'s",
            answered.exchange
        ));
    }
    let reply = &answered.reply;
    let missing = reply
        .headers
        .iter()
        .find(|(name, value)| !answer.headers.get_all(name).any(|own| own == *value));
    if let Some((name, _)) = missing {
        return Some(format!(
            "lacks {} of its answer",
            String::from_utf8_lossy(name)
        ));
    }
    differs(answer, reply)
}

fn replay(history: &History<'_>, request: &Request<'_>, number: usize) -> Option<String> {
    let Some(execution) = history.numbered(number) else {
        return Some(format!("got a replay of answer {number}, which has no key"));
    };
    let answer = request.exchange.answer.as_ref()?;
    let (_, reply) = execution.reply?;
    if request.scope.as_ref() != Some(&execution.scope) {
        return Some(format!(
            "got a replay of answer {number}, whose key is another's"
        ));
    }
    let prints = [request.place, execution.place]
        .map(|place| history.requests[place].sent.fingerprint(history.policy));
    if prints[0] != prints[1] {
        return Some(format!(
            "got a replay of answer {number}, whose request was another"
        ));
    }
    if !history.policy.stores(reply.status) {
        return Some(format!(
            "got a replay of answer {number}, which is not to be stored"
        ));
    }
    // A failover may bring back what was there before.
    let loses = history.run.case.faults.loses();
    let outdated = |other: &&Execution<'_>| {
        !loses
            && !history.may_be_freed(other)
            && other.scope == execution.scope
            && other.at > execution.at
            && !is_trusted(history, execution, other, request)
    };
    if let Some(later) = history.executions.iter().find(outdated) {
        return Some(format!(
            "got a replay of answer {number}, though #{} came later",
            later.place
        ));
    }
    if let Some(problem) = differs(answer, reply) {
        return Some(format!("got a replay of answer {number}, and {problem}"));
    }
    let own = fields(answer.headers.iter().filter(|(name, _)| {
        !name.starts_with(b":") && *name != b"idempotency-replayed" && *name != b"content-length"
    }));
    let empty = reply.body.iter().all(Vec::is_empty);
    let expected = fields(reply.headers.iter().filter(|(name, _)| {
        let name = std::str::from_utf8(name).unwrap_or_default();
        history.policy.repeats(name) && !(empty && name == "content-type")
    }));
    (own != expected)
        .then(|| format!("got a replay of answer {number} with {own:?}, not {expected:?}"))
}

/// Whether a worker may still replay what it remembers of an execution when another has come: who trusts what it remembers
/// does not see that Redis's clock has jumped.
fn is_trusted(
    history: &History<'_>,
    remembered: &Execution<'_>,
    other: &Execution<'_>,
    request: &Request<'_>,
) -> bool {
    let (faults, sent) = (&history.run.case.faults, request.exchange.sent);
    let jumped = faults.ahead(remembered.at, sent) > Duration::ZERO;
    let trusted = if jumped { history.policy.trusted_ms } else { 0 };
    sent < other.at + Duration::from_millis(trusted)
}

/// The gateway's own answer is replayed where the policy says so, and there was one.
fn timeout(history: &History<'_>, request: &Request<'_>) -> Option<String> {
    let answer = request.exchange.answer.as_ref()?;
    let mut executions = history.executions.iter();
    let there = executions.any(|execution| {
        Some(&execution.scope) == request.scope.as_ref() && execution.at <= answer.at
    });
    let right = history.policy.stores_timeouts
        && there
        && answer.status == 504
        && answer.body == b"upstream request timeout";
    (!right).then(|| {
        format!(
            "got a replay of something: {} {:?}",
            answer.status, answer.body
        )
    })
}

fn differs(answer: &Answer, reply: &OriginReply) -> Option<String> {
    if answer.status != reply.status {
        return Some(format!(
            "has status {}, not {}",
            answer.status, reply.status
        ));
    }
    let body = reply.body.concat();
    let is = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.body != body).then(|| {
        format!(
            "has the body {is:?}, not {:?}",
            String::from_utf8_lossy(&body)
        )
    })
}

fn fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut fields: Vec<_> = fields
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    fields.sort();
    fields
}

/// Requests that were told something else although the answer was there to be replayed, or a record to refuse them.
#[must_use]
pub fn denied(history: &History<'_>) -> Vec<String> {
    if history.run.case.faults.loses() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for first in &history.requests {
        let Some((execution, number)) = promised(history, first) else {
            continue;
        };
        for later in history
            .requests
            .iter()
            .filter(|later| later.scope == first.scope)
        {
            let in_time = later.exchange.sent > first.told
                && later.told < history.kept_until(execution.at, later.told);
            if in_time && !is_kept(history, first, execution, later, number) {
                found.push(format!(
                    "#{} was told {:?}, though #{} had answer {number}",
                    later.place, later.verdict, first.place
                ));
            }
        }
    }
    found
}

/// The execution whose answer a client has, and can count on.
fn promised<'a>(
    history: &'a History<'_>,
    request: &Request<'_>,
) -> Option<(&'a Execution<'a>, usize)> {
    let Verdict::First(number) = request.verdict else {
        return None;
    };
    let execution = history.execution(request.place)?;
    let answer = request.exchange.answer.as_ref()?;
    let recorded = answer.header("idempotency-status").is_none();
    // Where only the end is held, an answer that is delivered unrecorded cannot say so.
    let sure = history.policy.before_headers || !history.policy.delivers_unrecorded;
    let kept = !history.may_be_freed(execution);
    (recorded && sure && kept).then_some((execution, number))
}

fn is_kept(
    history: &History<'_>,
    first: &Request<'_>,
    execution: &Execution<'_>,
    later: &Request<'_>,
    number: usize,
) -> bool {
    let same = first.sent.fingerprint(history.policy) == later.sent.fingerprint(history.policy);
    let faults = &history.run.case.faults;
    match &later.verdict {
        Verdict::Left => true,
        Verdict::Replay(own) if *own == number => same,
        Verdict::Replay(own) => history
            .numbered(*own)
            .filter(|before| before.at < execution.at)
            .is_some_and(|before| is_trusted(history, before, execution, later)),
        Verdict::Problem(name) => match name.as_str() {
            "answer-not-kept" => same,
            "key-reused" => !same,
            "store-unavailable" => faults.redis_fails(),
            "overloaded" => history.policy.max_open < 100,
            "body-too-large" => later.sent.body.len() > history.policy.max_request_body,
            _ => false,
        },
        Verdict::Broken | Verdict::Gateway(_) => history.was_killed(later),
        Verdict::First(_) | Verdict::ReplayedTimeout => false,
    }
}
