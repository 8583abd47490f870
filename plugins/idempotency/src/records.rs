//! Where the records of one worker are, and the way there.

use crate::metrics::Metrics;
use crate::ways::Ways;
use bytes::Bytes;
use sluice_core::gcra::Ps;
use sluice_core::idempotency::etcd::{EtcdStore, Reply, Request};
use sluice_core::idempotency::settings::{self, Settings};
use sluice_core::idempotency::store::{Acquired, Claim, Operation, Outcome, Store};
use sluice_core::policy::idempotency::{self as policy, Idempotency};
use sluice_core::redis::trouble::Trouble;
use sluice_host::{callout, clock};

pub enum Records {
    Redis(Ways),
    Etcd { store: EtcdStore, cluster: String },
}

impl Records {
    /// As the policy says; `settings` are its own.
    pub fn new(policy: &Idempotency, settings: &Settings) -> Option<Self> {
        match (&policy.records, &settings.store) {
            (policy::Records::Redis(voters), settings::Store::Redis(redis)) => {
                Some(Self::Redis(Ways::new(voters, settings, redis)))
            }
            (policy::Records::Etcd(named), settings::Store::Etcd(etcd)) => Some(Self::Etcd {
                store: EtcdStore::new(settings, etcd),
                cluster: named.cluster_name.clone(),
            }),
            _ => None,
        }
    }

    /// What metrics call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Redis(_) => "redis",
            Self::Etcd { .. } => "etcd",
        }
    }

    /// What could be sent now, if there is anything.
    pub fn ready(&mut self) -> Option<usize> {
        let ready = match self {
            Self::Redis(ways) => ways.is_ready(),
            Self::Etcd { store, .. } => store.is_ready(),
        };
        ready.then(|| self.gathered())
    }

    /// How much waits that is worth waiting for: requests to etcd go one by one.
    pub fn gathered(&mut self) -> usize {
        match self {
            Self::Redis(ways) => ways.gathered(),
            Self::Etcd { .. } => 0,
        }
    }

    pub fn breaker_is_open(&mut self) -> bool {
        match self {
            Self::Redis(ways) => ways.breaker_is_open(),
            Self::Etcd { store, .. } => store.breaker.is_open(),
        }
    }

    /// Sends what can be sent.
    pub fn send(&mut self, metrics: &mut Metrics, now: Ps) {
        match self {
            Self::Redis(ways) => ways.send(metrics, now),
            Self::Etcd { store, cluster } => {
                let sent = store.send(now, clock::now(), |request| post(cluster, request, now));
                (0..sent).for_each(|_| metrics.batch(1));
            }
        }
    }

    /// A callout has come to its end; in `on_http_call_response` only, with its arguments.
    pub fn replied(&mut self, token: u32, headers: usize, body: usize, now: Ps) {
        match self {
            Self::Redis(ways) => {
                ways.replied(token, callout::reply(headers, body).map(Bytes::from), now);
            }
            Self::Etcd { store, .. } => {
                let response = callout::response(headers, body);
                let reply = response.as_ref().map(|(status, body)| Reply {
                    status: *status,
                    body,
                });
                store.replied(token, reply.map_err(|trouble| *trouble), now);
            }
        }
    }

    /// A message of a stream has come.
    pub fn message(&mut self, token: u32, size: usize, now: Ps) {
        if let Self::Redis(ways) = self {
            ways.message(token, size, now);
        }
    }

    /// A stream has ended.
    pub fn closed(&mut self, token: u32, status: u32, now: Ps) {
        if let Self::Redis(ways) = self {
            ways.closed(token, status, now);
        }
    }

    /// Gives up what should have been answered long ago.
    pub fn tick(&mut self, now: Ps) {
        match self {
            Self::Redis(ways) => ways.tick(now),
            Self::Etcd { store, .. } => {
                for token in store.overdue(now) {
                    store.replied(token, Err(Trouble::Timeout), now);
                }
            }
        }
    }
}

fn post(cluster: &str, request: &Request, now: Ps) -> Result<u32, Trouble> {
    let mut fields = vec![("content-type", "application/json")];
    if let Some(token) = &request.authorization {
        fields.push(("authorization", token));
    }
    let timeout = request.deadline.saturating_sub(now);
    callout::post_to(cluster, request.path, &fields, &request.body, timeout)
}

impl Store for Records {
    fn start(
        &mut self,
        id: u64,
        operation: &Operation,
        deadline: Ps,
        now: Ps,
    ) -> Result<(), Trouble> {
        match self {
            Self::Redis(ways) => ways.stores.start(id, operation, deadline, now),
            Self::Etcd { store, .. } => store.start(id, operation, deadline, now),
        }
    }

    fn known(&mut self, claim: &Claim, now: Ps) -> Option<Acquired> {
        match self {
            Self::Redis(ways) => ways.stores.known(claim, now),
            Self::Etcd { store, .. } => store.known(claim, now),
        }
    }

    fn answered(&mut self) -> Vec<(u64, Result<Outcome, Trouble>)> {
        match self {
            Self::Redis(ways) => ways.stores.answered(),
            Self::Etcd { store, .. } => store.answered(),
        }
    }
}
