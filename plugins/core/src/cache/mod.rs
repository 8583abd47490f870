//! What HTTP says of answers that are used again: RFC 9111 (caching), RFC 9110 (validators, methods), RFC 5861 (stale
//! answers), RFC 9213 (targeted fields) and RFC 9211 (Cache-Status), narrowed by Sluice's own rules.
//!
//! An answer that is handed to others while it arrives and one that is stored are the same thing here: [`judge`] says
//! for both whether it may be given to anybody but the client that asked, and [`Terms`] says to whom and when. What is
//! doubtful is forwarded.
//!
//! Everything is a function of what a client sent, what an origin answered, a [`Rule`] and the time. Times are
//! milliseconds since the Unix epoch; durations are milliseconds.

mod admission;
mod conditional;
mod date;
mod directives;
mod fields;
mod invalidation;
mod judge;
mod key;
mod range;
mod rule;
mod status;
mod targeted;
mod terms;
#[cfg(test)]
mod tests;
mod timing;
mod vary;

pub use admission::{Admission, Bypass, Join, Lookup, admission};
pub use conditional::{
    Freshened, Match, conditional, freshen, lead_fields, not_modified_fields, revalidation_fields,
};
pub use fields::hit_fields;
pub(crate) use invalidation::resolve_anywhere;
pub use invalidation::{invalidated_by, is_unsafe};
pub use judge::{Reason, Share, Verdict, is_complete, is_failure, judge};
pub use key::{Identity, Parameters, Query, uri_key};
pub use range::{Part, part};
pub use rule::{Rule, Ttl};
pub use status::{Forward, Outcome, Status};
pub use terms::{Hit, Terms};
pub use timing::{jittered, refresh_early};
pub use vary::secondary_key;

use crate::headers::Headers;

/// Milliseconds: since the Unix epoch, or of a duration.
pub type Millis = u64;

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Without pseudo-headers, names in lower case.
    pub fields: Headers,
}

impl Head {
    /// The head that a gateway hands over, `:status` among its fields. `None` when that is missing or no number.
    #[must_use]
    pub fn from_gateway(headers: &Headers) -> Option<Self> {
        let status = std::str::from_utf8(headers.first(":status")?)
            .ok()?
            .parse()
            .ok()?;
        let fields: Vec<_> = headers
            .iter()
            .filter(|(name, _)| !name.starts_with(b":"))
            .collect();
        Some(Self {
            status,
            fields: Headers::from_pairs(&fields),
        })
    }
}
