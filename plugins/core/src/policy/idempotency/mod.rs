//! The policy of the idempotency filter, ready to decide with.
//!
//! [`json`] says how it is written, [`compile`] checks what no single field can know. How exchanges are run is in
//! [`settings`]; what a request is told apart by is here.

mod at_rest;
mod compile;
mod durability;
pub mod etcd;
pub mod json;
mod redlock;
mod replay;
pub(in crate::policy) mod statuses;

pub use at_rest::AtRest;
pub use etcd::Etcd;

use crate::idempotency::scope::Scope;
use crate::idempotency::scripts::Keys;
use crate::idempotency::settings;
use crate::policy::PolicyError;
use crate::policy::redis::Redis;
use crate::redis::durability::Durability;
use crate::selector::{ClientIp, Key, Matcher, Request};

/// A checked policy.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// At least one, at most [`json::MAX_ROUTES`]; names differ. In the order of the settings' routes.
    pub routes: Vec<Route>,
    pub client_ip: ClientIp,
    pub records: Records,
    /// 1 to 256.
    pub partitions: u16,
    /// Lower case.
    pub fence_header: String,
    pub at_rest: AtRest,
    pub commit_order: settings::CommitOrder,
    /// Exchanges that one worker may have open at once.
    pub max_open: usize,
    /// Bytes of answers that one worker may hold at once.
    pub max_held: usize,
    /// What one worker remembers.
    pub memory: settings::Memory,
    /// Bytes of one body that the gateway buffers.
    pub gateway_buffer: usize,
}

/// Where the records are.
#[derive(Debug, Clone)]
pub enum Records {
    Redis(Voters),
    Etcd(Etcd),
}

/// One Redis, or several that vote.
#[derive(Debug, Clone)]
pub struct Voters {
    pub redis: Redis,
    pub durability: Option<Durability>,
    /// The clusters of those that vote besides the first: none, or an even number.
    pub others: Vec<String>,
}

impl Voters {
    /// The gateway's clusters that lead to a Redis with records: one, or an odd number of those that vote.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        let others = self.others.iter().map(String::as_str);
        std::iter::once(self.redis.cluster_name.as_str()).chain(others)
    }
}

/// Requests whose keys are kept, and how.
#[derive(Debug, Clone)]
pub struct Route {
    /// Says which methods, always.
    pub matcher: Matcher,
    /// Whose keys they are. A default for missing parts is in it already: a part that is missing all the same refuses
    /// the request.
    pub scope: Key,
    /// The request header with the key, lower case.
    pub key_header: String,
    pub settings: settings::Route,
}

impl Idempotency {
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

    /// The identity of a record by what it belongs to: a route's name, a value for each part of its scope as
    /// [`Key`] writes them (text; of a `client_ip` an address), and the client's key.
    ///
    /// # Errors
    /// When there is no such route, or the values are not those of its scope.
    pub fn scope(&self, route: &str, values: &[String], key: &str) -> Result<Scope, String> {
        let mut routes = self.routes.iter();
        let Some(found) = routes.find(|candidate| candidate.settings.name == route) else {
            return Err(format!(
                "found route {route:?}, expected one of the policy's"
            ));
        };
        let subject = found.scope.subject_of(values, &self.client_ip).map_err(
            |(part, problem)| match part {
                Some(part) => format!("scope[{part}]: {problem}"),
                None => format!("scope: {problem}"),
            },
        )?;
        Ok(Scope::new(&subject, route, key.as_bytes()))
    }

    /// Where the records live.
    #[must_use]
    pub fn keys(&self) -> Keys {
        let prefix = match &self.records {
            Records::Redis(voters) => &voters.redis.key_prefix,
            Records::Etcd(etcd) => &etcd.key_prefix,
        };
        Keys {
            prefix: prefix.clone(),
            partitions: self.partitions,
        }
    }

    /// The Redis with the records, or the first of several.
    #[must_use]
    pub fn redis(&self) -> Option<&Redis> {
        match &self.records {
            Records::Redis(voters) => Some(&voters.redis),
            Records::Etcd(_) => None,
        }
    }

    /// How one worker is run. `environment` gives the VM's variables, which hold the keys and may hold the credentials.
    ///
    /// # Errors
    /// When a variable that the policy names is not set, or holds no key.
    pub fn settings(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<settings::Settings, String> {
        let routes = self.routes.iter().map(|route| route.settings.clone());
        let (timeout, breaker, store) = match &self.records {
            Records::Redis(Voters {
                redis, durability, ..
            }) => {
                let store = settings::Store::Redis(settings::Redis {
                    login: redis.login(&environment)?,
                    limits: redis.limits(),
                    durability: *durability,
                });
                (redis.timeout(), redis.breaker(), store)
            }
            Records::Etcd(etcd) => {
                let store = settings::Store::Etcd(etcd.settings(&environment)?);
                (etcd.timeout(), etcd.breaker.settings(), store)
            }
        };
        Ok(settings::Settings {
            routes: routes.collect(),
            key_prefix: self.keys().prefix,
            timeout,
            breaker,
            store,
            at_rest: self.at_rest.settings(&environment)?,
            partitions: self.partitions,
            fence_header: Some(self.fence_header.clone()),
            commit_order: self.commit_order,
            max_open: self.max_open,
            max_held: self.max_held,
            memory: self.memory,
            gateway_buffer: self.gateway_buffer,
        })
    }
}

#[cfg(test)]
mod tests;
