//! The rate limits on a real Envoy and Redis.

mod aborts;
mod answers;
mod counts;
mod fields;
mod fleet;
mod hostile;
mod keys;
mod memory;
mod metrics;
mod redis_recovery;
mod redis_trouble;
mod refused;
mod reload;
mod scripts;
mod together;
