//! One request of a client.

use super::nature::LANGUAGE;
use super::policy::{COOKIE, NOBODY, PURGE, Policy, ROUTES, USER_HEADER};
use fastrand::Rng;
use sluice_emulator::{Client, Request};
use std::fmt;
use std::time::Duration;

/// Cookies of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    None,
    /// Only what changes nothing.
    Known,
    /// A session of this user's.
    Session(u8),
}

/// What a client says of caching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    None,
    NoCache,
    MaxAge(u64),
    MinFresh(u64),
    MaxStale(u64),
    NoStore,
    OnlyIfCached,
}

/// A request, and when it is sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The gateway that it is sent to.
    pub gateway: usize,
    pub at: Duration,
    pub method: &'static str,
    pub route: usize,
    pub key: usize,
    pub query: &'static str,
    /// The user of its `Authorization`.
    pub authorization: Option<u8>,
    pub cookie: Cookie,
    /// The user of its own header.
    pub user: Option<u8>,
    pub language: Option<&'static str>,
    pub directive: Directive,
    pub range: bool,
    /// It has the answer of this version.
    pub condition: Option<usize>,
    /// It has a body.
    pub body: bool,
    pub client: Client,
}

/// The method of a request that has what is stored forgotten: this one's URI, or everything.
pub const PURGES: [&str; 2] = ["PURGE", "PURGE-ALL"];

impl Sent {
    pub(super) fn plain(rng: &mut Rng, keys: usize) -> Self {
        let route = usize::from(rng.u8(..5) == 0);
        Self {
            gateway: 0,
            at: Duration::ZERO,
            method: "GET",
            route,
            key: rng.usize(..keys),
            query: "",
            authorization: None,
            cookie: Cookie::None,
            user: (route == 1).then_some(1),
            language: None,
            directive: Directive::None,
            range: false,
            condition: None,
            body: false,
            client: Client::Patient,
        }
    }

    /// Makes it another one in some way.
    pub(super) fn vary(&mut self, rng: &mut Rng) {
        match rng.u8(..14) {
            0..=1 => self.authorization = Some(rng.u8(1..=2)),
            2 => {
                self.cookie =
                    [Cookie::Known, Cookie::Session(1), Cookie::Session(2)][rng.usize(..3)];
            }
            3 => self.user = [None, Some(1), Some(2)][rng.usize(..3)],
            4..=6 => self.language = [None, Some("en"), Some("de")][rng.usize(..3)],
            7..=8 => {
                self.directive = [
                    Directive::NoCache,
                    Directive::MaxAge(0),
                    Directive::MaxAge(1),
                    Directive::MinFresh(1),
                    Directive::MaxStale(2),
                    Directive::NoStore,
                    Directive::OnlyIfCached,
                ][rng.usize(..7)];
            }
            9 => self.range = true,
            10 => self.condition = Some(rng.usize(..2)),
            11 => self.query = ["?q=1", "?utm=1"][rng.usize(..2)],
            12 => self.method = "HEAD",
            _ => self.body = true,
        }
    }

    /// Makes it one that changes something, or has something forgotten.
    pub(super) fn change(&mut self, rng: &mut Rng) {
        self.method = ["POST", "PUT", "DELETE", "OPTIONS", PURGES[0], PURGES[1]][rng.usize(..6)];
    }

    /// The same thing asked for without anything special.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self {
            method: "GET",
            authorization: None,
            cookie: Cookie::None,
            directive: Directive::None,
            range: false,
            condition: None,
            body: false,
            client: Client::Patient,
            ..self.clone()
        }
    }

    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/{}{}", ROUTES[self.route], self.key, self.query)
    }

    /// Its path as the policy compares it.
    #[must_use]
    pub fn uri(&self, policy: &Policy) -> String {
        let path = self.path();
        match path.strip_suffix("?utm=1") {
            Some(rest) if policy.drops => rest.to_owned(),
            _ => path,
        }
    }

    #[must_use]
    pub fn is_purge(&self) -> bool {
        PURGES.contains(&self.method)
    }

    /// Whether it may change something.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        matches!(self.method, "POST" | "PUT" | "DELETE")
    }

    /// Whose answers it may get, as far as the key says. None: it does not say.
    #[must_use]
    pub fn identity(&self, policy: &Policy) -> Option<String> {
        match (self.route, self.user) {
            (0, _) => Some(String::new()),
            (_, Some(user)) => Some(format!("u{user}")),
            (_, None) => policy.defaults.then(|| NOBODY.to_owned()),
        }
    }

    /// As the client sends it.
    #[must_use]
    pub fn request(&self) -> Request {
        if self.is_purge() {
            let what = match self.method == PURGES[0] {
                true => self.path(),
                false => "*".to_owned(),
            };
            return Request::new("POST", PURGE.0)
                .header("authorization", format!("Bearer {}", PURGE.1))
                .header("sluice-purge", what);
        }
        let mut request = Request::new(self.method, &self.path());
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                request.headers.add(name, value);
            }
        };
        set(
            "authorization",
            self.authorization.map(|user| format!("Bearer u{user}")),
        );
        set(
            "cookie",
            match self.cookie {
                Cookie::None => None,
                Cookie::Known => Some(format!("{COOKIE}=1")),
                Cookie::Session(user) => Some(format!("{COOKIE}=1; session=u{user}")),
            },
        );
        set(USER_HEADER, self.user.map(|user| format!("u{user}")));
        set(LANGUAGE, self.language.map(str::to_owned));
        set("cache-control", self.directive.text());
        set("range", self.range.then(|| "bytes=0-3".to_owned()));
        set(
            "if-none-match",
            self.condition
                .map(|version| super::origin::tag(&self.path(), version, self.language)),
        );
        match self.body {
            true => request.piece("body"),
            false => request,
        }
    }
}

impl Directive {
    fn text(self) -> Option<String> {
        Some(match self {
            Self::None => return None,
            Self::NoCache => "no-cache".to_owned(),
            Self::MaxAge(seconds) => format!("max-age={seconds}"),
            Self::MinFresh(seconds) => format!("min-fresh={seconds}"),
            Self::MaxStale(seconds) => format!("max-stale={seconds}"),
            Self::NoStore => "no-store".to_owned(),
            Self::OnlyIfCached => "only-if-cached".to_owned(),
        })
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, method, path) = (self.at, self.method, self.path());
        write!(f, "{at:?} g{} {method} {path}", self.gateway)?;
        if let Some(user) = self.authorization {
            write!(f, " authorization u{user}")?;
        }
        if self.cookie != Cookie::None {
            write!(f, " {:?}", self.cookie)?;
        }
        if let Some(user) = self.user {
            write!(f, " user u{user}")?;
        }
        if let Some(language) = self.language {
            write!(f, " {language}")?;
        }
        if self.directive != Directive::None {
            write!(f, " {:?}", self.directive)?;
        }
        if self.range || self.body || self.condition.is_some() {
            write!(
                f,
                " range {} body {} condition {:?}",
                self.range, self.body, self.condition
            )?;
        }
        match self.client {
            Client::LeavesAfter(patience) => write!(f, " leaves after {patience:?}"),
            _ => Ok(()),
        }
    }
}
