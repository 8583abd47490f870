//! The host, on built filters and on some that are written for a test.

mod common;
mod failures;
mod filters;
mod shared;
mod streams;
