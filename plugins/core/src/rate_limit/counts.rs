//! What happened, by limit and by kind, until the owner takes the counts to its metrics.

use crate::redis::trouble::Trouble;

/// Outcomes of one limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitCounts {
    /// Requests that passed this limit and were admitted.
    pub allowed: u64,
    /// Requests that this limit denied.
    pub denied: u64,
    /// Requests that it would have denied, were it no shadow.
    pub shadow_denied: u64,
    /// Decisions made without Redis because it was in trouble.
    pub degraded: u64,
}

/// Everything that is counted.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub limits: Vec<LimitCounts>,
    /// By the index in [`Trouble::ALL`].
    pub troubles: [u64; Trouble::ALL.len()],
    /// Denials answered without Redis because it had denied the same a moment ago.
    pub deny_cache_hits: u64,
    /// The number of commands in each callout sent.
    pub batch_sizes: Vec<usize>,
    /// Tokens given back because another limit denied.
    pub refunds: u64,
}

impl Counts {
    #[must_use]
    pub fn new(limits: usize) -> Self {
        Self {
            limits: vec![LimitCounts::default(); limits],
            ..Self::default()
        }
    }

    pub(super) fn trouble(&mut self, trouble: Trouble) {
        let index = Trouble::ALL.iter().position(|known| *known == trouble);
        if let Some(count) = index.and_then(|index| self.troubles.get_mut(index)) {
            *count += 1;
        }
    }

    pub(super) fn limit(&mut self, rule: usize, count: impl FnOnce(&mut LimitCounts)) {
        if let Some(counts) = self.limits.get_mut(rule) {
            count(counts);
        }
    }
}
