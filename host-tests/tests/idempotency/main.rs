//! The idempotency filter on a real Envoy, with a real Redis or etcd.

mod bodies;
mod durable;
mod etcd;
mod etcd_store;
mod modes;
mod moments;
mod once;
mod redlock;
mod sealed;
mod store;
mod trust;
mod upstream;
