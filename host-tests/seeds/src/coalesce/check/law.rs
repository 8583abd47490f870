//! Who may get what, as RFC 9111 and the policy's page have it, written anew: nothing here is the filter's.

use crate::coalesce::nature::{Nature, Vary};
use crate::coalesce::policy::Policy;
use crate::coalesce::sent::{Cookie, Directive, Sent};

/// Why a request goes upstream alone, whatever is stored.
#[must_use]
pub fn bypass(policy: &Policy, sent: &Sent) -> Option<&'static str> {
    if !matches!(sent.method, "GET" | "HEAD") {
        return Some("its method");
    }
    if sent.body {
        return Some("a body");
    }
    if sent.directive == Directive::NoStore {
        return Some("no-store");
    }
    if sent.authorization.is_some() && !policy.authorization {
        return Some("authorization");
    }
    if matches!(sent.cookie, Cookie::Session(_)) {
        return Some("a cookie");
    }
    if sent.identity(policy).is_none() {
        return Some("no key");
    }
    None
}

/// What a client says of caching, as far as it counts.
#[must_use]
pub fn directive(policy: &Policy, sent: &Sent) -> Directive {
    match sent.directive {
        Directive::NoStore => Directive::NoStore,
        _ if !policy.honors => Directive::None,
        other => other,
    }
}

/// Whether a request has nothing special: it leads, waits and takes what is stored like any other.
#[must_use]
pub fn is_plain(policy: &Policy, nature: &Nature, sent: &Sent) -> bool {
    sent.method == "GET"
        && bypass(policy, sent).is_none()
        && directive(policy, sent) == Directive::None
        && !sent.range
        && (sent.authorization.is_none() || nature.authorizes())
}

/// How long answers of this nature and status are fresh, in milliseconds; none where nobody says.
#[must_use]
pub fn lifetime(policy: &Policy, nature: &Nature, status: u16) -> Option<u64> {
    let own = nature.lifetime_ms().or_else(|| policy.ttl(status));
    Some(own?.min(policy.max_ttl_ms.unwrap_or(u64::MAX)))
}

/// Why an answer with this status, to a request with `Authorization` or without, may not be kept for anybody else.
#[must_use]
pub fn unshared(
    policy: &Policy,
    nature: &Nature,
    status: u16,
    authorized: bool,
) -> Option<&'static str> {
    if nature.is_for_one() {
        return Some("it is for one client");
    }
    if authorized && !(policy.authorization && nature.authorizes()) {
        return Some("it was made for somebody's authorization");
    }
    if status >= 500 && !(policy.share_server_errors && nature.lifetime_ms().is_some()) {
        return Some("the origin failed");
    }
    if lifetime(policy, nature, status).is_none() && !nature.no_cache {
        return Some("nobody says how long it is fresh");
    }
    None
}

/// Whether an answer of this nature is of use to others when it comes: not where it is too old by then, or has to be
/// confirmed first.
#[must_use]
pub fn is_reusable(policy: &Policy, nature: &Nature, status: u16) -> bool {
    let age = nature.age.unwrap_or(0) * 1_000;
    !nature.no_cache && lifetime(policy, nature, status).is_some_and(|lifetime| lifetime > age)
}

/// Why the answer to one request may not be given to another of the same URI.
#[must_use]
pub fn apart(policy: &Policy, nature: &Nature, one: &Sent, other: &Sent) -> Option<&'static str> {
    if one.identity(policy) != other.identity(policy) {
        return Some("the key differs");
    }
    if one.route != other.route {
        return Some("the route differs");
    }
    if nature.vary == Vary::Language && one.language != other.language {
        return Some("the language differs");
    }
    None
}

/// How long after its lifetime an answer may be served while another is fetched, and when the origin fails, in
/// milliseconds.
#[must_use]
pub fn stale(policy: &Policy, nature: &Nature) -> (u64, u64) {
    if nature.no_stale() {
        return (0, 0);
    }
    let millis = |own: Option<u64>, ours: u64| own.map_or(ours, |seconds| seconds * 1_000);
    (
        millis(
            nature.stale_while_revalidate,
            policy.stale_while_revalidate_ms,
        ),
        millis(nature.stale_if_error, policy.stale_if_error_ms),
    )
}
