//! Nobody waits for nothing: who waited goes on when something has happened on its key, or its time is over.

use super::history::{Asked, Got, History, Request, SLACK};
use super::law;
use crate::coalesce::policy::TICK_MS;
use crate::coalesce::sent::Sent;
use sluice_emulator::{Ended, Exchange};
use std::time::Duration;

/// When a request went on, and from when to when that may have been.
struct Moment {
    from: Duration,
    to: Duration,
    /// So much later it hears of what happens.
    late: Duration,
}

impl Moment {
    /// None where nobody can know it.
    fn of(history: &History<'_>, request: &Request<'_>) -> Option<Self> {
        let late = history.policy.hearsay();
        if let Some(number) = request.asked {
            let at = history.run.book[number].at;
            let from = at.saturating_sub(history.run.case.faults.latency());
            return Some(Self { from, to: at, late });
        }
        match &request.got {
            // It went, and came nowhere.
            _ if history.run.refused.contains(&request.place) => None,
            Got::Number { answer, .. } => Some(Self {
                from: answer.at,
                to: answer.at,
                late,
            }),
            _ => None,
        }
    }

    /// Whether it may have been between these times, or at once after. A worker that stands still may tell its own client
    /// after the others.
    fn is_in(&self, begins: Duration, ends: Duration) -> bool {
        self.to.saturating_add(SLACK) >= begins
            && self.from <= ends.saturating_add(SLACK + self.late)
    }
}

/// Runs whose times are not the filter's alone.
fn is_unclear(history: &History<'_>) -> bool {
    let faults = &history.run.case.faults;
    let calls = faults.calls_fail() && history.policy.refresh_ms.is_some();
    !faults.timed.is_empty() || calls || !history.run.case.redis_is_well()
}

/// Requests that waited for longer than there was something to wait for.
#[must_use]
pub fn idle(history: &History<'_>) -> Vec<String> {
    if is_unclear(history) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for request in &history.requests {
        let Some(moment) = Moment::of(history, request) else {
            continue;
        };
        let sent = request.exchange.sent;
        if moment.is_in(sent, sent) || has_reason(history, request, &moment) {
            continue;
        }
        found.push(format!(
            "#{} ({}) went on at {:?} to {:?}, when nothing had happened",
            request.place, request.sent, moment.from, moment.to
        ));
    }
    found
}

fn has_reason(history: &History<'_>, request: &Request<'_>, moment: &Moment) -> bool {
    let policy = history.policy;
    let tick = Duration::from_millis(TICK_MS);
    let deadline = request.exchange.sent + Duration::from_millis(policy.wait_ms);
    if moment.is_in(deadline, deadline + tick) {
        return true;
    }
    let others = history
        .requests
        .iter()
        .filter(|other| other.uri == request.uri && other.place != request.place);
    // What the gateway says by itself of an origin that cannot be reached, or is too late, is an end as well.
    let ended = others.clone().any(|other| {
        let at = other.exchange.ended_at;
        other.exchange.ended != Ended::Open && moment.is_in(at, at)
    });
    let headed = others.clone().any(|other| {
        let answer = other.exchange.answer.as_ref();
        answer.is_some_and(|answer| moment.is_in(answer.at, answer.at))
    });
    ended
        || headed
        || history
            .reads(&request.uri)
            .any(|asked| lets_go(history, asked, moment))
}

/// Whether an answer on its way lets those go who wait, then.
fn lets_go(history: &History<'_>, asked: &Asked<'_>, moment: &Moment) -> bool {
    let policy = history.policy;
    let tick = Duration::from_millis(TICK_MS);
    let Some(exchange) = asked.exchange else {
        // Of the gateway's own calls only the origin's part is known.
        let timeout = Duration::from_millis(policy.refresh_ms.unwrap_or(0));
        let gives_up = asked.entry.at + timeout;
        let answered = asked.answered();
        return moment.is_in(answered, answered + SLACK) || moment.is_in(gives_up, gives_up);
    };
    let Some(answer) = &exchange.answer else {
        return false;
    };
    let slow = answer.at + Duration::from_millis(policy.max_time_ms);
    let long = asked.nature.size > policy.max_body && moment.is_in(answer.at, exchange.ended_at);
    long || moment.is_in(slow, slow + tick)
}

/// Requests that waited for one answer after another, though none was for them.
#[must_use]
pub fn one_by_one(history: &History<'_>) -> Vec<String> {
    if is_unclear(history) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for request in &history.requests {
        let Some(number) = request.asked else {
            continue;
        };
        let Some(own) = history.asked.iter().find(|asked| asked.number == number) else {
            continue;
        };
        let sent = request.exchange.sent;
        let Some(moment) = Moment::of(history, request) else {
            continue;
        };
        // What is forgotten meanwhile has those who wait wait for another.
        let mut voids = history.all_voids(&request.uri);
        let void = voids.any(|(from, to)| from <= moment.to && to >= sent);
        let settled = !void && !history.disturbed(&request.uri, moment.to);
        let settled = settled && own.nature.is_for_one();
        let bypasses = law::bypass(history.policy, request.sent).is_some();
        if !settled || bypasses || moment.is_in(sent, sent) {
            continue;
        }
        let way = history.run.case.faults.latency() + SLACK;
        // Who has waited for another gateway's answer, and then has to ask for itself, has others of its own wait for that.
        let next = history.reads(&request.uri).find(|asked| {
            let bypasses = |sent: &Sent| law::bypass(history.policy, sent).is_some();
            let here = asked.gateway == request.sent.gateway && asked.entry.at > sent;
            // One more than may wait goes at once, and nobody waits for it.
            let waited = |exchange: &Exchange| asked.entry.at > exchange.sent + way;
            here && !asked.request.is_some_and(bypasses) && asked.exchange.is_none_or(waited)
        });
        let next = next.filter(|_| history.policy.fleet.is_some());
        let next = next.map(|asked| asked.number);
        let mut under_way = history.reads(&request.uri).filter(|asked| {
            let before = asked.entry.at.saturating_sub(way) <= sent;
            asked.number != number && (before || Some(asked.number) == next)
        });
        let deadline = sent + Duration::from_millis(history.policy.wait_ms);
        let tick = Duration::from_millis(TICK_MS);
        let one = under_way.any(|asked| {
            let answer = asked.exchange.and_then(|exchange| exchange.answer.as_ref());
            answer.is_some_and(|answer| moment.is_in(answer.at, answer.at))
        });
        if !one && !moment.is_in(deadline, deadline + tick) {
            found.push(format!(
                "#{} ({}) waited until {:?} for answers that are not shared, one after another",
                request.place, request.sent, moment.to
            ));
        }
    }
    found
}
