//! Policies: the JSON documents that configure the filters, read and checked once, when the gateway loads them.
//!
//! A policy with a mistake is refused whole, with the JSON path, what was found and what was expected. What comes out
//! is ready to decide with: nothing on the request path parses, compiles or validates again.

mod error;
#[cfg(test)]
mod examples;
pub mod rate_limit;
#[cfg(feature = "schema")]
pub mod schema;
pub mod value;

use serde::de::{DeserializeOwned, IgnoredAny};

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
    if let Err(error) = std::str::from_utf8(json) {
        let problem = format!(
            "found bytes that are no UTF-8 after {} bytes, expected JSON text",
            error.valid_up_to()
        );
        return Err(PolicyError::new("", problem));
    }
    // Syntax first: afterwards, whatever goes wrong is a mistake in the policy and has a path.
    serde_json::from_slice::<IgnoredAny>(json).map_err(|error| PolicyError::syntax(&error))?;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(PolicyError::data)
}
