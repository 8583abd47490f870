//! A request on its way through several limits, some of which answer later.

use super::check::{Allowance, Check, Reason, Ruling, Standing, Verdict};
use crate::gcra::Ps;

/// Where a charge was made, so that it can be given back there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charged {
    Nothing,
    /// In the local table, at this instant.
    Local {
        at: Ps,
    },
    /// In the local table, by the share that a gateway enforces while Redis is in trouble.
    Fallback {
        at: Ps,
    },
    /// From the lease that ends then.
    Lease {
        ends: u64,
    },
    /// In Redis, at this instant of its clock.
    Redis {
        at: Ps,
    },
}

/// How far one limit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not decided yet: not asked, or the reply is not there.
    Open,
    /// Passes. None for the backlog where nothing is known of it.
    Passed {
        backlog: Option<Ps>,
        charged: Charged,
    },
    Denied {
        reason: Reason,
        backlog: Option<Ps>,
    },
}

#[derive(Debug)]
pub(super) struct Part {
    pub check: Check,
    pub shadow: bool,
    pub state: State,
}

impl Part {
    pub fn allowance(&self) -> Option<Allowance> {
        match self.check.ruling {
            Ruling::Metered(allowance) => Some(allowance),
            Ruling::Denied(_) => None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub fn denies(&self) -> bool {
        !self.shadow && matches!(self.state, State::Denied { .. })
    }

    /// The verdict on a request under this limit alone; none while it is open.
    pub fn verdict(&self) -> Option<Verdict> {
        let standings = self.standing().into_iter().collect();
        match self.state {
            State::Open => None,
            State::Passed { .. } => Some(Verdict::Admitted { standings }),
            State::Denied { reason, .. } => Some(Verdict::Denied {
                rule: self.check.rule,
                reason,
                standings,
            }),
        }
    }

    /// How the client stands with this limit, where that is known and is to be told.
    fn standing(&self) -> Option<Standing> {
        let (State::Passed { backlog, .. } | State::Denied { backlog, .. }) = self.state else {
            return None;
        };
        Some(Standing {
            rule: self.check.rule,
            allowance: self.allowance()?,
            backlog: backlog.filter(|_| !self.shadow)?,
        })
    }
}

#[derive(Debug)]
pub(super) struct Ticket {
    pub parts: Vec<Part>,
    pub deadline: Ps,
}

impl Ticket {
    pub fn is_decided(&self) -> bool {
        !self.parts.iter().any(Part::is_open)
    }

    /// The enforcing denial that lasts longest. Those that waiting does not help outlast all others.
    pub fn worst(&self) -> Option<(usize, Reason)> {
        let length = |reason: &Reason| match reason {
            Reason::Exceeded { retry } => *retry,
            // What passes again when Redis does is the least final of these.
            Reason::Unavailable => 0,
            Reason::Never | Reason::Override | Reason::Key => Ps::MAX,
        };
        self.parts
            .iter()
            .filter(|part| !part.shadow)
            .filter_map(|part| match part.state {
                State::Denied { reason, .. } => Some((part.check.rule, reason)),
                _ => None,
            })
            // The first of equals, in the policy's order.
            .rev()
            .max_by_key(|(_, reason)| length(reason))
    }

    pub fn verdict(&self) -> Verdict {
        let standings = self.parts.iter().filter_map(Part::standing).collect();
        match self.worst() {
            Some((rule, reason)) => Verdict::Denied {
                rule,
                reason,
                standings,
            },
            None => Verdict::Admitted { standings },
        }
    }
}
