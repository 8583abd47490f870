//! The end of a request's way through its limits: what becomes of charges, and decisions that have to do without Redis.

use super::check::{Allowance, Reason, Verdict};
use super::limiter::Limiter;
use super::scripts::Refund;
use super::settings::OnError;
use super::ticket::{Charged, Part, State, Ticket};
use crate::gcra::Ps;
use crate::redis::trouble::Trouble;
use crate::slots::SharedData;

impl<S: SharedData + Clone> Limiter<S> {
    /// Decides a part without Redis, as the policy says for trouble.
    pub(super) fn without_redis(&mut self, part: &mut Part, trouble: Trouble, now: Ps) {
        self.counts.trouble(trouble);
        let rule = part.check.rule;
        self.counts.limit(rule, |counts| counts.degraded += 1);
        let free = State::Passed {
            backlog: None,
            charged: Charged::Nothing,
        };
        part.state = match (self.redis.on_error, part.allowance()) {
            (OnError::Local { millionths }, Some(allowance)) => self.tables.charge(
                fallback_hash(part.check.hash),
                allowance.quota.share(millionths, part.check.cost),
                part.check.cost,
                now,
                Charged::Fallback { at: now },
            ),
            (OnError::Deny, _) if !part.shadow => State::Denied {
                reason: Reason::Unavailable,
                backlog: None,
            },
            _ => free,
        };
    }

    /// Ends a request's way: gives back what was charged when it is denied, charges local shadows when it is not.
    pub(super) fn settle(&mut self, ticket: &mut Ticket, now: Ps) -> Verdict {
        let denied = ticket.worst().is_some();
        if denied {
            self.give_back(ticket, now);
        }
        for part in &mut ticket.parts {
            if !denied
                && part.shadow
                && self.is_local(part)
                && let Some(allowance) = part.allowance()
            {
                let check = &part.check;
                part.state = self.tables.charge(
                    check.hash,
                    allowance.quota,
                    check.cost,
                    now,
                    Charged::Local { at: now },
                );
            }
            self.count(part, denied);
        }
        ticket.verdict()
    }

    /// Counts what became of a part of a request that is, or is not, denied by any.
    pub(super) fn count(&mut self, part: &Part, denied: bool) {
        self.counts
            .limit(part.check.rule, |counts| match part.state {
                State::Denied { .. } if part.shadow => counts.shadow_denied += 1,
                State::Denied { .. } => counts.denied += 1,
                _ if !denied => counts.allowed += 1,
                _ => {}
            });
    }

    fn give_back(&mut self, ticket: &mut Ticket, now: Ps) {
        let mut in_redis = Vec::new();
        for part in &mut ticket.parts {
            let State::Passed { charged, backlog } = part.state else {
                continue;
            };
            let Some(Allowance { quota, .. }) = part.allowance() else {
                continue;
            };
            let (hash, cost) = (part.check.hash, part.check.cost);
            let returned = match charged {
                Charged::Nothing => continue,
                Charged::Local { at } => {
                    self.tables.refund(hash, quota, at, cost, now);
                    quota.interval() * Ps::from(cost)
                }
                Charged::Fallback { at } => {
                    let OnError::Local { millionths } = self.redis.on_error else {
                        continue;
                    };
                    let share = quota.share(millionths, cost);
                    self.tables
                        .refund(fallback_hash(hash), share, at, cost, now);
                    share.interval() * Ps::from(cost)
                }
                Charged::Lease { ends } => {
                    if let Some(terms) = self.terms(part) {
                        self.tables.give_back(hash, &terms, cost, ends, now);
                    }
                    quota.interval() * Ps::from(cost)
                }
                Charged::Redis { at } => {
                    in_redis.push(Refund {
                        key: self.key(part),
                        quota,
                        cost,
                        taken_at: at,
                    });
                    quota.interval() * Ps::from(cost)
                }
            };
            self.counts.refunds += 1;
            part.state = State::Passed {
                backlog: backlog.map(|backlog| backlog.saturating_sub(returned)),
                charged: Charged::Nothing,
            };
        }
        self.refund_in_redis(in_redis, now);
    }
}

/// A client's record by the gateway's own share is another than by the whole rate.
fn fallback_hash(hash: u64) -> u64 {
    hash ^ 0x5afe_5afe_5afe_5afe
}
