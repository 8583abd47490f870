//! Policies: the JSON documents that configure the filters, read and checked once, when the gateway loads them.
//!
//! A policy with a mistake is refused whole, with the JSON path, what was found and what was expected. What comes out
//! is ready to decide with: nothing on the request path parses, compiles or validates again.

pub mod coalesce;
mod error;
#[cfg(test)]
pub(crate) mod examples;
pub mod idempotency;
#[cfg(test)]
mod mistakes;
pub mod rate_limit;
pub mod redis;
#[cfg(feature = "schema")]
pub mod schema;
pub mod shard_route;
mod text;
pub(crate) mod tree;
pub mod value;

use serde::de::DeserializeOwned;

pub use error::PolicyError;

/// Reads one policy document.
///
/// # Errors
/// When the text is no JSON (with line and column), or the JSON is no policy of type `T` (with its path).
pub fn load<T: DeserializeOwned>(json: &[u8]) -> Result<T, PolicyError> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return Err(PolicyError::new(
            "",
            "found an empty configuration, expected a JSON object",
        ));
    }
    let tree: tree::Json =
        serde_json::from_slice(json).map_err(|error| PolicyError::syntax(&error))?;
    T::deserialize(&tree).map_err(PolicyError::from)
}
