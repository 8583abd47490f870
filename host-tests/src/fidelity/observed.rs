//! What can be observed of a scenario, in a form in which two hosts can be compared.
//!
//! Masked are: the headers that a gateway adds by itself ([`MASKED`]), and ports of this machine. Nothing else: if two
//! hosts differ in more, they differ.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::message::{Fields, Message};

/// Headers whose presence is the gateway's own business: they are left out.
pub const MASKED: [&str; 9] = [
    "date",
    "server",
    "x-envoy-upstream-service-time",
    "x-request-id",
    "x-forwarded-proto",
    "x-forwarded-for",
    "x-envoy-internal",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
];

/// Bodies longer than this are told by their length and a few bytes.
const MOST: usize = 400;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Observed {
    /// The configuration was refused: there is no gateway.
    #[serde(skip_serializing_if = "is_false")]
    pub refused: bool,
    /// By the requests' names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, Answer>,
    /// By path and method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origin: Vec<Arrived>,
    /// What the probe logged: `main`, where a filter is tried before any worker has it, and `worker`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub trace: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, u64>,
}

impl Observed {
    /// As it stands in a scenario file.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers are JSON")
    }

    /// The lines in which `other` differs, from the first to the last; none when they are the same.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (mine, theirs) = (self.text(), other.text());
        if mine == theirs {
            return None;
        }
        let (mine, theirs): (Vec<_>, Vec<_>) = (mine.lines().collect(), theirs.lines().collect());
        let most = mine.len().min(theirs.len());
        let start = (0..most).take_while(|at| mine[*at] == theirs[*at]).count();
        let end = (0..most - start)
            .take_while(|at| mine[mine.len() - 1 - at] == theirs[theirs.len() - 1 - at])
            .count();
        let mut told = String::new();
        for (sign, lines) in [("-", &mine), ("+", &theirs)] {
            for line in &lines[start..lines.len() - end] {
                let _ = writeln!(told, "{sign} {line}");
            }
        }
        Some(told)
    }
}

/// What a client got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// 0 when nothing came.
    #[serde(skip_serializing_if = "is_zero")]
    pub status: u16,
    /// Each as `name: value`, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<String>,
    /// The connection closed before the answer was complete.
    #[serde(skip_serializing_if = "is_false")]
    pub cut: bool,
    /// The client did not wait for the end.
    #[serde(skip_serializing_if = "is_false")]
    pub left: bool,
    /// Of a request that was repeated: how often each status came.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<u16, usize>,
}

impl Answer {
    /// What came of a request: of one that was repeated, how often each status came.
    #[must_use]
    pub fn of(mut answers: Vec<Self>) -> Self {
        if answers.len() == 1 {
            return answers.swap_remove(0);
        }
        let mut all = Self::default();
        for answer in answers {
            *all.statuses.entry(answer.status).or_default() += 1;
        }
        all
    }
}

impl From<Message> for Answer {
    fn from(message: Message) -> Self {
        Self {
            status: message.status,
            headers: fields(&message.headers),
            body: body(&message.body),
            trailers: fields(&message.trailers),
            cut: !message.complete,
            ..Self::default()
        }
    }
}

/// A request as it came to the origin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arrived {
    /// Method and path.
    pub request: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<String>,
    /// It ended early.
    #[serde(skip_serializing_if = "is_false")]
    pub cut: bool,
    /// How many the same came one after another.
    #[serde(skip_serializing_if = "is_zero")]
    pub again: u16,
}

/// All requests that came to an origin, by path and method; the same one again is told once.
#[must_use]
pub fn arrived(messages: &[Message]) -> Vec<Arrived> {
    let mut all: Vec<Arrived> = Vec::new();
    let mut messages: Vec<&Message> = messages.iter().collect();
    messages.sort_by_key(|message| (&message.path, &message.method));
    for message in messages {
        let next = Arrived {
            request: format!("{} {}", message.method, message.path),
            headers: fields(&message.headers),
            body: body(&message.body),
            trailers: fields(&message.trailers),
            cut: !message.complete,
            again: 0,
        };
        match all.last_mut() {
            Some(last)
                if (Arrived {
                    again: 0,
                    ..last.clone()
                }) == next =>
            {
                last.again += 1
            }
            _ => all.push(next),
        }
    }
    all
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u16) -> bool {
    *value == 0
}

/// Header fields as they are told, without those that are [`MASKED`].
#[must_use]
pub fn fields(fields: &Fields) -> Vec<String> {
    fields
        .iter()
        .filter(|(name, _)| !MASKED.contains(&name.as_str()))
        .map(|(name, value)| unported(&format!("{name}: {}", escaped(value))))
        .collect()
}

/// A body as it is told.
#[must_use]
pub fn body(bytes: &[u8]) -> String {
    if bytes.len() > MOST {
        return format!("{}... {} bytes", escaped(&bytes[..40]), bytes.len());
    }
    escaped(bytes)
}

/// Bytes in ASCII, all others as `\xNN`.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push('\n'),
            0x20..0x7f => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

/// A line of the trace as it is told: in it the values of [`MASKED`] headers are stars.
#[must_use]
pub fn line(text: &str) -> String {
    let mut text = text.to_owned();
    for name in MASKED {
        for start in [format!("[{name}: \""), format!(", {name}: \"")] {
            if let Some(at) = text.find(&start).map(|at| at + start.len())
                && let Some(length) = text[at..].find('"')
            {
                text.replace_range(at..at + length, "*");
            }
        }
    }
    unported(&text)
}

/// Ports of this machine are chance: `127.0.0.1:*`.
fn unported(text: &str) -> String {
    const HOST: &str = "127.0.0.1:";
    let mut parts = text.split(HOST);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|digit: char| digit.is_ascii_digit());
        let port = if rest.len() < part.len() { "*" } else { "" };
        let _ = write!(out, "{HOST}{port}{rest}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_masked_values_and_ports_are_masked() {
        let text = r#"s1 log: [:path: "/", x-request-id: "8c1", x-a: "127.0.0.1:8080 127.0.0.1:"]"#;
        let told = r#"s1 log: [:path: "/", x-request-id: "*", x-a: "127.0.0.1:* 127.0.0.1:"]"#;
        assert_eq!(line(text), told);
        assert_eq!(
            line(r#"my-date: "1", xdate: "2""#),
            r#"my-date: "1", xdate: "2""#
        );
        let headers = [("date", "today"), ("x-a", "b")]
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(fields(&headers.to_vec()), ["x-a: b"]);
    }

    #[test]
    fn a_difference_names_the_lines_and_nothing_else() {
        let observed = |status| Observed {
            answers: BTreeMap::from([(
                "one".to_owned(),
                Answer {
                    status,
                    ..Answer::default()
                },
            )]),
            ..Observed::default()
        };
        assert_eq!(observed(200).difference(&observed(200)), None);
        let told = observed(200).difference(&observed(503)).unwrap();
        assert_eq!(told, "-       \"status\": 200\n+       \"status\": 503\n");
    }
}
