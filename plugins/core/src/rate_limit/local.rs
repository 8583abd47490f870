//! Charging in the gateway's own shared data.

use super::check::Reason;
use super::lease::{Lease, Spent, Terms};
use super::ticket::{Charged, State};
use crate::gcra::{Ps, Quota, Verdict};
use crate::slots::{Payload, Refusal, SharedData, SlotTable, Step};

/// The two tables of a process: arrival times of local limits, and leases.
pub(super) struct Tables<S> {
    arrivals: SlotTable<S>,
    leases: SlotTable<S>,
    overflow_allows: bool,
}

/// Counters of the tables since they were last taken.
pub type TableCounters = crate::slots::Counters;

impl<S: SharedData + Clone> Tables<S> {
    pub fn new(store: S, buckets: u32, ways: u32, overflow_allows: bool) -> Self {
        Self {
            arrivals: SlotTable::new(store.clone(), "tat", buckets, ways),
            leases: SlotTable::new(store, "lease", buckets, ways),
            overflow_allows,
        }
    }

    /// How the client stands, without charging: the state that charging now would lead to, if nobody comes first.
    pub fn peek(&mut self, hash: u64, quota: Quota, cost: u64, now: Ps) -> State {
        let decided = self.arrivals.update(
            hash,
            |record| is_ahead(record, now),
            |record| Step::Keep(quota.decide(record.map(tat), now, cost)),
        );
        self.state(decided, Charged::Nothing, quota)
    }

    /// Charges if it passes.
    pub fn charge(
        &mut self,
        hash: u64,
        quota: Quota,
        cost: u64,
        now: Ps,
        charged: Charged,
    ) -> State {
        let decided = self.arrivals.update(
            hash,
            |record| is_ahead(record, now),
            |record| {
                let decision = quota.decide(record.map(tat), now, cost);
                match decision.verdict {
                    Verdict::Allow { tat } if cost > 0 => Step::Write(tat.to_le_bytes(), decision),
                    _ => Step::Keep(decision),
                }
            },
        );
        self.state(decided, charged, quota)
    }

    /// Gives back what was charged at `charged_at`.
    pub fn refund(&mut self, hash: u64, quota: Quota, charged_at: Ps, cost: u64, now: Ps) {
        // Without room or turn the tokens come back by time instead: never too many.
        let _ = self.arrivals.update(
            hash,
            |record| is_ahead(record, now),
            |record| match record.map(tat) {
                Some(old) if old > now => {
                    let tat = quota.refund(old, charged_at, now, cost);
                    Step::Write(tat.to_le_bytes(), ())
                }
                _ => Step::Keep(()),
            },
        );
    }

    fn state(
        &self,
        decided: Result<crate::gcra::Decision, Refusal>,
        charged: Charged,
        quota: Quota,
    ) -> State {
        match decided {
            Ok(decision) => {
                let backlog = Some(decision.backlog);
                let reason = match decision.verdict {
                    Verdict::Allow { .. } => return State::Passed { backlog, charged },
                    Verdict::Deny { retry } => Reason::Exceeded { retry },
                    Verdict::Never => Reason::Never,
                };
                State::Denied { reason, backlog }
            }
            Err(_) if self.overflow_allows => State::Passed {
                backlog: None,
                charged: Charged::Nothing,
            },
            Err(_) => State::Denied {
                reason: Reason::Exceeded {
                    retry: quota.interval(),
                },
                backlog: None,
            },
        }
    }

    /// Spends `cost` tokens of the lease, if it has them.
    pub fn spend(&mut self, hash: u64, terms: &Terms, cost: u64, now: Ps) -> Spent {
        self.leases
            .update(
                terms.place(hash),
                |record| Lease::decode(*record).is_alive(now, terms.lifetime),
                |record| {
                    let lease = record.map(Lease::decode).unwrap_or_default();
                    match lease.spend(cost, now, terms) {
                        Spent::Done(left) => Step::Write(left.encode(), Spent::Done(left)),
                        other => Step::Keep(other),
                    }
                },
            )
            .unwrap_or(Spent::Short)
    }

    /// The lease as it is, alive or not.
    pub fn lease(&mut self, hash: u64, terms: &Terms) -> Lease {
        self.leases
            .update(terms.place(hash), |_| true, Step::Keep)
            .ok()
            .flatten()
            .map(Lease::decode)
            .unwrap_or_default()
    }

    /// Puts a drawn lease where every worker can spend it. Without room its tokens are lost, and were debited all the
    /// same.
    pub fn deposit(&mut self, hash: u64, terms: &Terms, drawn: Lease, now: Ps) {
        let _ = self.leases.update(
            terms.place(hash),
            |record| Lease::decode(*record).is_alive(now, terms.lifetime),
            |record| {
                let lease = record.map(Lease::decode).unwrap_or_default();
                Step::Write(lease.with(drawn, now, terms).encode(), ())
            },
        );
    }

    /// Gives tokens back to the lease they came from; when that one is gone, they are lost.
    pub fn give_back(&mut self, hash: u64, terms: &Terms, cost: u64, ends: u64, now: Ps) {
        let lifetime = terms.lifetime;
        let cost = u32::try_from(cost).unwrap_or(0);
        let _ = self.leases.update(
            terms.place(hash),
            |record| Lease::decode(*record).is_alive(now, lifetime),
            |record| match record.map(Lease::decode) {
                Some(lease) if lease.ends == ends => {
                    let tokens = lease.tokens.saturating_add(cost);
                    Step::Write(Lease { tokens, ..lease }.encode(), ())
                }
                _ => Step::Keep(()),
            },
        );
    }

    /// Takes the counters of both tables together.
    pub fn take_counters(&mut self) -> TableCounters {
        let one = std::mem::take(&mut self.arrivals.counters);
        let two = std::mem::take(&mut self.leases.counters);
        TableCounters {
            retries: one.retries + two.retries,
            full: one.full + two.full,
            contended: one.contended + two.contended,
        }
    }
}

fn tat(record: Payload) -> Ps {
    Ps::from_le_bytes(record)
}

fn is_ahead(record: &Payload, now: Ps) -> bool {
    tat(*record) > now
}
