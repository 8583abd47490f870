//! What a client is told: response fields, Retry-After, and the body of a denial.
//!
//! `draft` is draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` and `RateLimit`, structured-field lists with
//! one item per limit. `legacy` is the habit before it: `X-RateLimit-*`, about the limit that is nearest to denying.

use super::check::{Reason, Standing};
use crate::gcra::{PS_PER_S, Ps};
use crate::redis::resp::decimal;

/// Which response fields are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Draft,
    Legacy,
    Off,
}

/// A response field: its name and value.
pub type Field = (&'static str, Vec<u8>);

/// The fields for these standings. `name` gives a limit's name by its index.
#[must_use]
pub fn fields<'a>(
    style: Style,
    standings: &[Standing],
    name: impl Fn(usize) -> &'a str,
) -> Vec<Field> {
    if standings.is_empty() {
        return Vec::new();
    }
    match style {
        Style::Off => Vec::new(),
        Style::Draft => draft(standings, name),
        Style::Legacy => legacy(standings),
    }
}

fn draft<'a>(standings: &[Standing], name: impl Fn(usize) -> &'a str) -> Vec<Field> {
    let mut policy = Vec::with_capacity(standings.len() * 40);
    let mut state = Vec::with_capacity(standings.len() * 40);
    for standing in standings {
        for list in [&mut policy, &mut state] {
            if !list.is_empty() {
                list.extend_from_slice(b", ");
            }
            // A limit's name has only characters that need no escape in a structured-field string.
            list.push(b'"');
            list.extend_from_slice(name(standing.rule).as_bytes());
            list.push(b'"');
        }
        parameter(&mut policy, b";q=", standing.allowance.tokens);
        parameter(&mut policy, b";w=", standing.allowance.seconds);
        parameter(&mut state, b";r=", standing.remaining());
        if let Some(wait) = standing.allowance.quota.until_next(standing.backlog) {
            parameter(&mut state, b";t=", seconds(wait));
        }
    }
    vec![("ratelimit-policy", policy), ("ratelimit", state)]
}

fn legacy(standings: &[Standing]) -> Vec<Field> {
    let nearest = standings
        .iter()
        .min_by_key(|standing| (standing.remaining(), std::cmp::Reverse(standing.backlog)));
    nearest.map_or(Vec::new(), |standing| {
        vec![
            ("x-ratelimit-limit", number(standing.allowance.tokens)),
            ("x-ratelimit-remaining", number(standing.remaining())),
            ("x-ratelimit-reset", number(seconds(standing.backlog))),
        ]
    })
}

impl Standing {
    /// Tokens left. Structured-field integers have 15 digits at most; a burst has fewer.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.allowance.quota.remaining(self.backlog)
    }
}

/// The answer to a denied request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub status: u16,
    pub body: Vec<u8>,
    content_type: String,
    fields: Vec<(String, String)>,
}

impl Denial {
    /// A problem+json answer by the limit `name`.
    #[must_use]
    pub fn new(reason: Reason, status: u16, name: &str, fields: Vec<Field>, jitter: Ps) -> Self {
        let mut fields: Vec<(String, String)> = fields
            .into_iter()
            .map(|(name, value)| {
                (
                    name.to_owned(),
                    String::from_utf8_lossy(&value).into_owned(),
                )
            })
            .collect();
        if let Some(after) = retry_after(reason, jitter) {
            fields.push(("retry-after".to_owned(), after.to_string()));
        }
        Self {
            status,
            body: problem(reason, status, name),
            content_type: "application/problem+json".to_owned(),
            fields,
        }
    }

    /// Replaces the body.
    pub fn set_body(&mut self, body: &str, content_type: Option<&str>) {
        self.body = body.as_bytes().to_vec();
        self.content_type = content_type
            .unwrap_or("text/plain; charset=utf-8")
            .to_owned();
    }

    /// Adds header fields.
    pub fn add(&mut self, fields: &[(String, String)]) {
        self.fields.extend_from_slice(fields);
    }

    /// All header fields.
    #[must_use]
    pub fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = Vec::with_capacity(self.fields.len() + 1);
        headers.push(("content-type", self.content_type.as_str()));
        for (name, value) in &self.fields {
            headers.push((name.as_str(), value.as_str()));
        }
        headers
    }
}

/// The status of a denial; `exceeded` is what the policy says for requests over a limit.
#[must_use]
pub fn status(reason: Reason, exceeded: u16) -> u16 {
    match reason {
        Reason::Exceeded { .. } | Reason::Never => exceeded,
        Reason::Override => 403,
        Reason::Key => 400,
        Reason::Unavailable => 503,
    }
}

/// Whole seconds, rounded up: a client that waits as long is not early.
#[must_use]
pub fn seconds(time: Ps) -> u64 {
    u64::try_from(time.div_ceil(PS_PER_S)).unwrap_or(u64::MAX)
}

/// Retry-After in whole seconds, at least 1, with `jitter` added; none when waiting does not help.
#[must_use]
pub fn retry_after(reason: Reason, jitter: Ps) -> Option<u64> {
    match reason {
        Reason::Exceeded { retry } => Some(seconds(retry + jitter).max(1)),
        Reason::Unavailable => Some(seconds(jitter).max(1)),
        Reason::Never | Reason::Override | Reason::Key => None,
    }
}

/// The problem details (RFC 9457) of a denial by the limit `name`.
#[must_use]
pub fn problem(reason: Reason, status: u16, name: &str) -> Vec<u8> {
    let (kind, title) = match reason {
        Reason::Exceeded { .. } => (
            QUOTA_EXCEEDED,
            "Request cannot be satisfied as assigned quota has been exceeded",
        ),
        Reason::Never => (
            QUOTA_EXCEEDED,
            "Request costs more than its quota ever allows at once",
        ),
        Reason::Override => (BLANK, "Requests of this client are not accepted"),
        Reason::Key => (
            BLANK,
            "Request lacks what its rate limit is keyed on, or has it more than once",
        ),
        Reason::Unavailable => (BLANK, "Rate limits cannot be checked at the moment"),
    };
    let mut body = Vec::with_capacity(256);
    body.extend_from_slice(b"{\"type\":\"");
    body.extend_from_slice(kind.as_bytes());
    body.extend_from_slice(b"\",\"title\":\"");
    body.extend_from_slice(title.as_bytes());
    body.extend_from_slice(b"\",\"status\":");
    decimal(&mut body, u64::from(status));
    body.extend_from_slice(b",\"violated-policies\":[\"");
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(b"\"]}");
    body
}

const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const BLANK: &str = "about:blank";

fn parameter(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    decimal(out, value);
}

fn number(value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    decimal(&mut out, value);
    out
}

#[cfg(test)]
mod tests {
    use super::super::check::Allowance;
    use super::*;
    use crate::gcra::Quota;
    use std::time::Duration;

    fn standing(rule: usize, limit: u64, period: u64, backlog_seconds: Ps) -> Standing {
        let period = Duration::from_secs(period);
        let quota = Quota::new(limit, period, limit).unwrap();
        Standing {
            rule,
            allowance: Allowance::new(quota, limit, period),
            backlog: backlog_seconds * PS_PER_S,
        }
    }

    fn text(style: Style, standings: &[Standing]) -> Vec<String> {
        fields(style, standings, |rule| ["burst", "daily"][rule])
            .into_iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8(value).unwrap()))
            .collect()
    }

    #[test]
    fn draft_10_to_the_letter() {
        // 100 a minute with half of it used, and a full 1000 a day.
        let standings = [standing(0, 100, 60, 30), standing(1, 1000, 86_400, 0)];
        assert_eq!(
            text(Style::Draft, &standings),
            [
                "ratelimit-policy: \"burst\";q=100;w=60, \"daily\";q=1000;w=86400",
                "ratelimit: \"burst\";r=50;t=1, \"daily\";r=1000",
            ]
        );
    }

    #[test]
    fn legacy_speaks_of_the_limit_nearest_to_denying() {
        let standings = [standing(1, 1000, 86_400, 0), standing(0, 100, 60, 57)];
        assert_eq!(
            text(Style::Legacy, &standings),
            [
                "x-ratelimit-limit: 100",
                "x-ratelimit-remaining: 5",
                "x-ratelimit-reset: 57"
            ]
        );
        assert!(text(Style::Off, &standings).is_empty());
        assert!(text(Style::Draft, &[]).is_empty());
    }

    #[test]
    fn retry_after_is_an_exact_ceiling_and_at_least_one() {
        let after = |retry, jitter| retry_after(Reason::Exceeded { retry }, jitter);
        assert_eq!(after(2 * PS_PER_S, 0), Some(2));
        assert_eq!(after(2 * PS_PER_S + 1, 0), Some(3));
        assert_eq!(after(1, 0), Some(1));
        assert_eq!(after(1, 2 * PS_PER_S), Some(3));
        assert_eq!(retry_after(Reason::Never, 5), None);
    }

    #[test]
    fn a_problem_is_json_that_names_the_limit() {
        for reason in [
            Reason::Exceeded { retry: 1 },
            Reason::Never,
            Reason::Override,
            Reason::Key,
            Reason::Unavailable,
        ] {
            let body = problem(reason, 429, "per-ip");
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["status"], 429);
            assert_eq!(json["violated-policies"][0], "per-ip");
        }
    }
}
