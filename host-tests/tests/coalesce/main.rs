//! The coalescing filter on a real Envoy.

mod answers;
mod bloom;
mod fleet;
mod flights;
mod http2;
mod memory;
mod public_tests;
