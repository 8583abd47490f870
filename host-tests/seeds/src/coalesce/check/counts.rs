//! What is counted is what happened.

use super::history::{Got, History, Request};
use super::law;
use sluice_emulator::Ended;

/// Counts that are not what happened.
#[must_use]
pub fn wrong(history: &History<'_>) -> Vec<String> {
    let run = history.run;
    let left = |request: &Request<'_>| request.exchange.ended != Ended::Answered;
    if run.case.crashes() || history.requests.iter().any(left) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let count = |name: &str| {
        let name = format!("sluice_coalesce.event.{name}");
        let each = run.metrics.iter().filter_map(|metrics| metrics.get(&name));
        each.sum::<u64>()
    };
    let mut same = |what: &str, counted: u64, happened: usize| {
        if counted != happened as u64 {
            found.push(format!(
                "{counted} {what} are counted, and there were {happened}"
            ));
        }
    };
    let reads = || {
        let reads = |request: &&Request<'_>| !request.sent.is_unsafe() && !request.sent.is_purge();
        history.requests.iter().filter(reads)
    };
    let bypass = |request: &&Request<'_>| law::bypass(history.policy, request.sent).is_some();
    same("bypasses", count("bypass"), reads().filter(bypass).count());
    let went =
        |request: &&Request<'_>| request.asked.is_some() || run.refused.contains(&request.place);
    let looked_up = || reads().filter(|request| !bypass(request));
    same(
        "requests upstream",
        count("lead") + count("alone"),
        looked_up().filter(went).count(),
    );
    let served =
        looked_up().filter(|request| !went(request) && matches!(request.got, Got::Number { .. }));
    // A stale answer to one who waited in vain is counted as that alone.
    let (least, most) = (
        count("hit") + count("collapsed"),
        count("hit") + count("collapsed") + count("stale"),
    );
    let served = served.count() as u64;
    if served < least || served > most {
        found.push(format!(
            "{least} to {most} stored answers are counted, and there were {served}"
        ));
    }
    if history.policy.fleet.is_some() {
        found.extend(of_fleet(history, &count));
    }
    if !run.case.faults.calls_fail() {
        let calls = run.book.iter().filter(|entry| entry.exchange.is_none());
        let calls = calls.count() as u64;
        let counted = count("background");
        if calls != counted {
            found.push(format!(
                "{counted} calls are counted, and there were {calls}"
            ));
        }
    }
    found
}

/// Counts of the fleet's flights. `count`: of an event, at all gateways.
fn of_fleet(history: &History<'_>, count: &dyn Fn(&str) -> u64) -> Vec<String> {
    let mut found = Vec::new();
    let trouble = count("fleet_trouble");
    if trouble > 0 && history.run.case.redis_is_well() {
        found.push(format!("Redis is well, and was no help {trouble} times"));
    }
    let all = (0..2).all(|route| history.policy.fleet_body(route).is_some());
    let sent = count("lead") + count("background");
    let told = count("fleet_lead") + count("fleet_own");
    let most = told + trouble + count("waited_out");
    if told > sent || all && sent > most {
        found.push(format!(
            "{sent} requests lead, and Redis was asked for {told} to {most}"
        ));
    }
    found
}
