//! Filters under schedules that are drawn from seeds.
//!
//! A seed draws a case: gateways and workers, a policy, a load, interruptions and faults. It is played in the emulator, and
//! what came of it is held to what the filter's page in `docs/` promises. [`planted`] shows that the checks find bugs: it
//! plants some and expects them to be caught.

pub mod coalesce;
pub mod faults;
pub mod idempotency;
pub mod modules;
pub mod planted;
pub mod rate_limit;
pub mod sweep;
pub mod trouble;
pub mod violation;
pub mod world;

pub use sweep::Filter;
