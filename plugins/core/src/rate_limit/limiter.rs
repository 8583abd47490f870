//! Decides on requests under several limits at once: all that enforce must pass, only then are all charged.
//!
//! A decision goes in this order. First everything that is known in the process is looked at without charging; a
//! denial there ends it. Then local limits are charged and leases spent, as a reservation. Then Redis is asked for the
//! rest: one script call for all limits whose keys share a node, all or nothing. When any limit denies after all, what
//! was reserved elsewhere is given back. A reservation can make another request fail that would have passed, for as
//! long as one Redis call; it can never let one pass that should not.

use super::check::{Allowance, Check, Mode, Reason, Rule, Ruling, Verdict};
use super::counts::Counts;
use super::denied::DenyCache;
use super::draws::Draws;
use super::lease::{Spent, Terms};
use super::local::{TableCounters, Tables};
use super::scripts;
use super::settings::{Redis, Settings};
use super::ticket::{Charged, Part, State, Ticket};
use crate::gcra::Ps;
use crate::redis::pipe::Pipe;
use crate::redis::trouble::Trouble;
use crate::release;
use crate::slots::SharedData;
use std::collections::HashMap;

/// What a command was for.
#[derive(Debug, Clone, Copy)]
pub enum Tag {
    /// Parts (a bit for each) of a waiting request.
    Take { ticket: u32, parts: u64 },
    /// A lease for the limit and subject of this hash.
    Draw { hash: u64 },
    /// Nobody waits for it.
    Refund,
}

/// The limits of one worker.
pub struct Limiter<S> {
    rules: Vec<Rule>,
    pub(super) tables: Tables<S>,
    pub(super) denied: DenyCache,
    pub(super) redis: Redis,
    pub(super) pipe: Pipe<Tag>,
    pub(super) tickets: HashMap<u32, Ticket, ahash::RandomState>,
    pub(super) draws: Draws,
    pub(super) settled: Vec<(u32, Verdict)>,
    pub counts: Counts,
}

impl<S: SharedData + Clone> Limiter<S> {
    #[must_use]
    pub fn new(store: S, settings: Settings, rules: Vec<Rule>) -> Self {
        let redis = settings.redis.unwrap_or_else(Redis::none);
        Self {
            counts: Counts::new(rules.len()),
            rules,
            tables: Tables::new(
                store,
                settings.buckets,
                settings.ways,
                settings.overflow_allows,
            ),
            denied: DenyCache::default(),
            pipe: Pipe::new(
                redis.limits.clone(),
                &redis.login,
                redis.breaker,
                scripts::all(),
            ),
            redis,
            tickets: HashMap::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4)),
            draws: Draws::default(),
            settled: Vec::new(),
        }
    }

    /// Decides on a request, or answers none: then the request `id` waits for a verdict in [`Limiter::settled`], at
    /// the latest after the Redis timeout and a tick.
    pub fn begin(&mut self, id: u32, checks: Vec<Check>, now: Ps) -> Option<Verdict> {
        let mut parts: Vec<Part> = checks.into_iter().map(|check| self.part(check)).collect();
        // Most requests fall under one limit, which one host call decides.
        if let [part] = parts.as_mut_slice()
            && !part.shadow
        {
            self.reserve(part, now);
            if let Some(verdict) = part.verdict() {
                self.count(part, matches!(verdict, Verdict::Denied { .. }));
                return Some(verdict);
            }
        }
        let mut ticket = Ticket {
            parts,
            deadline: now + self.redis.timeout,
        };
        for part in &mut ticket.parts {
            self.look(part, now);
        }
        if ticket.worst().is_none() {
            for part in &mut ticket.parts {
                self.reserve(part, now);
                if part.denies() {
                    break;
                }
            }
        }
        if ticket.worst().is_some() {
            return Some(self.settle(&mut ticket, now));
        }
        self.ask(id, &mut ticket, now);
        if ticket.is_decided() {
            return Some(self.settle(&mut ticket, now));
        }
        self.tickets.insert(id, ticket);
        None
    }

    /// The stream has ended: nobody waits for its verdict any more. What it was charged stays charged.
    pub fn forget(&mut self, id: u32) {
        self.tickets.remove(&id);
    }

    /// Whether request `id` waits for its verdict, or to be told of it.
    #[must_use]
    pub fn waits(&self, id: u32) -> bool {
        self.tickets.contains_key(&id) || self.settled.iter().any(|(settled, _)| *settled == id)
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.tickets.len()
    }

    /// Verdicts on requests that waited, as many as may be told of in one callback. See [`Limiter::has_settled`].
    pub fn settled(&mut self) -> Vec<(u32, Verdict)> {
        release::some(&mut self.settled)
    }

    /// Whether there are verdicts to be told of.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    pub fn take_table_counters(&mut self) -> TableCounters {
        self.tables.take_counters()
    }

    #[must_use]
    pub fn breaker_is_open(&self) -> bool {
        self.pipe.breaker.is_open()
    }

    /// Ends the waits whose deadline has passed, and gives up callouts that the gateway should have ended long ago.
    pub fn tick(&mut self, now: Ps) {
        for token in self.pipe.overdue(now) {
            self.replied(token, Err(Trouble::Timeout), now);
        }
        let late: Vec<u32> = self
            .tickets
            .iter()
            .filter(|(_, ticket)| {
                // A clock that went back must not prolong the wait.
                ticket.deadline <= now || ticket.deadline - now > self.redis.timeout
            })
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(mut ticket) = self.tickets.remove(&id) {
                for part in ticket.parts.iter_mut().filter(|part| part.is_open()) {
                    self.without_redis(part, Trouble::Timeout, now);
                }
                let verdict = self.settle(&mut ticket, now);
                self.settled.push((id, verdict));
            }
        }
    }

    fn part(&self, check: Check) -> Part {
        let state = match check.ruling {
            Ruling::Metered(_) => State::Open,
            Ruling::Denied(reason) => State::Denied {
                reason,
                backlog: None,
            },
        };
        Part {
            shadow: self.rules.get(check.rule).is_some_and(|rule| rule.shadow),
            state,
            check,
        }
    }

    pub(super) fn rule(&self, index: usize) -> Option<&Rule> {
        self.rules.get(index)
    }

    /// The terms of a part that is leased; none for one that is not, also when its leases would hold nothing.
    pub(super) fn terms(&self, part: &Part) -> Option<Terms> {
        match self.rule(part.check.rule)?.mode {
            // A peek draws nothing.
            Mode::Leased if part.check.cost > 0 => {
                let allowance = part.allowance()?;
                let terms = Terms::new(allowance.quota, allowance.lease);
                (terms.size > 0).then_some(terms)
            }
            _ => None,
        }
    }

    pub(super) fn is_local(&self, part: &Part) -> bool {
        self.rule(part.check.rule)
            .is_some_and(|rule| rule.mode == Mode::Local)
    }

    /// Whatever denies without charging and without asking: rulings, costs that never pass, local records, and what
    /// Redis denied a moment ago.
    fn look(&mut self, part: &mut Part, now: Ps) {
        let Some(Allowance { quota, .. }) = part.allowance().filter(|_| part.is_open()) else {
            return;
        };
        let check = &part.check;
        if self.is_local(part) {
            let state = self.tables.peek(check.hash, quota, check.cost, now);
            if matches!(state, State::Denied { .. }) {
                part.state = state;
            }
            return;
        }
        let terms = self.terms(part);
        let lent = terms.map_or(quota, |terms| terms.lent);
        if check.cost > lent.burst() || lent.burst() == 0 {
            part.state = State::Denied {
                reason: Reason::Never,
                backlog: None,
            };
            return;
        }
        if let Some(terms) = terms {
            match self
                .tables
                .lease(check.hash, &terms)
                .spend(check.cost, now, &terms)
            {
                Spent::Done(_) => return,
                Spent::Cooling { retry } => {
                    part.state = cooling(&terms, retry);
                    return;
                }
                Spent::Short => {}
            }
        }
        if let Some(denial) = self.denied.get(check.hash, check.cost, now) {
            self.counts.deny_cache_hits += 1;
            part.state = State::Denied {
                reason: Reason::Exceeded {
                    retry: denial.until - now,
                },
                backlog: Some(denial.full_at.saturating_sub(now)),
            };
        }
    }

    /// Charges what is in the process: an enforcing local limit (shadows are charged when the request is admitted), or
    /// a lease.
    fn reserve(&mut self, part: &mut Part, now: Ps) {
        let Some(Allowance { quota, .. }) = part.allowance().filter(|_| part.is_open()) else {
            return;
        };
        let (hash, cost) = (part.check.hash, part.check.cost);
        if self.is_local(part) {
            part.state = if part.shadow {
                self.tables.peek(hash, quota, cost, now)
            } else {
                let charged = Charged::Local { at: now };
                self.tables.charge(hash, quota, cost, now, charged)
            };
        } else if let Some(terms) = self.terms(part) {
            part.state = match self.tables.spend(hash, &terms, cost, now) {
                Spent::Done(lease) => State::Passed {
                    backlog: Some(terms.backlog(u64::from(lease.tokens) + u64::from(lease.behind))),
                    charged: Charged::Lease { ends: lease.ends },
                },
                Spent::Cooling { retry } => cooling(&terms, retry),
                Spent::Short => State::Open,
            };
        }
    }
}

/// A lease is spent, and Redis had no more a moment ago.
fn cooling(terms: &Terms, retry: Ps) -> State {
    State::Denied {
        reason: Reason::Exceeded { retry },
        backlog: Some(terms.backlog(0)),
    }
}

#[cfg(test)]
#[path = "limiter_tests/mod.rs"]
mod tests;
