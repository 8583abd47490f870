//! The terms on which an answer may be used again: how old it is, how long it is fresh, and what may happen after.

use super::{Lookup, Millis};

/// How long an answer that is stale is kept because it can be revalidated.
const KEPT_FOR_VALIDATION: Millis = 600_000;

/// An answer's terms. Plain numbers, so that stores can keep them as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// When its head came.
    pub received_at: Millis,
    /// How old it was then.
    pub initial_age: Millis,
    /// The age at which it stops being fresh.
    pub lifetime: Millis,
    /// How long after that it may be served while another is fetched.
    pub stale_while_revalidate: Millis,
    /// How long after that it may be served when the origin fails.
    pub stale_if_error: Millis,
    /// It must be revalidated before each use.
    pub no_cache: bool,
    /// It must never be served stale, whatever a client would accept.
    pub no_stale: bool,
    /// It allows itself to be used for requests with `Authorization`.
    pub authorized: bool,
    /// It has a validator.
    pub validator: bool,
}

/// What a stored answer is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// It answers the request. The age in whole seconds.
    Serve { age: u64, stale: bool },
    /// It answers the request, and another is to be fetched at once (RFC 5861, 3).
    ServeAndRefresh { age: u64 },
    /// It can only be revalidated.
    Revalidate,
    /// It is not for this request.
    Never,
}

impl Terms {
    /// Its age at a time.
    #[must_use]
    pub fn age(&self, now: Millis) -> Millis {
        self.initial_age
            .saturating_add(now.saturating_sub(self.received_at))
    }

    /// When it stops being fresh.
    #[must_use]
    pub fn expires_at(&self) -> Millis {
        self.received_at
            .saturating_add(self.lifetime.saturating_sub(self.initial_age))
    }

    /// When it is of no use any more.
    #[must_use]
    pub fn keep_until(&self) -> Millis {
        let validation = if self.validator {
            KEPT_FOR_VALIDATION
        } else {
            0
        };
        let after = self.stale_while_revalidate.max(self.stale_if_error);
        self.expires_at().saturating_add(after.max(validation))
    }

    /// Whole seconds until it stops being fresh, or negative since; for Cache-Status.
    #[must_use]
    pub fn ttl(&self, now: Millis) -> i64 {
        let seconds = |millis: Millis| i64::try_from(millis / 1_000).unwrap_or(i64::MAX);
        let age = self.age(now);
        match self.lifetime.checked_sub(age) {
            Some(left) => seconds(left),
            None => -seconds(age - self.lifetime),
        }
    }

    /// What this stored answer is good for.
    #[must_use]
    pub fn hit(&self, lookup: &Lookup, now: Millis) -> Hit {
        if lookup.authorized && !self.authorized {
            return Hit::Never;
        }
        if !lookup.stored || self.no_cache {
            return Hit::Revalidate;
        }
        let age = self.age(now);
        let seconds = age / 1_000;
        if self.suits(lookup, age) {
            return Hit::Serve {
                age: seconds,
                stale: false,
            };
        }
        let Some(beyond) = age.checked_sub(self.lifetime).filter(|_| !self.no_stale) else {
            return Hit::Revalidate;
        };
        let young = lookup.max_age.is_none_or(|most| age <= most);
        if young && lookup.max_stale.is_some_and(|most| beyond <= most) {
            return Hit::Serve {
                age: seconds,
                stale: true,
            };
        }
        // Who names an age wants nothing stale (RFC 9111, 5.2.1.1).
        let anything = lookup.max_age.is_none() && lookup.min_fresh.is_none();
        if anything && beyond < self.stale_while_revalidate {
            return Hit::ServeAndRefresh { age: seconds };
        }
        Hit::Revalidate
    }

    /// Whether this answer, which has just come, also answers a request that waited for it. The age in whole seconds.
    #[must_use]
    pub fn follow(&self, lookup: &Lookup, now: Millis) -> Option<u64> {
        let age = self.age(now);
        let theirs = self.authorized || !lookup.authorized;
        (theirs && !self.no_cache && self.suits(lookup, age)).then_some(age / 1_000)
    }

    /// Whether this stored answer answers a request whose origin has failed (RFC 5861, 4). The age in whole seconds.
    #[must_use]
    pub fn on_error(&self, lookup: &Lookup, now: Millis) -> Option<u64> {
        let age = self.age(now);
        let theirs = (self.authorized || !lookup.authorized) && lookup.stored && !self.no_cache;
        let beyond = age.checked_sub(self.lifetime);
        let allowed = match beyond {
            None => true,
            Some(beyond) => !self.no_stale && beyond < self.stale_if_error,
        };
        (theirs && allowed).then_some(age / 1_000)
    }

    /// Fresh, and as fresh as the client wants it.
    fn suits(&self, lookup: &Lookup, age: Millis) -> bool {
        let left = self.lifetime.saturating_sub(age);
        age < self.lifetime
            && lookup.max_age.is_none_or(|most| age <= most)
            && lookup.min_fresh.is_none_or(|least| left >= least)
    }
}
