//! Who is denied had too few tokens for one of the limits: where nothing fails, nobody is denied for less.
//!
//! A denial is held against the fullest that a bucket can have been charged when it was decided: by everything that was
//! admitted, as late as possible, by the reservations of requests that were under way at the time, and by what a
//! reservation leaves behind: the time between a charge and its return is not given back.

use super::history::{Entry, Fate, History, Ps};
use crate::rate_limit::policy::{Bucket, Claim, Mode, PS_PER_MS};

/// How long after its answer a request's charges may still be there: they are given back by a call of their own.
const REFUND: Ps = 25 * PS_PER_MS;
/// How long a worker remembers what Redis denied.
const MEMORY: Ps = 1000 * PS_PER_MS;
/// How much later than the tokens come back a worker may learn of it: by the time that a reply took.
const LATE: Ps = 5 * PS_PER_MS;

/// A charge that may have been made, at the latest then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    pub latest: Ps,
    /// By how much longer the bucket takes to fill.
    pub time: Ps,
}

/// When a bucket is full again at the latest, after these charges.
#[must_use]
pub fn fullest(charges: &mut [Charge]) -> Ps {
    charges.sort_by_key(|charge| charge.latest);
    let charged = charges.iter();
    charged.fold(0, |full, charge| full.max(charge.latest) + charge.time)
}

/// Whether a request can have been denied between two instants.
#[must_use]
pub fn may_deny(charges: &mut [Charge], bucket: Bucket, cost: u64, earliest: Ps) -> bool {
    if cost > bucket.burst || bucket.limit == 0 {
        return true;
    }
    let full = fullest(charges);
    let backlog = full.saturating_sub(earliest.saturating_sub(LATE));
    backlog + bucket.interval() * u128::from(cost) > bucket.tolerance()
}

/// Requests that no limit can have had a reason to deny.
#[must_use]
pub fn unjustified(history: &History<'_>) -> Vec<String> {
    let policy = history.policy();
    let disturbed = !history.case.faults.none()
        || history.overflowed() != Some(0)
        || (0..policy.limits.len()).any(|limit| history.degraded(limit) != Some(0));
    if disturbed {
        return Vec::new();
    }
    let denied = history
        .entries
        .iter()
        .filter(|entry| entry.fate == Fate::Denied);
    let unjust =
        denied.filter(|entry| !entry.claims.iter().any(|claim| may(history, entry, claim)));
    unjust
        .map(|entry| {
            format!(
                "#{} was denied, and all its limits had tokens: {:?}",
                entry.place, entry.claims
            )
        })
        .collect()
}

fn may(history: &History<'_>, denied: &Entry, claim: &Claim) -> bool {
    let rule = &history.policy().limits[claim.limit];
    if rule.shadow {
        return false;
    }
    let Some(bucket) = claim.bucket else {
        return true;
    };
    let same = |other: &&Entry| {
        other.place != denied.place && (rule.mode != Mode::Local || other.gateway == denied.gateway)
    };
    let others = history.entries.iter().filter(same);
    let claims = others.filter_map(|other| {
        let own = |own: &&Claim| own.limit == claim.limit && own.subject == claim.subject;
        other.claims.iter().find(own).map(|own| (other, own))
    });
    if rule.mode == Mode::Leased && claim.lease > 0 {
        // Tokens may be in leases, or lost with them, and Redis may be left alone for a while. Nothing of that lasts
        // longer than a lease lives and a bucket takes to fill.
        let since = denied
            .earliest
            .saturating_sub(bucket.tolerance() * 2 + REFUND);
        let lent = bucket.burst - claim.lease;
        return claim.cost > lent
            || claims
                .clone()
                .any(|(other, _)| other.earliest <= denied.latest && other.latest >= since);
    }
    // Redis may have denied for a reservation that has been given back since.
    let (remembered, refund) = match rule.mode {
        Mode::Local => (0, 0),
        Mode::Strict | Mode::Leased => (MEMORY, REFUND),
    };
    let mut charges: Vec<Charge> = claims
        .filter(|(other, _)| other.earliest <= denied.latest)
        .map(|(other, own)| {
            let charged = bucket.interval() * u128::from(own.cost);
            let given_back =
                other.fate == Fate::Denied && other.latest + REFUND + remembered < denied.earliest;
            let kept = other.latest - other.earliest + refund;
            Charge {
                latest: other.latest.min(denied.latest),
                time: if given_back {
                    charged.min(kept)
                } else {
                    charged
                },
            }
        })
        .collect();
    may_deny(&mut charges, bucket, claim.cost, denied.earliest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: Bucket = Bucket {
        limit: 10,
        period_ms: 1000,
        burst: 3,
    };

    fn charge(ms: Ps, cost: u64) -> Charge {
        Charge {
            latest: ms * PS_PER_MS,
            time: BUCKET.interval() * u128::from(cost),
        }
    }

    #[test]
    fn an_empty_bucket_denies() {
        assert!(may_deny(&mut [charge(0, 3)], BUCKET, 1, 90 * PS_PER_MS));
        assert!(may_deny(
            &mut [charge(0, 2), charge(50, 1)],
            BUCKET,
            1,
            90 * PS_PER_MS
        ));
    }

    #[test]
    fn a_denial_with_tokens_left_is_found() {
        assert!(!may_deny(&mut [], BUCKET, 3, 0));
        assert!(!may_deny(&mut [charge(0, 2)], BUCKET, 1, 0));
        assert!(!may_deny(&mut [charge(0, 3)], BUCKET, 1, 105 * PS_PER_MS));
    }

    #[test]
    fn what_costs_more_than_the_burst_is_always_denied() {
        assert!(may_deny(&mut [], BUCKET, 4, 0));
    }
}
