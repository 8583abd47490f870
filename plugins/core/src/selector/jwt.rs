//! A claim out of a bearer token. The signature is NOT checked here: put the filter behind the gateway's own JWT check
//! (Envoy `jwt_authn`, Kong `jwt`), or a client writes its own claims.
//!
//! The payload is walked, not stored: of a token with thousands of claims only the one asked for is kept.

use std::fmt;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::key::Reason;
use super::part::Duplicates;
use super::{HeaderName, Request};
use crate::policy::value::{ShortForm, Text, text_value};

/// Some issuers pad, most do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const SCHEME: &[u8] = b"Bearer ";

/// A claim of the JSON Web Token in a header: decoded, NOT verified. Use it behind the gateway's own JWT check. The
/// claim is text, a number or a boolean; anything else, and a token that is none, counts as missing.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"claim\": \"sub\"}"
)]
pub struct JwtClaim {
    /// The claim's name; `realm.tenant` is `tenant` inside `realm`. A JSON pointer (`/https:~1~1example.com~1tenant`)
    /// reaches every name and, by number, into lists.
    claim: ClaimPath,
    /// The header with the token. In `authorization`, `Bearer ` stands before it; in others it may.
    #[serde(default = "authorization")]
    header: HeaderName,
}

fn authorization() -> HeaderName {
    HeaderName::from_static("authorization")
}

impl ShortForm for JwtClaim {
    const PATTERN: &'static str = ClaimPath::PATTERN;
    const EXPECTED: &'static str = "a claim such as \"sub\", or an object such as {\"claim\": \"sub\", \"header\": \"x-token\"}";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self {
            claim: ClaimPath::parse(text)?,
            header: authorization(),
        })
    }
}

impl JwtClaim {
    /// The claim as text.
    pub(super) fn value(&self, request: &impl Request) -> Result<String, Reason> {
        let value = Duplicates::Deny.choose(request.headers().all(self.header.as_str()))?;
        self.claim_of(self.token(value)?).ok_or(Reason::Absent)
    }

    /// The token in a header's value: the one that the gateway's check looks at, or a client would have a valid one checked
    /// and its own claims read. Envoy's takes the first run of a token's characters behind the first `Bearer `, wherever
    /// that stands and only in this spelling.
    fn token<'v>(&self, value: &'v [u8]) -> Result<&'v [u8], Reason> {
        let mut places = value.windows(SCHEME.len());
        let rest = match places.position(|place| place == SCHEME) {
            Some(0) => value.strip_prefix(SCHEME).unwrap_or_default(),
            // No client writes this, unless to have two readers see two tokens.
            Some(_) => return Err(Reason::Ambiguous),
            None if self.header.as_str() == "authorization" => return Err(Reason::Absent),
            None => value,
        };
        let is_in_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.=".contains(byte);
        let mut runs = rest.split(|byte| !is_in_token(byte));
        runs.find(|run| !run.is_empty()).ok_or(Reason::Absent)
    }

    fn claim_of(&self, token: &[u8]) -> Option<String> {
        let mut parts = token.split(|byte| *byte == b'.');
        let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let payload = BASE64.decode(payload).ok()?;
        let mut json = serde_json::Deserializer::from_slice(&payload);
        let claim = Walk(&self.claim.0).deserialize(&mut json).ok()?;
        json.end().ok()?;
        claim
    }
}

/// Names from the outside in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ClaimPath(Vec<String>);

impl Text for ClaimPath {
    const PATTERN: &'static str = r"^(/.*|[^./]+(\.[^.]+)*)$";

    fn expected() -> String {
        "a claim such as \"sub\", \"realm.tenant\" or \"/realm/tenant\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let names: Vec<String> = match text.strip_prefix('/') {
            // RFC 6901.
            Some(pointer) => pointer
                .split('/')
                .map(|name| name.replace("~1", "/").replace("~0", "~"))
                .collect(),
            None => text.split('.').map(str::to_owned).collect(),
        };
        if names.iter().any(String::is_empty) {
            return Err(Self::expected());
        }
        Ok(Self(names))
    }
}
text_value!(ClaimPath);

/// Follows a path into JSON and yields the scalar at its end. Of a name that occurs twice, the last counts, as in most
/// parsers (RFC 7519, 4).
struct Walk<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    fn at_the_end<E>(&self, value: impl fmt::Display) -> Result<Option<String>, E> {
        Ok(self.0.is_empty().then(|| value.to_string()))
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match self.0.split_first() {
                Some((first, rest)) if *first == name => found = map.next_value_seed(Walk(rest))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (index, rest) = match self.0.split_first() {
            Some((first, rest)) => (first.parse::<usize>().ok(), rest),
            None => (None, self.0),
        };
        let mut found = None;
        for at in 0.. {
            if Some(at) == index {
                match seq.next_element_seed(Walk(rest))? {
                    Some(value) => found = value,
                    None => break,
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.at_the_end(text)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        self.at_the_end(value)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.at_the_end(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.at_the_end(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        self.at_the_end(number)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
