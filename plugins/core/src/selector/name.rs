//! Header names and regular expressions as a policy writes them.

use crate::policy::value::{Text, text_value};

/// A header's name in lower case, as the gateway delivers it; a pseudo-header such as `:authority` is one too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderName(String);

impl HeaderName {
    /// A name that the code itself knows, lower case.
    #[must_use]
    pub fn from_static(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name, lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Text for HeaderName {
    const PATTERN: &'static str =
        "^([A-Za-z0-9!#$%&'*+.^_`|~-]+|:method|:scheme|:authority|:path)$";

    fn expected() -> String {
        "a header name such as \"x-api-key\" or \":authority\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let pseudo = matches!(text, ":method" | ":scheme" | ":authority" | ":path");
        if !pseudo && (text.is_empty() || !text.bytes().all(is_token)) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}
text_value!(HeaderName);

#[cfg(feature = "schema")]
impl serde::Serialize for HeaderName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The compiled program of one expression may not be larger than this many bytes.
const MAX_PROGRAM: usize = 256 << 10;

/// A regular expression that must match the whole of a text (syntax of the `regex` crate, without Unicode classes;
/// matching takes time linear in the text).
#[derive(Debug, Clone)]
pub struct Pattern(regex_lite::Regex);

impl Pattern {
    /// Whether the whole of `bytes` matches. What is no UTF-8 is replaced by U+FFFD first.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.0.is_match(&String::from_utf8_lossy(bytes))
    }
}

impl Text for Pattern {
    const PATTERN: &'static str = ".";

    fn expected() -> String {
        "a regular expression such as \"/v[0-9]+/.*\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let compile = |text: &str| {
            regex_lite::RegexBuilder::new(text)
                .size_limit(MAX_PROGRAM)
                .build()
                .map_err(|error| format!("{} ({error})", Self::expected()))
        };
        if text.is_empty() {
            return Err(Self::expected());
        }
        // On its own first: "a)|(b" would compile between the anchors, and escape them.
        compile(text)?;
        compile(&format!("\\A(?:{text})\\z")).map(Self)
    }
}
text_value!(Pattern);
