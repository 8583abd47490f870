//! Talking to Redis in pipelines that a gateway carries as HTTP callouts: the wire format, the pipeline, and what to
//! do while Redis is in trouble.

pub mod breaker;
pub mod command;
pub mod conversation;
pub mod durability;
pub mod line;
pub mod pipe;
pub mod resp;
pub mod trouble;
