//! Registries of several gateways over one Redis (a model with the real scripts), with clients, an origin and a network
//! that a test moves step by step.

mod at_rest;
mod client;
mod durable;
mod hiccups;
mod matrix;
mod matrix_on;
mod orders;
pub mod policy;
mod random;
mod trusted;
mod world;
