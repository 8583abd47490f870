//! The one predicate: whether an answer may be given to anybody but the client that asked, now or later.

use super::directives::{Response, Seconds};
use super::terms::Terms;
use super::{Head, Lookup, Millis, Rule, date, fields, targeted, vary};
use crate::headers::Headers;

/// A clock that differs from ours by no more than this is taken for a clock that is not set well, not for an answer
/// that has an age: otherwise an origin some seconds behind would never have anything fresh.
const CLOCK_SKEW: Millis = 10_000;

/// What may be done with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored, and answers those who wait for it, as far as its terms suit them.
    Share(Share),
    /// It is stored, to be revalidated or to stand in for later; those who wait go each for itself.
    Keep(Share, Reason),
    /// It is for the client that asked, and for nobody else.
    Refuse(Reason),
}

/// An answer that may be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// What is stored: fields of a connection, the age and the body's length are left out.
    pub head: Head,
    pub terms: Terms,
    /// The request fields that the answer depends on, sorted; for [`super::secondary_key`].
    pub vary: Vec<String>,
}

/// Why an answer is not shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No final status of HTTP.
    Status,
    /// 206.
    Partial,
    /// 304.
    NotModified,
    NotUnderstood,
    NoStore,
    Private,
    NoCache,
    SetCookie,
    /// `Vary: *`, or more fields than are looked at.
    Vary,
    Authorization,
    /// 5xx: the flight has failed.
    ServerError,
    /// 408, 425 and 429 ask to come again: the flight has failed.
    TryAgain,
    /// An event stream, which never ends.
    EventStream,
    /// Neither the answer nor the policy says how long it is fresh.
    NoFreshness,
    /// No longer fresh when it came.
    Stale,
}

impl Reason {
    /// For the `detail` of Cache-Status, and for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Partial => "partial",
            Self::NotModified => "not-modified",
            Self::NotUnderstood => "not-understood",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::SetCookie => "set-cookie",
            Self::Vary => "vary",
            Self::Authorization => "authorization",
            Self::ServerError => "server-error",
            Self::TryAgain => "try-again",
            Self::EventStream => "event-stream",
            Self::NoFreshness => "no-freshness",
            Self::Stale => "stale",
        }
    }

    /// Whether the next answer is likely to be the same, so that requests should not wait for it (hit-for-miss).
    #[must_use]
    pub fn lasts(self) -> bool {
        !matches!(
            self,
            Self::ServerError | Self::TryAgain | Self::NotModified | Self::Partial
        )
    }
}

/// Judges the answer to a request that was looked up. `requested_at` and `received_at` are when the request was sent
/// upstream and when the answer's head came.
#[must_use]
pub fn judge(
    lookup: &Lookup,
    head: &Head,
    rule: &Rule,
    requested_at: Millis,
    received_at: Millis,
) -> Verdict {
    let verdict = match allowed(lookup, head, rule, requested_at, received_at) {
        Ok(share) => reusable(share),
        Err(reason) => Verdict::Refuse(reason),
    };
    match verdict {
        Verdict::Share(share) => Verdict::Share(share),
        // Whatever else it says, it is a failure: not to be remembered as an answer that is never shared.
        _ if is_server_error(head.status) => Verdict::Refuse(Reason::ServerError),
        _ if matches!(head.status, 408 | 425 | 429) => Verdict::Refuse(Reason::TryAgain),
        other => other,
    }
}

fn allowed(
    lookup: &Lookup,
    head: &Head,
    rule: &Rule,
    requested_at: Millis,
    received_at: Millis,
) -> Result<Share, Reason> {
    let targeted = targeted::directives(&head.fields, &rule.targeted);
    let is_targeted = targeted.is_some();
    let directives = targeted.unwrap_or_else(|| Response::parse(head.fields.all("cache-control")));
    if let Some(reason) = refusal(lookup, head, rule, &directives) {
        return Err(reason);
    }
    let vary = vary::names(&head.fields).ok_or(Reason::Vary)?;
    let lifetime = explicit_lifetime(head, &directives, is_targeted, received_at)
        .or_else(|| rule.ttl(head.status))
        .or(directives.no_cache.then_some(0))
        .ok_or(Reason::NoFreshness)?;
    Ok(Share {
        head: fields::stored(head, &directives.excluded, received_at),
        terms: terms(head, rule, &directives, lifetime, requested_at, received_at),
        vary,
    })
}

/// What an answer that may be stored is good for.
fn reusable(share: Share) -> Verdict {
    let terms = share.terms;
    let reason = if terms.no_cache {
        Reason::NoCache
    } else if terms.age(terms.received_at) >= terms.lifetime {
        Reason::Stale
    } else {
        return Verdict::Share(share);
    };
    if terms.validator || terms.stale_while_revalidate.max(terms.stale_if_error) > 0 {
        Verdict::Keep(share, reason)
    } else {
        Verdict::Refuse(reason)
    }
}

fn refusal(lookup: &Lookup, head: &Head, rule: &Rule, directives: &Response) -> Option<Reason> {
    match head.status {
        206 => return Some(Reason::Partial),
        304 => return Some(Reason::NotModified),
        200..=599 => {}
        _ => return Some(Reason::Status),
    }
    if directives.must_understand && !is_understood(head.status) {
        return Some(Reason::NotUnderstood);
    }
    if directives.no_store && !directives.must_understand {
        return Some(Reason::NoStore);
    }
    if directives.private {
        return Some(Reason::Private);
    }
    if head.fields.first("set-cookie").is_some() {
        return Some(Reason::SetCookie);
    }
    if is_server_error(head.status) && !(rule.server_errors || rule.ttl(head.status).is_some()) {
        return Some(Reason::ServerError);
    }
    if lookup.authorized && !(rule.authorization && allows_authorization(directives)) {
        return Some(Reason::Authorization);
    }
    let event_stream = |value: &[u8]| {
        let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    };
    if head.fields.all("content-type").any(event_stream) {
        return Some(Reason::EventStream);
    }
    None
}

/// RFC 9111, 3.5.
fn allows_authorization(directives: &Response) -> bool {
    directives.public
        || directives.must_revalidate
        || matches!(directives.s_maxage, Seconds::Value(_))
}

/// Statuses whose meaning RFC 9110 gives, so that `must-understand` is kept.
fn is_understood(status: u16) -> bool {
    matches!(status, 200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505)
}

fn is_server_error(status: u16) -> bool {
    status >= 500
}

/// Whether an answer is a failure that a stale answer may stand in for (RFC 5861, 4).
#[must_use]
pub fn is_failure(status: u16) -> bool {
    matches!(status, 500 | 502..=504)
}

/// Whether a body that has come to its end is all of it: a connection that broke may end one too.
#[must_use]
pub fn is_complete(fields: &Headers, body_length: u64) -> bool {
    fields.all("content-length").all(|value| {
        std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
            == Some(body_length)
    })
}

/// How long the answer says that it is fresh (RFC 9111, 4.2.1).
fn explicit_lifetime(
    head: &Head,
    directives: &Response,
    is_targeted: bool,
    received_at: Millis,
) -> Option<Millis> {
    let by_directive = directives
        .s_maxage
        .millis()
        .or_else(|| directives.max_age.millis());
    if by_directive.is_some() || is_targeted {
        return by_directive;
    }
    let mut lines = head.fields.all("expires");
    let first = lines.next()?;
    let date = head.fields.first("date").and_then(date::parse);
    let expires = if lines.all(|line| line == first) {
        date::parse(first)
    } else {
        None
    };
    // An invalid one is in the past (RFC 9111, 5.3).
    Some(
        expires
            .unwrap_or(0)
            .saturating_sub(date.unwrap_or(received_at)),
    )
}

fn terms(
    head: &Head,
    rule: &Rule,
    directives: &Response,
    lifetime: Millis,
    requested_at: Millis,
    received_at: Millis,
) -> Terms {
    let no_stale = directives.must_revalidate
        || directives.proxy_revalidate
        || directives.no_cache
        || directives.s_maxage != Seconds::Absent;
    let stale = |own: Seconds, ours: Millis| {
        if no_stale {
            0
        } else {
            own.millis().unwrap_or(ours)
        }
    };
    Terms {
        received_at,
        initial_age: initial_age(&head.fields, requested_at, received_at),
        lifetime: lifetime.min(rule.max_ttl.unwrap_or(Millis::MAX)),
        stale_while_revalidate: stale(
            directives.stale_while_revalidate,
            rule.stale_while_revalidate,
        ),
        stale_if_error: stale(directives.stale_if_error, rule.stale_if_error),
        no_cache: directives.no_cache,
        no_stale,
        authorized: allows_authorization(directives),
        validator: head.fields.first("etag").is_some()
            || head.fields.first("last-modified").is_some(),
    }
}

/// How old the answer was when it came (RFC 9111, 4.2.3). The time that it took counts only when a cache answered: an
/// origin made it for this request.
fn initial_age(fields: &Headers, requested_at: Millis, received_at: Millis) -> Millis {
    let apparent = fields
        .first("date")
        .and_then(date::parse)
        .map(|date| received_at.saturating_sub(date))
        .filter(|age| *age > CLOCK_SKEW)
        .unwrap_or(0);
    let told = age_field(fields)
        .map(|age| (age * 1_000).saturating_add(received_at.saturating_sub(requested_at)));
    apparent.max(told.unwrap_or(0))
}

/// The Age field in seconds: the first of several, nothing when it is no number (RFC 9111, 5.1).
fn age_field(fields: &Headers) -> Option<u64> {
    let line = fields.first("age")?;
    let first = line.split(|byte| matches!(byte, b',' | b';')).next()?;
    match super::directives::seconds(first.trim_ascii()) {
        Seconds::Value(seconds) if !first.contains(&b'"') => Some(seconds),
        _ => None,
    }
}
