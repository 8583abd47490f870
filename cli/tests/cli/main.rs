//! `sluice` as operators call it, and the consumer that it ships.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // only `#[test]` functions count as tests for clippy

mod bloom;
mod check;
mod common;
mod idem;
mod idem_etcd;
mod outbox;
mod shard;
