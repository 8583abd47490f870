//! Nothing is served that is older than its lifetime and what it may be served stale, or that was forgotten, and every
//! stored answer says how old it is.

use super::history::{Asked, Got, History, Request, SLACK};
use super::law;
use crate::coalesce::sent::Directive;
use sluice_emulator::Answer;
use std::time::Duration;

/// Answers that were too old.
#[must_use]
pub fn stale(history: &History<'_>) -> Vec<String> {
    let mut found = Vec::new();
    if history.run.case.faults.hides_a_jump() {
        return found;
    }
    for request in &history.requests {
        let Got::Number {
            number,
            confirmed,
            answer,
        } = &request.got
        else {
            continue;
        };
        let by = |number: usize| {
            history
                .asked
                .iter()
                .find(move |asked| asked.number == number)
        };
        let (Some(asked), last) = (by(*number), confirmed.unwrap_or(*number)) else {
            continue;
        };
        let own = asked.entry.exchange == Some(request.place) || request.asked == Some(last);
        let Some(last) = by(last).filter(|_| !own) else {
            continue;
        };
        let problem = too_old(history, request, asked, last, answer)
            .or_else(|| forgotten(history, request, last))
            .or_else(|| misdated(history, request, last, answer));
        if let Some(problem) = problem {
            let sent = request.sent;
            found.push(format!(
                "#{} ({sent}) got answer {number} {problem}",
                request.place
            ));
        }
    }
    found
}

/// How old it was at least, and at most, when a client got it.
fn age(history: &History<'_>, last: &Asked<'_>, at: Duration) -> (Duration, Duration) {
    let faults = &history.run.case.faults;
    let own = Duration::from_secs(last.nature.age.unwrap_or(0));
    // Of an answer with an age the time counts since it was asked for (RFC 9111, 4.2.3).
    let most = own + faults.latency() + at.saturating_sub(last.entry.at);
    let way = last.entry.reply.after + faults.latency() + SLACK;
    let least = own + at.saturating_sub(last.entry.at + way);
    (least, most)
}

fn too_old(
    history: &History<'_>,
    request: &Request<'_>,
    first: &Asked<'_>,
    last: &Asked<'_>,
    answer: &Answer,
) -> Option<String> {
    let policy = history.policy;
    let (age, _) = age(history, last, answer.at);
    let lifetime = Duration::from_millis(
        law::lifetime(policy, last.nature, first.entry.reply.status).unwrap_or(0),
    );
    let (while_revalidating, on_error) = law::stale(policy, last.nature);
    let faults = &history.run.case.faults;
    let fails = faults.trouble.fails()
        || faults.errors > 0.0
        || faults.calls_fail()
        || faults.any_jumps()
        || last.nature.status >= 500
        || history.disturbed(&request.uri, answer.at);
    let seconds = Duration::from_secs;
    let by_itself = match law::directive(policy, request.sent) {
        Directive::MaxAge(most) => lifetime.min(seconds(most)),
        Directive::MinFresh(least) => lifetime.saturating_sub(seconds(least)),
        Directive::MaxStale(most) if !last.nature.no_stale() => {
            lifetime + seconds(most).max(Duration::from_millis(while_revalidating))
        }
        _ => lifetime + Duration::from_millis(while_revalidating),
    };
    // Where the origin fails, the client's own wish does not count (RFC 5861, 4).
    let most = match fails {
        true => by_itself.max(lifetime + Duration::from_millis(on_error)),
        false => by_itself,
    };
    // By so much it was taken for younger.
    let most = most + faults.redis_back();
    (age > most).then(|| format!("that was {age:?} old, and may be {most:?}"))
}

/// What was asked for before it was forgotten is not served after.
fn forgotten(history: &History<'_>, request: &Request<'_>, last: &Asked<'_>) -> Option<String> {
    // Time that goes back gives what is asked for later an earlier time; a new process has forgotten what was forgotten.
    // When Redis goes back in time, nobody can tell when another gateway asked.
    let faults = &history.run.case.faults;
    let gateway = request.sent.gateway;
    if faults.crashes(gateway) || faults.redis_back() > Duration::ZERO {
        return None;
    }
    // Other workers are told a moment later.
    let grace = 2 * SLACK;
    let mut voids = history.voids(gateway, &request.uri);
    let void = voids.find(|(begins, ends)| {
        last.entry.at < begins.saturating_sub(faults.latency() + SLACK)
            && ends.saturating_add(grace) < request.exchange.sent
    });
    void.map(|(_, at)| format!("that was forgotten at {at:?}"))
}

/// An answer that is not made for this request says how old it is.
fn misdated(
    history: &History<'_>,
    request: &Request<'_>,
    last: &Asked<'_>,
    answer: &Answer,
) -> Option<String> {
    if history.run.case.faults.any_jumps() {
        return None;
    }
    let said = answer
        .header("age")
        .and_then(|text| text.parse::<u64>().ok());
    let (least, mut most) = age(history, last, answer.at);
    if last.gateway != request.sent.gateway {
        // It is counted from when Redis was asked.
        most += history.policy.question();
    }
    let right = said.is_some_and(|said| (least.as_secs()..=most.as_secs()).contains(&said));
    (!right).then(|| format!("that is {least:?} to {most:?} old, and says {said:?}"))
}
