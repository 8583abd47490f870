//! A filter that does what its configuration tells it: for each callback a list of host calls, and what to return. Each
//! call is logged with what the host answered, so that two hosts can be compared by their logs.
//!
//! It speaks the ABI itself and not through the SDK, which panics on many of the answers that are of interest here.
//! The same JSON is the VM's configuration and the plugin's; [`program`] has its form.

mod abi;
mod act;
mod calls;
mod program;
mod show;
mod state;
