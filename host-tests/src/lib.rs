//! What the tests on a real gateway need: Envoy, Redis and etcd as child processes, an origin that counts, a Redis that
//! misbehaves on demand, and clients that send anything.
//!
//! Every server listens on 127.0.0.1, on a port of its own, in a temporary folder of its own, and dies with the value
//! that stands for it. Start with [`gateway::Gateway`]:
//!
//! ```no_run
//! use host_tests::gateway::{Gateway, Route};
//! use host_tests::redis::Redis;
//!
//! let redis = Redis::start();
//! let gateway = Gateway::builder().redis(&redis).route(Route::Direct).policy(r#"{"limits": []}"#).start();
//! assert_eq!(gateway.get("/", &[]).status, 200);
//! assert_eq!(gateway.origin().hits("/"), 1);
//! ```

pub mod bloom;
pub mod cache_tests;
pub mod client;
pub mod coalesce;
pub mod config;
pub mod envoy;
pub mod etcd;
pub mod fake_redis;
pub mod fidelity;
pub mod gateway;
pub mod idempotency;
pub mod imports;
pub mod limits;
pub mod message;
pub mod origin;
pub mod ports;
pub mod process;
pub mod redis;
pub mod redis_cluster;
pub mod reload;
pub mod shard;
pub mod tls;
pub mod tools;
pub mod wait;
