//! Which requests may be answered with what another request got.

use super::directives::Request as Directives;
use super::{Millis, Rule};
use crate::headers::Headers;
use crate::selector::uri;

/// What may be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It goes upstream alone.
    Bypass(Bypass),
    /// It goes upstream alone, and its success invalidates what is stored: see [`super::invalidated_by`].
    Unsafe,
    /// It may be answered from the store, and may share a flight.
    Lookup(Lookup),
}

/// Why a request goes upstream alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    /// Safe, but neither GET nor HEAD.
    Method,
    Body,
    Upgrade,
    /// `If-Range`: only the origin can tell.
    Range,
    /// `If-Match` or `If-Unmodified-Since`: only the origin can tell.
    Precondition,
    NoStore,
    Authorization,
    Cookie,
}

impl Bypass {
    /// For the `detail` of Cache-Status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Body => "body",
            Self::Upgrade => "upgrade",
            Self::Range => "range",
            Self::Precondition => "precondition",
            Self::NoStore => "no-store",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
        }
    }
}

/// Which flights a request may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    Any,
    /// One that began after the request came.
    Newer,
    None,
}

/// What a request that may be looked up asks for. One with `Range` may get a [`super::part`] of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// A stored answer may be served without asking the origin.
    pub stored: bool,
    pub join: Join,
    /// It may lead a flight. One that may not, and finds nothing, goes upstream alone.
    pub leads: bool,
    /// Without a stored answer it gets 504.
    pub only_if_cached: bool,
    /// HEAD: it gets the answer of a GET without its body.
    pub head: bool,
    /// It has `Authorization`.
    pub authorized: bool,
    /// The most that an answer's age may be.
    pub max_age: Option<Millis>,
    /// The least for which an answer must stay fresh.
    pub min_fresh: Option<Millis>,
    /// How stale an answer may be.
    pub max_stale: Option<Millis>,
}

/// What may be done with a request. `ends` says whether its head is all of it.
#[must_use]
pub fn admission(request: &Headers, rule: &Rule, ends: bool) -> Admission {
    let method = request.first(":method").unwrap_or_default();
    if super::is_unsafe(method) {
        return Admission::Unsafe;
    }
    match bypass(request, method, rule, ends) {
        Some(reason) => Admission::Bypass(reason),
        None => lookup(request, method == b"HEAD", rule),
    }
}

fn bypass(request: &Headers, method: &[u8], rule: &Rule, ends: bool) -> Option<Bypass> {
    let has = |name| request.first(name).is_some();
    if method != b"GET" && method != b"HEAD" {
        return Some(Bypass::Method);
    }
    let length = request.first("content-length").unwrap_or(b"0");
    if !ends || has("transfer-encoding") || length != b"0" {
        return Some(Bypass::Body);
    }
    let upgrades = |line: &[u8]| {
        super::directives::members(line).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
    };
    if has("upgrade") || has(":protocol") || request.all("connection").any(upgrades) {
        return Some(Bypass::Upgrade);
    }
    if has("if-range") {
        return Some(Bypass::Range);
    }
    if has("if-match") || has("if-unmodified-since") {
        return Some(Bypass::Precondition);
    }
    if Directives::parse(request.all("cache-control")).no_store {
        return Some(Bypass::NoStore);
    }
    if has("authorization") && !rule.authorization {
        return Some(Bypass::Authorization);
    }
    if !cookies_change_nothing(request, rule) {
        return Some(Bypass::Cookie);
    }
    None
}

/// Whether every cookie is one that the policy knows to change nothing. A line that holds no cookie at all is nothing
/// known.
fn cookies_change_nothing(request: &Headers, rule: &Rule) -> bool {
    let pairs = request
        .all("cookie")
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .filter(|pair| !pair.trim_ascii().is_empty())
        .count();
    let known = uri::cookies(request)
        .filter(|(name, _)| rule.cookies.iter().any(|known| known.as_bytes() == *name))
        .count();
    pairs == known
}

fn lookup(request: &Headers, head: bool, rule: &Rule) -> Admission {
    let mut client = Directives::parse(request.all("cache-control"));
    if request.first("cache-control").is_none() {
        let pragma = Directives::parse(request.all("pragma"));
        client.no_cache = pragma.no_cache;
    }
    if rule.ignore_client {
        client = Directives::default();
    }
    // A part is cut out of what is stored; whoever needs it from the origin asks alone.
    let range = request.first("range").is_some();
    let newest = client.no_cache || client.max_age == Some(0);
    Admission::Lookup(Lookup {
        stored: !newest,
        join: if client.only_if_cached || range {
            Join::None
        } else if newest {
            Join::Newer
        } else {
            Join::Any
        },
        leads: !head && !client.only_if_cached && !range,
        only_if_cached: client.only_if_cached,
        head,
        authorized: request.first("authorization").is_some(),
        max_age: client.max_age.filter(|_| !newest),
        min_fresh: client.min_fresh,
        max_stale: client.max_stale,
    })
}
