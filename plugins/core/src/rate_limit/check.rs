//! One limit's part in one request, before and after the decision.

use crate::gcra::{Ps, Quota};

/// How a limit is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the gateway's shared data: every worker of the process.
    Local,
    /// In Redis, each decision: every gateway.
    Strict,
    /// From leases drawn from Redis: every gateway, fewer calls.
    Leased,
}

/// What the limiter knows of a limit. Requests name it by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub mode: Mode,
    /// Counted, but never denies.
    pub shadow: bool,
}

/// A rate with what the response fields say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub quota: Quota,
    /// `q`: tokens per window.
    pub tokens: u64,
    /// `w`: the window in whole seconds, at least 1.
    pub seconds: u64,
    /// Tokens in a lease at most, where the limit is leased; 0 asks Redis each time.
    pub lease: u64,
}

impl Allowance {
    /// What a rate of `limit` per `period` looks like in whole seconds: `10/250ms` is 40 in 1 second.
    #[must_use]
    pub fn new(quota: Quota, limit: u64, period: std::time::Duration) -> Self {
        let nanos = period.as_nanos().max(1);
        let seconds = nanos.div_ceil(1_000_000_000);
        let tokens = u128::from(limit) * seconds * 1_000_000_000 / nanos;
        Self {
            quota,
            tokens: u64::try_from(tokens).unwrap_or(u64::MAX),
            seconds: u64::try_from(seconds).unwrap_or(u64::MAX),
            lease: 0,
        }
    }
}

/// What the policy says of the request at hand, for one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// Metered by this allowance.
    Metered(Allowance),
    /// Denied whatever its rate: an override says so, or the key is missing and that is a reason.
    Denied(Reason),
}

/// Why a request is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Over the limit; would pass after this long.
    Exceeded { retry: Ps },
    /// Costs more than the burst, or the limit is 0: waiting does not help.
    Never,
    /// An override denies this subject.
    Override,
    /// A part of the key is missing, or ambiguous, and the policy denies that.
    Key,
    /// Redis is in trouble and the policy denies then.
    Unavailable,
}

/// A request's claim on one limit.
#[derive(Debug, Clone)]
pub struct Check {
    /// Index of the rule.
    pub rule: usize,
    /// Of the limit's name and the subject, by the process's secret.
    pub hash: u64,
    /// The joined key parts.
    pub subject: Vec<u8>,
    pub ruling: Ruling,
    /// Tokens it costs; 0 peeks.
    pub cost: u64,
}

/// How a client stands with one limit after the decision, for the response fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub rule: usize,
    pub allowance: Allowance,
    /// Until the bucket is full again.
    pub backlog: Ps,
}

/// What the limiter decided on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Admitted {
        standings: Vec<Standing>,
    },
    Denied {
        /// The rule that denies longest.
        rule: usize,
        reason: Reason,
        standings: Vec<Standing>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn windows_are_whole_seconds() {
        for (limit, period, expected) in [
            (100, Duration::from_secs(60), (100, 60)),
            (10, Duration::from_millis(250), (40, 1)),
            (3, Duration::from_millis(1500), (4, 2)),
            (1, Duration::from_millis(1), (1000, 1)),
        ] {
            let quota = Quota::new(limit, period, 1).unwrap();
            let allowance = Allowance::new(quota, limit, period);
            assert_eq!((allowance.tokens, allowance.seconds), expected);
        }
    }
}
