//! The policy of the coalescing filter, ready to decide with.
//!
//! [`json`] and [`route`] say how it is written, [`compile`] checks what no single field can know. What HTTP allows of an
//! answer is in [`cache::Rule`]; which requests, whose, and how flights are run is here.

mod compile;
mod flight;
mod guard;
pub mod json;
mod route;

pub use guard::{Guard, Learn};

use crate::cache::{self, Identity, Millis};
use crate::headers::Headers;
use crate::policy::PolicyError;
use crate::policy::redis::{Redis, Secret};
use crate::selector::{ClientIp, Key, Matcher, Request};

/// A checked policy.
#[derive(Debug, Clone)]
pub struct Coalesce {
    /// At least one, at most [`json::MAX_ROUTES`]; names differ.
    pub routes: Vec<Route>,
    pub client_ip: ClientIp,
    pub store: Store,
    /// The requests of one worker that may wait at once.
    pub max_waiting: usize,
    pub purge: Option<Purge>,
    /// What this cache calls itself in Cache-Status: a token. `None`: the field is not written.
    pub cache_status: Option<String>,
    /// If there are guards, or routes with a [`Flight::fleet`].
    pub redis: Option<Redis>,
    /// Names differ.
    pub guards: Vec<Guard>,
}

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store {
    /// Bytes that all workers of a gateway share.
    pub shared: usize,
    /// Bytes of the copies that each worker keeps for itself.
    pub worker: usize,
}

/// How stored answers are forgotten on demand.
#[derive(Debug, Clone)]
pub struct Purge {
    /// The path of requests that purge.
    pub path: String,
    /// What they must know.
    pub token: Secret,
}

/// Requests that share answers, and how.
#[derive(Debug, Clone)]
pub struct Route {
    pub name: String,
    pub matcher: Matcher,
    /// Whose answers they are; `None`: everybody's.
    pub key: Option<Key>,
    pub rule: cache::Rule,
    pub flight: Flight,
    /// How much of a lifetime chance may cut off, in percent.
    pub jitter: u8,
    /// XFetch's beta; 0: no early refresh.
    pub early_refresh: f64,
    /// Where answers are fetched without a client. `None`: the next request fetches them.
    pub refresh: Option<Refresh>,
    /// How long requests do not wait for each other after an answer that is not shared.
    pub hit_for_miss: Millis,
    /// Stored answers of one URI and identity.
    pub max_variants: usize,
}

/// How one flight is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// How long a request waits; then it goes upstream alone.
    pub wait: Millis,
    /// Requests of one worker that wait for one flight.
    pub max_followers: usize,
    /// An answer with a longer body is not shared.
    pub max_body: usize,
    /// An answer that takes longer is not shared.
    pub max_time: Millis,
    /// After so long without a sign of life from its leader, a flight has another.
    pub lease: Millis,
    pub on_leader_gone: OnLeaderGone,
    /// One request is made for all gateways; an answer with a longer body is not handed over. `None`: one for each.
    pub fleet: Option<usize>,
}

/// What becomes of a flight whose leader's client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLeaderGone {
    /// One of those that wait leads.
    Promote,
    /// It is fetched without a client. Only with [`Route::refresh`].
    Finish,
}

/// Where answers are fetched without a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The gateway's cluster.
    pub cluster: String,
    pub timeout: Millis,
}

impl Coalesce {
    /// Reads and checks a policy.
    ///
    /// # Errors
    /// The first mistake, with its path.
    pub fn load(json: &[u8]) -> Result<Self, PolicyError> {
        compile::policy(super::load(json)?)
    }

    /// The first route that the request matches, and its number. `None`: the request is none of this filter's business.
    #[must_use]
    pub fn route(&self, request: &impl Request) -> Option<(usize, &Route)> {
        let mut routes = self.routes.iter().enumerate();
        routes.find(|(_, route)| route.matcher.matches(request))
    }

    /// The keys that a target (`:path`) at the request's authority has on any route and by either scheme: what is
    /// invalidated there. A request that changes something need not match the route of those that read, nor come in by the
    /// same door.
    #[must_use]
    pub fn uri_keys(&self, request: &Headers, target: &[u8]) -> Vec<Vec<u8>> {
        let authority = request.first(":authority").unwrap_or_default();
        let mut keys = Vec::new();
        for scheme in ["http", "https"] {
            let there = [(":scheme", scheme.as_bytes()), (":authority", authority)];
            let there = Headers::from_pairs(&there);
            for route in &self.routes {
                let key = cache::uri_key(&there, target, &route.rule.query);
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }

    /// What a request that purges must know. `environment` gives the VM's variables, which may hold it.
    ///
    /// # Errors
    /// When the variable that the policy names is not set.
    pub fn purge_token(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, String> {
        match self.purge.as_ref().map(|purge| &purge.token) {
            None => Ok(None),
            Some(Secret::Inline(text)) => Ok(Some(text.clone())),
            Some(Secret::Env(name)) => match environment(name).filter(|text| !text.is_empty()) {
                Some(text) => Ok(Some(text)),
                None => Err(format!(
                    "purge.token: found no variable {name} in the VM's environment, expected it to be set there"
                )),
            },
        }
    }

    /// The longest body that any route stores.
    #[must_use]
    pub fn max_body(&self) -> usize {
        let bodies = self.routes.iter().map(|route| route.flight.max_body);
        bodies.max().unwrap_or(0)
    }
}

impl Route {
    /// Whose answers the request may get. `None`: it does not say, and so goes upstream alone.
    #[must_use]
    pub fn identity(&self, request: &impl Request, client_ip: &ClientIp) -> Option<Identity> {
        let mut identity = Identity::new();
        if let Some(key) = &self.key {
            key.extract(request, client_ip, &mut identity).ok()?;
        }
        Some(identity)
    }
}

#[cfg(test)]
mod tests;
