//! Coalescing and the store: a herd on one key becomes one request upstream, whichever worker of the gateway its
//! requests land on, and what it brings answers those that come later.
//!
//! [`table`] has one record for each flight of the process, [`shelf`] the answers: those that a worker keeps by itself
//! ([`near`]) and those that all share ([`tier`]), less what was invalidated ([`voids`]). [`bus`] is the way from worker to
//! worker. [`machine`] is one worker: what it is told of its requests, and what it wants done. Gateways that share a Redis
//! have flights in common ([`fleet`]).

pub mod bus;
mod codec;
pub mod entry;
pub mod fleet;
pub mod machine;
pub mod message;
pub mod shelf;
pub mod table;
pub mod tier;
pub mod voids;
