//! The shard router on a real Envoy, with a real Redis.

mod caps;
mod keys;
mod migration;
mod queued;
mod refresh;
mod writes;
