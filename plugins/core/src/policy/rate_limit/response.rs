//! The answer to a refused request.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::policy::text::FRAMING;
use crate::policy::value::{Int, Text, text_value};
use crate::selector::HeaderName;

/// The answer to a refused request. Its header fields can be sent as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 400 to 599.
    pub status: u16,
    /// `None`: problem details (RFC 9457) that the filter writes.
    pub body: Option<String>,
    /// Of `body`.
    pub content_type: Option<String>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

/// The answer to a request that is refused.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Response"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"status\": 503}"
)]
pub(super) struct ResponseJson {
    /// The status code.
    status: Int<400, 599>,
    /// The body, of at most 16 KiB. Without it the body is a problem document (RFC 9457) that names the limits.
    body: Option<Body>,
    /// The body's media type; only with `body`.
    content_type: Option<HeaderValue>,
    /// More header fields. Those that frame the message (`content-length`, `connection` and their like), and those that the filter
    /// writes itself (`retry-after`, `ratelimit`, `ratelimit-policy`, `x-ratelimit-*`), cannot be set.
    headers: Fields,
}

impl Default for ResponseJson {
    fn default() -> Self {
        Self {
            status: Int(429),
            body: None,
            content_type: None,
            headers: Fields(Vec::new()),
        }
    }
}

impl ResponseJson {
    /// # Errors
    /// The field at fault, and what is wrong.
    pub(super) fn compile(self) -> Result<Response, (&'static str, String)> {
        if self.content_type.is_some() && self.body.is_none() {
            let problem = "found a media type without a body, expected `body` as well";
            return Err(("content_type", problem.to_owned()));
        }
        Ok(Response {
            status: self.status.get(),
            body: self.body.map(|body| body.0),
            content_type: self.content_type.map(|value| value.0),
            headers: self.headers.0,
        })
    }
}

const MAX_BODY: usize = 16 << 10;

#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(inline))]
struct Body(#[cfg_attr(feature = "schema", schemars(length(max = MAX_BODY)))] String);

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = String::deserialize(deserializer)?;
        if body.len() > MAX_BODY {
            // Not as an invalid value: it would be quoted whole.
            return Err(D::Error::custom(format_args!(
                "found {} bytes, expected at most {MAX_BODY}",
                body.len()
            )));
        }
        Ok(Self(body))
    }
}

/// RFC 9110, 5.5, without what is obsolete.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
struct HeaderValue(String);

impl Text for HeaderValue {
    const PATTERN: &'static str = "^[!-~]([\\t -~]*[!-~])?$";

    fn expected() -> String {
        "a header value: printable ASCII, without space at its ends".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let valid = |byte: u8| matches!(byte, b'\t' | b' '..=b'~');
        if text.is_empty() || text.trim_ascii() != text || !text.bytes().all(valid) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(HeaderValue);

#[derive(Debug)]
struct Fields(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Vec<(String, String)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of header names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Vec<(String, String)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let value: HeaderValue = map.next_value()?;
                    let name = field_name(&name).map_err(A::Error::custom)?;
                    if fields.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom(format_args!(
                            "found header {name:?} twice, expected it once"
                        )));
                    }
                    fields.push((name, value.0));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(FieldsVisitor).map(Self)
    }
}

fn field_name(name: &str) -> Result<String, String> {
    let parsed = HeaderName::parse(name)
        .ok()
        .filter(|parsed| !parsed.as_str().starts_with(':'))
        .ok_or_else(|| {
            format!("found header {name:?}, expected a header name such as \"x-reason\"")
        })?;
    match parsed.as_str() {
        "content-type" => Err(
            "found header \"content-type\", expected the field `content_type` instead".to_owned(),
        ),
        lower if FRAMING.contains(&lower) => Err(format!(
            "found header {name:?}, expected none that frames the message"
        )),
        "retry-after" | "ratelimit" | "ratelimit-policy" => Err(own(name)),
        lower if lower.starts_with("x-ratelimit-") => Err(own(name)),
        lower => Ok(lower.to_owned()),
    }
}

fn own(name: &str) -> String {
    format!("found header {name:?}, expected none that the filter writes itself")
}

#[cfg(feature = "schema")]
impl serde::Serialize for Fields {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Fields {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderFields".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let value = generator.subschema_for::<HeaderValue>();
        schemars::json_schema!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" },
            "additionalProperties": value
        })
    }
}
