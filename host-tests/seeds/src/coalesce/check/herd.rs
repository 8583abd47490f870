//! A herd on one key is one request upstream for each time that its answer expires.
//!
//! Two plain requests for the same thing at the origin, of which the second came while the first was under way or its
//! answer fresh, are one too many. Not held to it are a key on which something failed, and what the policy itself lets
//! go: who has waited as long as it may, who is one too many to wait, an early refresh, an answer that may not be shared
//! or takes too long, and what was forgotten meanwhile. A leader who leaves is replaced, and counts no more.
//!
//! Two requests of one gateway are held to it whatever happens to others and to Redis; two of different gateways, which
//! share their flights, where nothing happens to either.

use super::history::{Asked, History, SLACK};
use super::law;
use crate::coalesce::faults::Event;
use crate::coalesce::nature::Vary;
use crate::coalesce::policy::ROUTES;
use crate::coalesce::sent::Sent;
use sluice_emulator::Ended;
use std::time::Duration;

/// How many ask for a key at once, at most: below this no policy is too small for them.
const CROWD: usize = 1_000;

/// Requests that were one too many.
#[must_use]
pub fn repeated(history: &History<'_>) -> Vec<String> {
    let faults = &history.run.case.faults;
    let is_clear = |gateway: usize| !faults.crashes(gateway) && !faults.jumps(gateway);
    let mut found = Vec::new();
    for (place, first) in history.asked.iter().enumerate() {
        let Some(span) = Span::of(history, first) else {
            continue;
        };
        for second in &history.asked[place + 1..] {
            let held = match first.gateway == second.gateway {
                true => is_clear(first.gateway),
                false => is_one_fleet(history, first),
            };
            if let Some(sent) = plain(history, second)
                && held
                && same(first, second)
                && span.covers(history, first, second, sent)
            {
                found.push(format!(
                    "the origin was asked for {} by g{} at {:?} (answer {}) and by g{} at {:?} (answer {})",
                    first.uri,
                    first.gateway,
                    first.entry.at,
                    first.number,
                    second.gateway,
                    second.entry.at,
                    second.number
                ));
            }
        }
    }
    found
}

/// When one answer was there, and until when it was good.
struct Span {
    whole: Duration,
    until: Duration,
    /// It is stored, and stays.
    stays: bool,
    /// Everybody else had to wait for it.
    led: bool,
}

impl Span {
    fn of(history: &History<'_>, first: &Asked<'_>) -> Option<Self> {
        let (policy, nature) = (history.policy, first.nature);
        let case = &history.run.case;
        let alone = first
            .request
            .is_some_and(|sent| law::bypass(policy, sent).is_some());
        if first.method != "GET" || nature.age.is_some() || alone {
            return None;
        }
        let authorized = first.entry.request.get("authorization").is_some();
        let long = nature.size > policy.max_body;
        let status = match first.entry.reply.status {
            304 => nature.status,
            status => status,
        };
        let shared = law::unshared(policy, nature, status, authorized).is_none();
        if !shared || long || !law::is_reusable(policy, nature, status) {
            return None;
        }
        if first.exchange.is_none() && case.faults.calls_fail() {
            return None;
        }
        let whole = first.whole()?;
        let slow = whole.saturating_sub(first.answered()) + Duration::from_millis(60)
            >= Duration::from_millis(policy.max_time_ms);
        if slow || unsettled(history, first, whole) {
            return None;
        }
        let lifetime = law::lifetime(policy, nature, status)?;
        let lifetime = Duration::from_millis(lifetime * (100 - policy.jitter) / 100);
        // Of several that were asked for at once the last one is kept, whenever it comes.
        let later = history
            .reads(&first.uri)
            .any(|other| other.number > first.number && other.entry.at < whole);
        let languages = nature.vary == Vary::Language && policy.max_variants < 3;
        Some(Self {
            whole,
            until: (first.answered() + lifetime).checked_sub(SLACK)?,
            stays: !case.wide && !languages && !later,
            led: match first.request {
                Some(sent) => plain(history, first).is_some() && leads(history, first, sent),
                None => history.policy.fleet.is_none() || waits_for_all(history),
            },
        })
    }

    /// Whether nobody had to ask again, by this.
    fn covers(
        &self,
        history: &History<'_>,
        first: &Asked<'_>,
        second: &Asked<'_>,
        sent: &Sent,
    ) -> bool {
        // Whose client has left on the way was replaced before it came.
        let gone = second
            .exchange
            .is_some_and(|exchange| exchange.ended_at <= second.entry.at);
        // Another gateway takes an answer for a little older than it is.
        let others = first.gateway != second.gateway;
        let more = if others { SLACK } else { Duration::ZERO };
        let until = self.until.saturating_sub(more);
        if second.entry.at >= until || gone || others && !self.led {
            return false;
        }
        // Of one that is held for the fleet the flight is another's after an invalidation, and it goes all the same.
        let begins = match history.policy.fleet {
            Some(_) => first.entry.at.min(sent.at),
            None => first.entry.at,
        };
        let ends = second.entry.at + SLACK;
        let slack = SLACK + history.run.case.faults.latency();
        let meanwhile = |(from, to): (Duration, Duration)| {
            from <= ends && to.saturating_add(slack) >= begins.saturating_sub(slack)
        };
        let forgotten = match others {
            true => history.all_voids(&first.uri).any(meanwhile),
            false => history.voids(first.gateway, &first.uri).any(meanwhile),
        };
        if forgotten || unsettled(history, first, second.entry.at) {
            return false;
        }
        let early = history.policy.early_refresh > 0;
        if sent.at > self.whole + SLACK + more {
            return self.stays && !early;
        }
        // Who has waited long enough may get an answer sooner, which is then what is refreshed early.
        let overtaken = history.reads(&first.uri).any(|other| {
            let answered = other.answered();
            other.number != first.number && (first.entry.at..second.entry.at).contains(&answered)
        });
        let while_waiting = second.entry.at <= self.whole && !(early && overtaken);
        self.led && leads(history, second, sent) && (while_waiting || self.stays && !early)
    }
}

/// Whether nobody waits for another gateway's answer as long as it may.
fn waits_for_all(history: &History<'_>) -> bool {
    let faults = &history.run.case.faults;
    let longest = Duration::from_millis(faults.slow_ms) + 10 * faults.latency();
    let slack = SLACK + 2 * history.policy.hearsay();
    longest + slack < Duration::from_millis(history.policy.wait_ms)
}

/// Whether all gateways make one request of what this one asked for: nothing happens to any of them nor to Redis, and the
/// answer is handed over.
fn is_one_fleet(history: &History<'_>, first: &Asked<'_>) -> bool {
    let case = &history.run.case;
    let route = usize::from(first.uri.starts_with(&format!("/{}/", ROUTES[1])));
    let most = history.policy.fleet_body(route);
    let mut timed = case.faults.timed.iter();
    let is_undisturbed = !timed.any(|(_, event)| event.gateway().is_some());
    let fits = most.is_some_and(|most| first.nature.size <= most);
    case.redis_is_well() && is_undisturbed && fits
}

/// The request, if it is like any other.
fn plain<'a>(history: &History<'a>, asked: &Asked<'a>) -> Option<&'a Sent> {
    let sent = asked.request?;
    law::is_plain(history.policy, asked.nature, sent).then_some(sent)
}

fn same(first: &Asked<'_>, second: &Asked<'_>) -> bool {
    if first.uri != second.uri {
        return false;
    }
    let of = |name: &str| {
        let value = |asked: &Asked<'_>| asked.entry.request.get(name).map(<[u8]>::to_vec);
        value(first) == value(second)
    };
    of("x-user") && (first.nature.vary == Vary::Nothing || of("accept-language"))
}

/// Whether a request that is at the origin leads: it has not waited for as long as it may, and there was room to wait.
fn leads(history: &History<'_>, asked: &Asked<'_>, sent: &Sent) -> bool {
    let policy = history.policy;
    let slack = SLACK + history.run.case.faults.latency();
    let waited = asked.entry.at.saturating_sub(sent.at) + slack;
    let room = policy.max_followers.min(policy.max_waiting) >= CROWD;
    room && waited < Duration::from_millis(policy.wait_ms)
}

/// Whether something happened on the way of this key that lets requests go by themselves: a failure, or an answer that
/// was not to be shared.
fn unsettled(history: &History<'_>, first: &Asked<'_>, until: Duration) -> bool {
    let policy = history.policy;
    let refused = history.refused(&first.uri, until);
    let mut timed = history.run.case.faults.timed.iter();
    let reloads = timed.any(|(_, event)| matches!(event, Event::Reload { .. }));
    let calls = history.run.case.faults.calls_fail() && policy.refresh_ms.is_some();
    refused
        || reloads
        || calls
        || history.reads(&first.uri).any(|asked| {
            let authorized = asked.entry.request.get("authorization").is_some();
            let broken = asked
                .exchange
                .is_some_and(|exchange| exchange.ended == Ended::Reset);
            let own = asked
                .request
                .is_some_and(|sent| law::bypass(policy, sent).is_some());
            asked.entry.at <= until
                && !own
                && (asked.entry.reply.trouble.is_some()
                    || asked.entry.reply.status >= 500
                    || broken
                    || history.is_too_late(asked)
                    || law::unshared(policy, asked.nature, asked.nature.status, authorized)
                        .is_some()
                    || !law::is_reusable(policy, asked.nature, asked.nature.status))
        })
}
