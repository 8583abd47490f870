//! The law of the token bucket: in any window of length w, at most burst + rate x w is admitted.

use super::history::{Entry, Fate, History, Ps};
use crate::rate_limit::policy::{Bucket, Claim, Mode, OnError};

/// Tokens spent at an instant between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spend {
    pub earliest: Ps,
    pub latest: Ps,
    pub cost: u64,
}

/// A window in which too much was spent, whichever of the possible instants were the right ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    pub from: Ps,
    pub to: Ps,
    pub spent: u64,
    pub allowed: u64,
}

/// Looks for such a window. Beyond the law, `extra` tokens are allowed from one instant to another.
#[must_use]
pub fn excess(spends: &[Spend], bucket: Bucket, extra: impl Fn(Ps, Ps) -> u64) -> Option<Excess> {
    let mut by_end = spends.to_vec();
    by_end.sort_by_key(|spend| spend.latest);
    let mut starts: Vec<Ps> = spends.iter().map(|spend| spend.earliest).collect();
    starts.sort_unstable();
    starts.dedup();
    for from in starts {
        let mut spent = 0;
        for spend in by_end.iter().filter(|spend| spend.earliest >= from) {
            spent += spend.cost;
            let to = spend.latest;
            let law = u128::from(bucket.burst) + (to - from) / bucket.interval().max(1);
            let law = if bucket.limit == 0 {
                0
            } else {
                u64::try_from(law).unwrap_or(u64::MAX)
            };
            if spent <= law {
                continue;
            }
            let allowed = law.saturating_add(extra(from, to));
            if spent > allowed {
                return Some(Excess {
                    from,
                    to,
                    spent,
                    allowed,
                });
            }
        }
    }
    None
}

/// Windows of the run in which a client got too much.
#[must_use]
pub fn broken(history: &History<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (limit, rule) in history
        .policy()
        .limits
        .iter()
        .enumerate()
        .filter(|(_, rule)| !rule.shadow)
    {
        for (subject, claims) in history.by_subject(limit) {
            // A local limit is each gateway's own.
            let groups = match rule.mode {
                Mode::Local => history.case.gateways,
                Mode::Strict | Mode::Leased => 1,
            };
            for group in 0..groups {
                let own = |entry: &Entry| rule.mode != Mode::Local || entry.gateway == group;
                let claims = claims.iter().filter(|(entry, _)| own(entry));
                if let Some(excess) = excess_of(history, limit, claims.copied()) {
                    let Excess {
                        from,
                        to,
                        spent,
                        allowed,
                    } = excess;
                    found.push(format!(
                        "{} of {subject}: {spent} tokens within {} us, where {allowed} are allowed, from {} us on",
                        rule.name,
                        (to - from) / 1_000_000,
                        (from - super::history::instant(std::time::Duration::ZERO)) / 1_000_000,
                    ));
                }
            }
        }
    }
    found
}

fn excess_of<'a>(
    history: &History<'_>,
    limit: usize,
    claims: impl Iterator<Item = (&'a Entry, &'a Claim)> + Clone,
) -> Option<Excess> {
    let claim = claims.clone().next()?.1;
    let admitted = claims.filter(|(entry, _)| entry.fate == Fate::Admitted);
    let spends: Vec<Spend> = admitted
        .map(|(entry, claim)| Spend {
            earliest: entry.earliest,
            latest: entry.latest,
            cost: claim.cost,
        })
        .collect();
    match claim.bucket {
        Some(bucket) => {
            let extra = Extra::new(history, limit, bucket, claim.lease);
            excess(&spends, bucket, |from, to| extra.tokens(from, to))
        }
        // Denied whatever it costs.
        None => spends.first().map(|spend| Excess {
            from: spend.earliest,
            to: spend.latest,
            spent: spend.cost,
            allowed: 0,
        }),
    }
}

/// What the documentation allows beyond the law, when something has failed.
struct Extra {
    bucket: Bucket,
    mode: Mode,
    /// Instants at which Redis forgot charges.
    losses: Vec<Ps>,
    /// How long tokens may be spent after they were charged.
    lifetime: Ps,
    /// Tokens that clocks which jumped gave back.
    jumped: u64,
    /// The most that decisions without Redis can have spent.
    degraded: u64,
    /// Shares of gateways that were on their own; none where they were not limited at all.
    shares: Option<(u64, Bucket)>,
    /// The most that clients without room can have spent.
    overflowed: u64,
}

impl Extra {
    fn new(history: &History<'_>, limit: usize, bucket: Bucket, lease: u64) -> Self {
        let policy = history.policy();
        let rule = &policy.limits[limit];
        let interval = bucket.interval();
        let most = rule.cost.most();
        let in_redis = rule.mode != Mode::Local;
        let degraded = match (in_redis, policy.on_error) {
            (false, _) | (true, OnError::Deny) => 0,
            _ => history
                .degraded(limit)
                .map_or(u64::MAX, |count| count.saturating_mul(most)),
        };
        let shares = match policy.on_error {
            OnError::Local { percent } => {
                Some((history.case.gateways as u64, share(bucket, percent, most)))
            }
            _ => None,
        };
        let overflows = policy.overflow_allows && (!in_redis || shares.is_some());
        let overflowed = match history.overflowed() {
            Some(count) if overflows => count.saturating_mul(most),
            None if overflows => u64::MAX,
            _ => 0,
        };
        let jumped = history.jumped();
        let jumps = u64::try_from(jumped / interval.max(1)).unwrap_or(u64::MAX);
        Self {
            bucket,
            mode: rule.mode,
            losses: if in_redis {
                history.losses()
            } else {
                Vec::new()
            },
            lifetime: interval * u128::from(lease),
            jumped: if jumped == 0 { 0 } else { jumps + 1 },
            degraded,
            shares,
            overflowed,
        }
    }

    fn tokens(&self, from: Ps, to: Ps) -> u64 {
        // A charge may be older than the window by the life of a lease, and by the time a decision takes.
        let since = from.saturating_sub(self.lifetime);
        let losses = self
            .losses
            .iter()
            .filter(|at| (since..=to).contains(at))
            .count() as u64;
        let mut alone = self.degraded;
        if let (Some((gateways, share)), true) = (self.shares, self.mode != Mode::Local) {
            let window = u64::try_from((to - from) / share.interval().max(1)).unwrap_or(u64::MAX);
            let each = share
                .burst
                .saturating_add(window)
                .saturating_add(self.jumped);
            alone = alone.min(gateways.saturating_mul(each));
        }
        losses
            .saturating_mul(self.bucket.burst)
            .saturating_add(self.jumped)
            .saturating_add(self.overflowed)
            .saturating_add(alone)
    }
}

/// What one gateway enforces by itself on requests that cost up to `most`.
fn share(bucket: Bucket, percent: u64, most: u64) -> Bucket {
    let room = most.min(bucket.burst).max(1);
    Bucket {
        limit: bucket.limit * percent,
        period_ms: bucket.period_ms * 100,
        burst: (bucket.burst * percent / 100).max(room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::policy::PS_PER_MS;

    const BUCKET: Bucket = Bucket {
        limit: 10,
        period_ms: 1000,
        burst: 3,
    };

    fn spend(ms: Ps, takes: Ps, cost: u64) -> Spend {
        Spend {
            earliest: ms * PS_PER_MS,
            latest: (ms + takes) * PS_PER_MS,
            cost,
        }
    }

    #[test]
    fn a_burst_and_what_comes_back_is_allowed() {
        let spends = [spend(0, 0, 3), spend(100, 0, 1), spend(200, 0, 1)];
        assert_eq!(excess(&spends, BUCKET, |_, _| 0), None);
    }

    #[test]
    fn one_token_too_many_is_found() {
        let spends = [spend(0, 0, 3), spend(99, 0, 1)];
        let found = excess(&spends, BUCKET, |_, _| 0).unwrap();
        assert_eq!((found.spent, found.allowed), (4, 3));
        assert_eq!(excess(&spends, BUCKET, |_, _| 1), None);
    }

    #[test]
    fn a_window_in_the_middle_is_found() {
        let spends = [
            spend(0, 0, 1),
            spend(5000, 1, 3),
            spend(5001, 2, 1),
            spend(9000, 0, 1),
        ];
        let found = excess(&spends, BUCKET, |_, _| 0).unwrap();
        assert_eq!((found.from, found.to), (5000 * PS_PER_MS, 5003 * PS_PER_MS));
    }

    #[test]
    fn what_could_have_been_decided_far_enough_apart_is_no_violation() {
        let spends = [spend(0, 100, 3), spend(0, 100, 1)];
        assert_eq!(excess(&spends, BUCKET, |_, _| 0), None);
        let spends = [spend(0, 99, 3), spend(0, 99, 1)];
        assert!(excess(&spends, BUCKET, |_, _| 0).is_some());
    }

    #[test]
    fn a_rate_of_nothing_admits_nothing() {
        let nothing = Bucket { limit: 0, ..BUCKET };
        assert!(excess(&[spend(0, 0, 1)], nothing, |_, _| 0).is_some());
    }
}
