//! A key is carried out once, and each time with a higher fence.

use super::history::{Execution, History};
use crate::idempotency::load::{FORGED, Scope};
use crate::idempotency::policy::FENCE_HEADER;
use std::collections::BTreeMap;

fn by_scope<'a>(history: &'a History<'_>) -> BTreeMap<&'a Scope, Vec<&'a Execution<'a>>> {
    let mut scopes: BTreeMap<&Scope, Vec<&Execution<'_>>> = BTreeMap::new();
    for execution in &history.executions {
        scopes.entry(&execution.scope).or_default().push(execution);
    }
    scopes
}

/// Keys that were carried out again within their retention.
#[must_use]
pub fn repeated(history: &History<'_>) -> Vec<String> {
    if history.run.case.faults.loses() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (scope, executions) in by_scope(history) {
        for pair in executions.windows(2) {
            let [first, second] = pair else { continue };
            let kept = history.kept_until(first.at, second.at);
            if second.at < kept && !history.may_be_freed(first) {
                found.push(format!(
                    "{scope:?} was carried out for #{} at {:?}, and for #{} at {:?}",
                    first.place, first.at, second.place, second.at
                ));
            }
        }
    }
    found
}

/// Executions without a fence, or with one that is not above those before.
#[must_use]
pub fn unfenced(history: &History<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for execution in &history.executions {
        if execution.fence.is_none() {
            found.push(format!("#{} went without a fence", execution.place));
        }
    }
    for seen in &history.run.origin {
        if seen.header(FENCE_HEADER).as_deref() == Some(FORGED) {
            found.push(format!(
                "#{} went with the fence of its client",
                seen.exchange
            ));
        }
    }
    // Redis forgets the last fence, and its clock goes back: nothing is left to count on.
    let faults = &history.run.case.faults;
    if faults.loses() && faults.jumps() {
        return found;
    }
    let mut ordered = |first: &Execution<'_>, second: &Execution<'_>| {
        if first.fence >= second.fence {
            found.push(format!(
                "#{} went with the fence {:?} before #{} with {:?}",
                first.place, first.fence, second.place, second.fence
            ));
        }
    };
    for executions in by_scope(history).values() {
        for pair in executions.windows(2) {
            ordered(pair[0], pair[1]);
        }
    }
    if !history.policy.hash_slots {
        // One counter for all: who comes when another is at the origin already has a higher one.
        for (place, first) in history.executions.iter().enumerate() {
            for second in &history.executions[place + 1..] {
                let came_later = history.run.exchanges[second.place].sent > first.at;
                if came_later || first.fence == second.fence {
                    ordered(first, second);
                }
            }
        }
    }
    found
}
