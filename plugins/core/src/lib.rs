//! The decisions of Sluice: no host call, no clock, no I/O. Functions take data and `now`, and return decisions, so
//! the same code runs in a gateway, in a test and in a browser.

pub mod bloom;
pub mod cache;
pub mod flight;
pub mod gcra;
pub mod guard;
pub mod headers;
pub mod idempotency;
pub mod near;
pub mod policy;
pub mod rate_limit;
pub mod redis;
pub mod release;
pub mod ring;
pub mod selector;
pub mod shard;
pub mod slots;
pub mod units;
