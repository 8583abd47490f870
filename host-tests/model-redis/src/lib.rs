//! A Redis in memory for simulations.
//!
//! [`Server::feed`] takes the bytes a client sends (RESP2, pipelined) and the time, and gives the bytes that Redis 7
//! would answer. There is no thread, socket or clock inside: the same calls give the same answers. Scripts run as they
//! are, in the Lua that Redis has. What can go wrong with a Redis can be made to: see [`Mode`], [`Server::restart`],
//! [`Server::failover`] and [`Server::evict`].
//!
//! The model is held to a real Redis, byte for byte, in `tests/against_redis.rs`. Known to differ: RESP3 is refused;
//! members of sets and keys are listed in order; `~` in XADD trims by hundreds of entries; scripts find neither `cjson`,
//! `cmsgpack`, `struct` nor `bit`, and cannot read the time or memory of the machine.

mod commands;
mod faults;
mod float;
mod inspect;
mod random;
mod reply;
mod request;
mod script;
mod server;
mod session;
mod state;
mod store;
mod value;

pub use inspect::Key;
pub use server::Server;
pub use session::Connection;
pub use state::{Mode, Settings};
