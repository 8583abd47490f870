//! The policy of the shard-route filter, ready to decide with.
//!
//! [`json`] and [`tables`] say how it is written, [`compile`] checks what no single field can know.

mod compile;
mod fill;
pub mod json;
mod map;
mod percent;
mod refresh;
mod remember;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use crate::gcra::{PS_PER_US, Ps};
use crate::policy::PolicyError;
use crate::policy::redis::Secret;
use crate::selector::{ClientIp, Key, Matcher, Reason, Request};
use crate::shard::sticky::Cookies;
use crate::shard::{Directory, Normal, Pointer};

pub use fill::{Cap, Queueing};
pub use percent::Percent;
pub use refresh::Source;

/// A checked policy.
#[derive(Debug, Clone)]
pub struct ShardRoute {
    pub headers: OutputHeaders,
    /// In the order they are written.
    pub tables: Vec<TableRules>,
    /// At least one, at most [`json::MAX_ROUTES`]; names differ.
    pub routes: Vec<Route>,
    pub client_ip: ClientIp,
    pub clear_route_cache: bool,
    pub log_property: Option<String>,
    /// None: the tables stay as they are.
    pub refresh: Option<Source>,
}

/// A table, and how its caps are kept.
#[derive(Debug, Clone)]
pub struct TableRules {
    pub directory: Directory,
    pub cap: Option<Cap>,
    /// What is to be remembered of a write, by whichever route. Empty before [`ShardRoute::bind`].
    pub remember: Arc<[Arc<Sticky>]>,
}

/// Names of headers, lower case; they differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputHeaders {
    pub shard: String,
    pub role: String,
    pub zone: String,
    pub dual_write: String,
}

impl OutputHeaders {
    #[must_use]
    pub fn names(&self) -> [&str; 4] {
        [&self.shard, &self.role, &self.zone, &self.dual_write]
    }
}

/// Which requests go by which table.
#[derive(Debug, Clone)]
pub struct Route {
    pub name: String,
    pub matcher: Matcher,
    /// None sets a zone only.
    pub target: Option<Target>,
    pub zone: Zone,
}

/// How a route finds the shard.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its place among the tables.
    pub table: usize,
    /// At least one of key and body is there.
    pub key: Option<Key>,
    pub body: Option<Body>,
    pub normalise: Vec<Normal>,
    pub on_missing: Fallback,
    pub on_invalid: Fallback,
    /// Says which methods, always.
    pub reads: Matcher,
    pub role: Option<RoleRule>,
}

/// Where the key is in a body.
#[derive(Debug, Clone)]
pub struct Body {
    pub pointer: Pointer,
    pub max: usize,
    pub wait: Ps,
}

/// What happens to a request without a good key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    Reject,
    Spread,
    /// A shard's name, which the table has.
    Shard(String),
}

/// Which copy of a shard serves.
#[derive(Debug, Clone)]
pub enum RoleRule {
    Primary,
    Replica,
    Split {
        /// Lower case.
        force_primary: Option<String>,
        sticky: Option<Arc<Sticky>>,
    },
}

/// How long reads go to the primary after a write.
#[derive(Debug, Clone)]
pub struct Sticky {
    pub window: Ps,
    pub by: By,
}

/// How it is known that a key was written.
#[derive(Debug, Clone)]
pub enum By {
    SharedData,
    Cookie {
        name: String,
        secret: Secret,
        /// None before [`ShardRoute::bind`].
        cookies: Option<Box<Cookies>>,
    },
}

/// Which zone serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zone {
    Shard,
    Fixed(String),
    Environment {
        variable: String,
        /// None before [`ShardRoute::bind`].
        value: Option<String>,
    },
    Header {
        /// Lower case.
        name: String,
        zones: Vec<(String, String)>,
        default: Option<String>,
    },
}

/// A key, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Key(Vec<u8>),
    /// It may be in the body.
    InBody,
    Missing,
    Invalid,
}

impl ShardRoute {
    /// Reads and checks a policy.
    ///
    /// # Errors
    /// The first mistake, with its path.
    pub fn load(json: &[u8]) -> Result<Self, PolicyError> {
        compile::policy(super::load(json)?)
    }

    /// The policy with other tables in the place of its own.
    ///
    /// # Errors
    /// The first mistake, with its path: the routes' tables and shards have to be there.
    pub fn load_with(json: &[u8], tables: &[u8]) -> Result<Self, PolicyError> {
        let mut policy: json::PolicyJson = super::load(json)?;
        let json::TablesJson { tables } = super::load(tables).map_err(as_document)?;
        policy.tables = tables;
        compile::policy(policy)
    }

    /// The first route that the request matches, and its number. `None`: the request is none of this filter's business.
    #[must_use]
    pub fn route(&self, request: &impl Request) -> Option<(usize, &Route)> {
        let mut routes = self.routes.iter().enumerate();
        routes.find(|(_, route)| route.matcher.matches(request))
    }

    /// Takes in what the VM's environment has: secrets and the gateway's own zone.
    ///
    /// # Errors
    /// When a variable that the policy names is not set, or holds too short a secret.
    pub fn bind(&mut self, environment: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        for (index, route) in self.routes.iter_mut().enumerate() {
            route
                .bind(&environment)
                .map_err(|(field, problem)| format!("routes[{index}].{field}: {problem}"))?;
        }
        remember::gather(self);
        Ok(())
    }

    /// Whether any request may have to wait for a turn.
    #[must_use]
    pub fn queues(&self) -> bool {
        self.tables
            .iter()
            .any(|table| table.cap.is_some_and(|cap| cap.queue.is_some()))
    }

    /// Whether any key may be in a body.
    #[must_use]
    pub fn reads_bodies(&self) -> bool {
        let mut targets = self.routes.iter().filter_map(|route| route.target.as_ref());
        targets.any(|target| target.body.is_some())
    }
}

impl Route {
    fn bind(
        &mut self,
        environment: &impl Fn(&str) -> Option<String>,
    ) -> Result<(), (&'static str, String)> {
        let unset = |name: &str| {
            format!("found no variable {name} in the VM's environment, expected it to be set there")
        };
        if let Zone::Environment { variable, value } = &mut self.zone {
            let zone = environment(variable).filter(|zone| !zone.is_empty());
            let zone = zone.ok_or_else(|| ("zone.environment", unset(variable)))?;
            if zone.bytes().any(|byte| !byte.is_ascii_graphic()) {
                let problem = format!("found {zone:?} in {variable}, expected the name of a zone");
                return Err(("zone.environment", problem));
            }
            *value = Some(zone);
        }
        let role = self.target.as_mut().and_then(|target| target.role.as_mut());
        let Some(RoleRule::Split {
            sticky: Some(sticky),
            ..
        }) = role
        else {
            return Ok(());
        };
        let By::Cookie {
            name,
            secret,
            cookies,
        } = &mut Arc::make_mut(sticky).by
        else {
            return Ok(());
        };
        const FIELD: &str = "role.split.sticky.by.cookie.secret";
        let value = secret
            .value(environment)
            .map_err(|problem| (FIELD, problem))?;
        let made = Cookies::new(name, value.as_bytes()).map(Box::new);
        *cookies = Some(made.ok_or_else(|| {
            let least = crate::shard::sticky::MIN_SECRET;
            let problem = format!("found {} bytes, expected at least {least}", value.len());
            (FIELD, problem)
        })?);
        Ok(())
    }
}

impl Target {
    /// The request's key, from its head.
    #[must_use]
    pub fn find(&self, request: &impl Request, client_ip: &ClientIp, ends: bool) -> Found {
        let mut key = Vec::with_capacity(48);
        let found = match &self.key {
            Some(parts) => parts.first(request, client_ip, &mut key).map(|_| ()),
            None => Err(Reason::Absent),
        };
        match found {
            Ok(()) => self.normal(key),
            Err(Reason::Absent) if self.body.is_some() && !ends => Found::InBody,
            Err(Reason::Absent) => Found::Missing,
            Err(_) => Found::Invalid,
        }
    }

    /// The request's key, from its whole body.
    #[must_use]
    pub fn find_in(&self, body: &[u8]) -> Found {
        let pointed = match &self.body {
            // Its head may say that there is none, or its body that it is empty.
            Some(_) if body.is_empty() => Err(Reason::Absent),
            Some(rule) => crate::shard::pointed(body, &rule.pointer),
            None => Err(Reason::Absent),
        };
        match pointed {
            Ok(key) => self.normal(key),
            Err(Reason::Absent) => Found::Missing,
            Err(_) => Found::Invalid,
        }
    }

    /// A key as a client, or an operator, writes it.
    #[must_use]
    pub fn normal(&self, mut key: Vec<u8>) -> Found {
        if Normal::all(&self.normalise, &mut key) {
            Found::Key(key)
        } else {
            Found::Invalid
        }
    }
}

/// A mistake in a published document says what such a one is, if it is none.
fn as_document(error: PolicyError) -> PolicyError {
    if error.path().starts_with("tables") {
        return error;
    }
    let hint = "what is published is a document {\"tables\": {...}}";
    PolicyError::new(error.path(), format!("{} ({hint})", error.problem()))
}

fn ps(duration: Duration) -> Ps {
    duration.as_micros() * PS_PER_US
}

#[cfg(test)]
mod tests;
