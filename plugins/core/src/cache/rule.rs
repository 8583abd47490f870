//! What a policy allows beyond what HTTP itself does.

use super::Millis;
use super::key::Query;

/// One route's terms. The default is the strictest: only what origins call fresh, nothing with credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// How long answers are fresh that say nothing of it themselves, by status; the first that has the status counts.
    pub ttl: Vec<Ttl>,
    /// No answer is fresh for longer.
    pub max_ttl: Option<Millis>,
    /// How long after its end an answer that does not say is served while another is fetched.
    pub stale_while_revalidate: Millis,
    /// How long after its end an answer that does not say is served when the origin fails.
    pub stale_if_error: Millis,
    /// Whether requests with `Authorization` are handled at all. Even then an answer must allow it itself.
    pub authorization: bool,
    /// Cookies that change nothing: a request with any other is forwarded.
    pub cookies: Vec<String>,
    /// Whether an answer 5xx that is fresh by its own word is shared.
    pub server_errors: bool,
    /// Whether a client's `no-cache`, `max-age`, `min-fresh`, `max-stale` and `only-if-cached` change nothing.
    pub ignore_client: bool,
    /// Targeted fields (RFC 9213), lower case, that rule in place of `cache-control`; the first that is valid counts.
    pub targeted: Vec<String>,
    /// Which parts of the query tell answers apart.
    pub query: Query,
}

/// A lifetime for some statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    pub first: u16,
    pub last: u16,
    pub lifetime: Millis,
}

impl Rule {
    /// How long an answer of this status is fresh that does not say.
    pub(super) fn ttl(&self, status: u16) -> Option<Millis> {
        self.ttl
            .iter()
            .find(|ttl| (ttl.first..=ttl.last).contains(&status))
            .map(|ttl| ttl.lifetime)
    }
}
