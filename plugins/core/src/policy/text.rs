//! Texts with a syntax that several policies have.

use crate::policy::value::{Text, text_value};
use crate::selector::HeaderName;

/// What a policy calls a thing of its own: it ends up in metrics, in keys of stores, and with clients.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub struct Name(pub String);

impl Text for Name {
    const PATTERN: &'static str = "^[A-Za-z0-9_.-]{1,64}$";

    fn expected() -> String {
        "a name of 1 to 64 characters out of A-Z, a-z, 0-9, `_`, `.` and `-`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if !(1..=64).contains(&text.len()) || !text.bytes().all(valid) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(Name);

/// The text a missing part is taken for.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub struct DefaultValue(pub String);

impl Text for DefaultValue {
    const PATTERN: &'static str = ".";

    fn expected() -> String {
        "a text that is not empty, of at most 4096 bytes".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if !(1..=crate::selector::MAX_VALUE_BYTES).contains(&text.len()) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(DefaultValue);

/// A header's name in lower case; no pseudo-header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldName(pub String);

impl Text for FieldName {
    const PATTERN: &'static str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";

    fn expected() -> String {
        "a header name such as \"x-order-id\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        HeaderName::parse(text)
            .ok()
            .filter(|name| !name.as_str().starts_with(':'))
            .map(|name| Self(name.as_str().to_owned()))
            .ok_or_else(Self::expected)
    }
}
text_value!(FieldName);

#[cfg(feature = "schema")]
impl serde::Serialize for FieldName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Header fields the gateway writes itself: to set them breaks the message, or lets one be taken for two.
pub(super) const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-type",
];
