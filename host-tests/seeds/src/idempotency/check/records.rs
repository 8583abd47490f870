//! What Redis holds: an answer before its client has it, one event for each, and nothing that stays for ever.

use super::history::{Execution, History, Verdict};
use crate::idempotency::policy::{EXECUTION_HEADER, ROUTES};
use crate::idempotency::record::{Fields, Record};
use std::collections::BTreeSet;

/// Answers that a client had before they were stored, or that are not stored.
#[must_use]
pub fn unstored(history: &History<'_>) -> Vec<String> {
    let faults = &history.run.case.faults;
    let policy = history.policy;
    if faults.loses() || (!policy.before_headers && policy.delivers_unrecorded) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for request in &history.requests {
        let Verdict::First(number) = request.verdict else {
            continue;
        };
        let Some(execution) = history.execution(request.place) else {
            continue;
        };
        let answer = request.exchange.answer.as_ref();
        let flagged = answer.is_some_and(|answer| answer.header("idempotency-status").is_some());
        if flagged || history.may_be_freed(execution) {
            continue;
        }
        match record(history, execution) {
            Found::Nothing
                if history.run.end < history.kept_until(execution.at, history.run.end) =>
            {
                found.push(format!(
                    "answer {number} for #{} is not in Redis",
                    request.place
                ));
            }
            Found::One(record) if !record.is_completed() => {
                found.push(format!(
                    "#{} has answer {number}, and Redis has {:?}",
                    request.place,
                    record.text("state")
                ));
            }
            Found::One(record) if !faults.jumps() => {
                let done = record.number("done").unwrap_or(u64::MAX);
                let done = history.run.held.virtual_time(done);
                // Redis counts microseconds.
                if done > request.told {
                    found.push(format!(
                        "#{} had answer {number} at {:?}, and Redis at {done:?}",
                        request.place, request.told
                    ));
                }
            }
            _ => {}
        }
    }
    found
}

/// Partitions count their fences each by itself: the same may be there for another key. `None` where even the tenant is
/// all that tells two records apart.
fn record<'a>(history: &'a History<'_>, execution: &Execution<'_>) -> Found<'a> {
    let records = history.run.held.records.iter();
    let mut own = records.filter(|record| is_of(&record.fields, execution));
    match (own.next(), own.next()) {
        (None, _) => Found::Nothing,
        (Some(record), None) => Found::One(record),
        _ => Found::Several,
    }
}

enum Found<'a> {
    Nothing,
    One(&'a Record),
    Several,
}

/// Whether a record or an event says that it is of this execution.
fn is_of(fields: &Fields, execution: &Execution<'_>) -> bool {
    let says =
        |name: &str, value: &str| fields.get(name).is_some_and(|own| own == value.as_bytes());
    says("fence", &execution.fence.unwrap_or(0).to_string())
        && says("route", ROUTES[execution.scope.route])
        && says("key", &format!("key-{}", execution.scope.key))
}

/// Events that are missing, there twice, or of nothing.
#[must_use]
pub fn events(history: &History<'_>) -> Vec<String> {
    let held = &history.run.held;
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for event in &held.events {
        let text = |name: &str| {
            event
                .get(name)
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let (scope, fence) = (text("scope").unwrap_or_default(), text("fence"));
        let show = format!("{} {fence:?} {:?}", scope, text("status"));
        if !told.insert((scope, fence)) {
            found.push(format!("there are two events {show}"));
        }
        let status = text("status");
        let number = text(&format!("header:{EXECUTION_HEADER}"));
        let right = |execution: &&Execution<'_>| match (execution.reply, &number) {
            _ if !is_of(event, execution) => false,
            (Some((own, reply)), Some(number)) => {
                status.as_deref() == Some(&reply.status.to_string()) && *number == own.to_string()
            }
            _ => history.policy.stores_timeouts && status.as_deref() == Some("504"),
        };
        if !history.executions.iter().any(|execution| right(&execution)) {
            found.push(format!("there is an event of nothing: {show}"));
        }
    }
    // What a failover loses it loses of both, but an eviction takes whole keys.
    if history.policy.outbox && !history.run.case.faults.loses() {
        for record in held.records.iter().filter(|record| record.is_completed()) {
            let scope = record
                .name
                .rsplit(':')
                .next()
                .unwrap_or_default()
                .to_owned();
            if !told.contains(&(scope, record.text("fence").map(str::to_owned))) {
                found.push(format!("there is no event of {}", record.name));
            }
        }
    }
    found
}

/// Records that stay for ever, or say what cannot be.
#[must_use]
pub fn strange(history: &History<'_>) -> Vec<String> {
    let held = &history.run.held;
    let mut found: Vec<String> = held
        .strange
        .iter()
        .map(|name| format!("Redis has {name}"))
        .collect();
    if !history.policy.outbox && !held.events.is_empty() {
        found.push("there are events".to_owned());
    }
    for record in &held.records {
        let completed = record.is_completed();
        let in_flight = record.text("state") == Some("flight");
        let holds = |field: &str| record.fields.contains_key(field);
        let right = record.expires
            && (completed != in_flight)
            && holds("token") == in_flight
            && holds("lease") == in_flight
            && holds("answer") == completed;
        if !right {
            found.push(format!("Redis has {record:?}"));
        }
    }
    found
}
