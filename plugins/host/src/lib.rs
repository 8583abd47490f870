//! Typed services over the proxy-wasm host calls: the only crate that makes them.
//!
//! The SDK panics where the host answers something it did not expect, and its string getters panic on bytes that are
//! no UTF-8. Everything here keeps to the calls that cannot, and turns what the host says into values.

pub mod callout;
pub mod clock;
pub mod configuration;
pub mod duplex;
pub mod gathering;
pub mod link;
pub mod mailbox;
pub mod message;
pub mod metrics;
pub mod random;
mod raw;
pub mod redis_metrics;
pub mod shared;
pub mod stream;
pub mod wakeup;
