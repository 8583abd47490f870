//! Records in etcd, through its JSON gateway: no RESP, but one HTTP request for each transaction.
//!
//! A record is one key. What a script decides in Redis a transaction decides here: it compares, and writes or reads, all
//! at one revision. A fence is the revision that made the record, which grows with every write to etcd.
//!
//! A record ends with the etcd lease that it hangs on ([`leases`]). The lease of an execution is something else: an instant
//! inside the record, by the clocks of the gateways. Where these differ a running execution may be called unknown, or the
//! other way round; no clock frees a key.

mod leases;
mod operation;
pub mod record;
mod reply;
mod request;
mod store;

pub use reply::Reply;
pub use request::{Login, Request};
pub use store::EtcdStore;

#[cfg(test)]
pub(super) use tests::stage as testing;
#[cfg(test)]
mod tests;
