//! Guards: a request for an id that surely does not exist needs neither cache nor service.
//!
//! The ids that exist are a [`bloom`](crate::bloom) filter in Redis, of which each worker holds a [`copy`]. It never
//! changes once it is built; ids that come later are a set beside it, in the order in which they came, and the next build
//! takes them in. So there are three ways for an id to become known: it is built in, an operator adds it, or an answer
//! says that it was created. What an answer says is known to all workers of the process before its client has it
//! ([`recent`]), and to other gateways as soon as they look again.
//!
//! An id that exists and is refused is the worst that can happen here. Whatever makes it doubtful that a copy knows all
//! ids has the guard let everything pass ([`Why`]).

mod copy;
mod created;
mod events;
mod recent;
pub mod scripts;
#[cfg(test)]
mod tests;
mod worker;

pub use created::{Kept, written};
pub use events::{EVENTS, Event, Why};
pub use worker::{Guards, Tag};

use crate::cache::Millis;
use crate::selector::MAX_VALUE_BYTES;

/// A longer id, with the lengths of its parts, is looked up nowhere.
pub const MAX_ID_BYTES: usize = MAX_VALUE_BYTES + 4;

/// Ids that may come between two builds. One more has every request pass, until the next build.
pub const MAX_ADDED: u64 = 1_000_000;

/// So long ids are kept beside a filter that has taken them in: whoever still has the one before learns of them.
pub const KEPT: Millis = 3_600_000;
