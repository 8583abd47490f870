//! The emulator, on built filters and on some that are written for a test.

mod basics;
mod common;
mod holding;
mod hostile;
mod interruption;
mod redis;
