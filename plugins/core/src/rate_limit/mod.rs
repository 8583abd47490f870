//! Rate limits: which apply to a request, whether it passes them all, and what it is told.

pub mod answer;
pub mod check;
pub mod counts;
pub mod denied;
mod draws;
pub mod lease;
pub mod limiter;
mod local;
#[cfg(test)]
mod model_redis;
pub mod plan;
mod remote;
pub mod scripts;
pub mod settings;
mod settle;
mod ticket;
