//! Whose request it is: a list of parts, joined to one subject.
//!
//! A subject is bytes: for each part in order its length as four bytes (big endian), then its value. So ("a_b", "c")
//! and ("a", "b_c") differ, as do all lists of parts. A value is the bytes the client sent; of a `client_ip` it is the
//! 4 or 16 bytes of the address. An empty value counts as missing.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

use super::part::Part;
use super::{ClientIp, Matcher, Request, Template};
use crate::policy::value::non_empty;

/// A value longer than this many bytes is not one anybody means to count, and is refused ([`Reason::TooLong`]).
pub const MAX_VALUE_BYTES: usize = 4096;

/// A key has at most this many parts.
pub const MAX_KEY_PARTS: usize = 8;

/// Bytes of the length before a value.
pub(super) const LENGTH: usize = 4;

/// A list of parts that together name a client.
#[derive(Debug, Clone)]
pub struct Key {
    parts: Vec<Part>,
    /// What a missing part is taken for.
    default: Option<Vec<u8>>,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts: Vec<Part> = non_empty(deserializer)?;
        if parts.len() > MAX_KEY_PARTS {
            return Err(serde::de::Error::custom(format_args!(
                "found {} parts, expected at most {MAX_KEY_PARTS}",
                parts.len()
            )));
        }
        Ok(Self {
            parts,
            default: None,
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Key {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Key".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let part = generator.subschema_for::<Part>();
        schemars::json_schema!({ "type": "array", "items": part, "minItems": 1, "maxItems": MAX_KEY_PARTS })
    }
}

/// Why a request has no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Which part of the key, counted from 0.
    pub part: usize,
    pub reason: Reason,
}

/// Why a part has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The request does not have it, or has it empty.
    Absent,
    /// The request has several and none may be preferred. The client's own doing: to let such a request pass
    /// uncounted would let every client opt out of its limit.
    Ambiguous,
    /// It has more than [`MAX_VALUE_BYTES`]. The client's own doing as well.
    TooLong,
}

impl Reason {
    /// Whether the request is at fault, and not merely without a key: to be refused, whatever the policy says of
    /// missing keys.
    #[must_use]
    pub fn is_refused(self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Ambiguous => "ambiguous",
            Self::TooLong => "too long",
        })
    }
}

impl Key {
    /// How many parts the key has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// The first part that is this header.
    #[must_use]
    pub fn part_of_header(&self, name: &str) -> Option<usize> {
        self.parts.iter().position(|part| part.is_header(name))
    }

    /// Always false: a key has a part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// A cookie that is there twice makes the key ambiguous, whichever copy would count otherwise.
    pub fn deny_copies(&mut self) {
        self.parts.iter_mut().for_each(Part::deny_copies);
    }

    /// Appends the request's subject to `out`. Where a part is absent, the key's default stands in its place if it
    /// has one.
    ///
    /// # Errors
    /// The first part without a value; `out` is as it was.
    pub fn extract(
        &self,
        request: &impl Request,
        client_ip: &ClientIp,
        out: &mut Vec<u8>,
    ) -> Result<(), Missing> {
        let start = out.len();
        for (index, part) in self.parts.iter().enumerate() {
            let appended = part.append(request, client_ip, out);
            let appended = match (appended, &self.default) {
                (Err(Reason::Absent), Some(default)) => append(out, default),
                (appended, _) => appended,
            };
            if let Err(reason) = appended {
                out.truncate(start);
                return Err(Missing {
                    part: index,
                    reason,
                });
            }
        }
        Ok(())
    }

    /// The value of the first part that the request has, in `out` without anything before it: a key as an application
    /// would write it. Of a `client_ip` it is the address as text. Says which part it is.
    ///
    /// # Errors
    /// [`Reason::Absent`] when the request has none. A part that is ambiguous or too long ends the search: who sends two
    /// copies of one does not get to choose the next.
    pub fn first(
        &self,
        request: &impl Request,
        client_ip: &ClientIp,
        out: &mut Vec<u8>,
    ) -> Result<usize, Reason> {
        for (index, part) in self.parts.iter().enumerate() {
            out.clear();
            if let Part::ClientIp = part {
                if let Some(address) = client_ip.resolve(request) {
                    out.extend_from_slice(address.to_string().as_bytes());
                    return Ok(index);
                }
                continue;
            }
            match part.append(request, client_ip, out) {
                Ok(()) => {
                    out.drain(..LENGTH);
                    return Ok(index);
                }
                Err(Reason::Absent) => {}
                Err(reason) => return Err(reason),
            }
        }
        Err(Reason::Absent)
    }

    /// Gives parts that are absent a value.
    pub(crate) fn set_default(&mut self, value: &str) {
        self.default = Some(value.as_bytes().to_vec());
    }

    /// Ties the parts that name a template variable to the template of the match beside them.
    ///
    /// # Errors
    /// The part and what is wrong with it.
    pub(crate) fn bind(&mut self, matcher: &Matcher) -> Result<(), (usize, String)> {
        for (index, part) in self.parts.iter_mut().enumerate() {
            part.bind(matcher.template())
                .map_err(|problem| (index, problem))?;
        }
        Ok(())
    }

    /// Ties them to this template, whatever they are tied to.
    ///
    /// # Errors
    /// The first variable that the template lacks.
    pub(crate) fn bind_anew(&mut self, template: &Template) -> Result<(), String> {
        self.parts
            .iter_mut()
            .try_for_each(|part| part.bind_anew(template))
    }

    /// The first part whose value is no text of the request's head.
    pub(crate) fn part_without_text(&self) -> Option<usize> {
        let without = |part: &Part| matches!(part, Part::ClientIp | Part::Property(_));
        self.parts.iter().position(without)
    }

    /// The subject of a client whose parts have these values, as a policy writes them: text, of a `client_ip` an
    /// address.
    ///
    /// # Errors
    /// The part, if it is one's fault, and what is wrong.
    pub(crate) fn subject_of(
        &self,
        values: &[String],
        client_ip: &ClientIp,
    ) -> Result<Vec<u8>, (Option<usize>, String)> {
        if values.len() != self.parts.len() {
            let (found, expected) = (values.len(), self.parts.len());
            let problem = format!("found {found} values, expected {expected}, one for each part");
            return Err((None, problem));
        }
        let mut out = Vec::new();
        for (index, (part, value)) in self.parts.iter().zip(values).enumerate() {
            part.append_written(value, client_ip, &mut out)
                .map_err(|problem| (Some(index), problem))?;
        }
        Ok(out)
    }
}

/// The subject of parts with these values.
///
/// # Errors
/// Of the first value that no part can have.
pub(crate) fn subject<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, Reason> {
    let mut out = Vec::new();
    for value in values {
        append(&mut out, value)?;
    }
    Ok(out)
}

/// Appends one value with its length before it.
pub(super) fn append(out: &mut Vec<u8>, value: &[u8]) -> Result<(), Reason> {
    if value.is_empty() {
        return Err(Reason::Absent);
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(Reason::TooLong);
    }
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// Appends an address: 4 or 16 bytes.
pub(super) fn append_address(out: &mut Vec<u8>, address: IpAddr) -> Result<(), Reason> {
    match address {
        IpAddr::V4(v4) => append(out, &v4.octets()),
        IpAddr::V6(v6) => append(out, &v6.octets()),
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
