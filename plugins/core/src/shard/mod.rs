//! Shard routing: from a request's key to the shard that has its data, the same from every gateway.
//!
//! [`Directory`] says where a key is: by a pin, or by its slot, in a migration by the slot's stage. [`decide`] puts that
//! together with the route's rules for one request. [`in_flight`] counts what is under way at each shard, [`gradient`]
//! says how much that may be, [`queue`] who waits. [`refresh`]
//! takes tables that are [`published`] while the gateway runs, where [`seats`] keep what belongs to whom. [`explain`] says the same to people.

mod answer;
pub mod decide;
mod directory;
pub mod explain;
pub mod gradient;
pub mod in_flight;
mod migration;
mod normal;
mod pointer;
pub mod published;
pub mod queue;
pub mod refresh;
pub mod seats;
pub mod sticky;

pub use answer::Problem;
pub use directory::{Directory, Host, Place};
pub use migration::{Freeze, Migration, Stage, Stages, WHOLE};
pub use normal::Normal;
pub use pointer::{Pointer, pointed};
