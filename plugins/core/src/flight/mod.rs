//! Coalescing: a herd on one key becomes one request upstream, whichever worker of the gateway its requests land on.
//!
//! [`table`] has one record for each flight of the process, [`tier`] the answers that workers hand to each other,
//! [`near`] those that a worker keeps by itself, and [`bus`] the way from worker to worker.

pub mod bus;
pub mod message;
pub mod near;
pub mod table;
pub mod tier;

/// Microseconds since the Unix epoch, as shared data has them.
pub(crate) type Micros = u64;

/// Times in shared data are whole microseconds.
pub(crate) fn micros(time: crate::gcra::Ps) -> Micros {
    u64::try_from(time / crate::gcra::PS_PER_US).unwrap_or(u64::MAX)
}
