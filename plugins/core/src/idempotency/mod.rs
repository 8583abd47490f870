//! Idempotency keys: a request with a key is sent upstream once, and its retries get the first answer.

pub mod key_syntax;
pub mod settings;
