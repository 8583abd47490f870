//! Idempotency keys: a request with a key is sent upstream once, and its retries get the first answer.
//!
//! `registry` is what a gateway's worker talks to: it has an `exchange` for each request with a key, which asks a `store`
//! (`redis_store`, by `scripts`; `redlock`; `etcd`) for the key, holds what must wait, and stores the answer. A request of which nobody
//! knows whether it was carried out is never sent again before its record ends.

pub mod counts;
pub mod etcd;
mod exchange;
pub mod fingerprint;
pub mod key_syntax;
pub mod origin;
pub mod problem;
pub mod redis_store;
pub mod redlock;
pub mod registry;
pub mod remembered;
pub mod scope;
pub mod scripts;
pub mod seal;
pub mod settings;
pub mod store;
pub mod stored;
