//! A run as the checks see it: which requests made which claims, what became of them, and between which two instants
//! it was decided.

use crate::rate_limit::Case;
use crate::rate_limit::faults::Event;
use crate::rate_limit::policy::{COST_HEADER, Claim, Facts, KEY_HEADERS, Policy};
use crate::rate_limit::run::Run;
use sluice_emulator::{Ended, Request};
use std::collections::BTreeMap;
use std::time::Duration;

/// When the emulator's clock begins, in nanoseconds since the Unix epoch.
const EPOCH: u128 = 1_780_000_000_000_000_000;

/// Virtual time in picoseconds, as the clocks of Redis and the gateways count it.
pub type Ps = u128;

#[must_use]
pub fn instant(time: Duration) -> Ps {
    (EPOCH + time.as_nanos()) * 1000
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It reached the origin.
    Admitted,
    /// It was answered for being over a limit.
    Denied,
    /// It was answered for another reason.
    Refused,
    /// The client left before anybody could see what was decided.
    Unknown,
}

/// A request and what became of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place in the list of exchanges.
    pub place: usize,
    pub gateway: usize,
    pub claims: Vec<Claim>,
    pub fate: Fate,
    /// It was decided no earlier.
    pub earliest: Ps,
    /// And no later.
    pub latest: Ps,
}

pub struct History<'a> {
    pub case: &'a Case,
    pub entries: Vec<Entry>,
    pub metrics: &'a [BTreeMap<String, u64>],
    pub crashes: usize,
    pub end: Ps,
}

impl<'a> History<'a> {
    #[must_use]
    pub fn of(run: &'a Run) -> Self {
        let policy = &run.case.policy;
        let entries = run.exchanges.iter().enumerate().map(|(place, exchange)| {
            let origin = exchange.at_origin.map(|at| &run.origin[at]);
            let fate = match (origin, exchange.status()) {
                (Some(_), _) => Fate::Admitted,
                (None, 429) => Fate::Denied,
                (None, 0) if exchange.ended == Ended::Aborted => Fate::Unknown,
                (None, 200) => Fate::Admitted,
                _ => Fate::Refused,
            };
            let latest = match (origin, &exchange.answer) {
                (Some(origin), _) => origin.at,
                (None, Some(answer)) => answer.at,
                // What it waits for may still be carried out.
                (None, None) => {
                    exchange.ended_at + Duration::from_millis(2 * policy.longest_wait_ms())
                }
            };
            Entry {
                place,
                gateway: run
                    .gateways
                    .iter()
                    .position(|gateway| *gateway == exchange.gateway)
                    .unwrap_or(0),
                claims: policy.claims(&facts(&exchange.request)),
                fate,
                earliest: instant(exchange.sent),
                latest: instant(latest),
            }
        });
        Self {
            case: &run.case,
            entries: entries.collect(),
            metrics: &run.metrics,
            crashes: run.crashes,
            end: instant(run.end),
        }
    }

    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.case.policy
    }

    /// A counter, of all gateways together.
    #[must_use]
    pub fn counted(&self, name: &str) -> u64 {
        let name = format!("sluice_rate_limit.{name}");
        self.metrics
            .iter()
            .map(|metrics| metrics.get(&name).copied().unwrap_or(0))
            .sum()
    }

    /// Decisions on a limit that were made without Redis; none known where a crash has lost the counts.
    #[must_use]
    pub fn degraded(&self, limit: usize) -> Option<u64> {
        let name = &self.policy().limits[limit].name;
        (self.crashes == 0).then(|| self.counted(&format!("limit.{name}.degraded")))
    }

    /// Requests that may have found no room in a local table; none known where a crash has lost the counts.
    #[must_use]
    pub fn overflowed(&self) -> Option<u64> {
        (self.crashes == 0)
            .then(|| self.counted("local.overflow") + self.counted("local.contended"))
    }

    /// When Redis forgot charges.
    #[must_use]
    pub fn losses(&self) -> Vec<Ps> {
        let timed = self.case.faults.timed.iter();
        timed
            .filter(|(_, event)| event.is_loss())
            .map(|(at, _)| instant(*at))
            .collect()
    }

    /// How far clocks jumped during the run, all together.
    #[must_use]
    pub fn jumped(&self) -> Ps {
        let jumps = self.case.faults.timed.iter().map(|(_, event)| match event {
            Event::Clock { nanos, .. } => Ps::from(nanos.unsigned_abs()) * 1000,
            Event::RedisClock { micros } => Ps::from(micros.unsigned_abs()) * 1_000_000,
            _ => 0,
        });
        jumps.sum()
    }

    /// All claims on a limit, with their requests, by subject.
    #[must_use]
    pub fn by_subject(&self, limit: usize) -> BTreeMap<&str, Vec<(&Entry, &Claim)>> {
        let mut subjects: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for entry in &self.entries {
            if let Some(claim) = entry.claims.iter().find(|claim| claim.limit == limit) {
                subjects
                    .entry(&claim.subject)
                    .or_default()
                    .push((entry, claim));
            }
        }
        subjects
    }
}

/// What limits see of a request.
fn facts(request: &Request) -> Facts {
    let text = |name: &str| {
        let value = request.headers.get(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    Facts {
        post: request.method == "POST",
        keys: KEY_HEADERS.map(text),
        cost: text(COST_HEADER),
    }
}
