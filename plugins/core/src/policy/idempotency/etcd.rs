//! How a policy says that the records are in etcd.

use std::time::Duration;

use serde::Deserialize;

use crate::gcra::Ps;
use crate::idempotency::etcd::Login;
use crate::idempotency::settings;
use crate::policy::redis::json::{BreakerJson, ClusterName, KeyPrefix};
use crate::policy::redis::{Breaker, Secret, picoseconds};
use crate::policy::value::{Int, Span};

/// An etcd that holds the records, by its JSON gateway.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Etcd"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"cluster\": \"etcd\"}"
)]
pub(super) struct EtcdJson {
    /// The name of the gateway's cluster that leads to etcd, an ordinary one that speaks HTTP/1.1.
    cluster: ClusterName,
    /// How long a request waits for etcd.
    #[serde(default = "default_timeout")]
    timeout: Span<1, 60_000>,
    /// Stands before every key, to tell installations apart.
    #[serde(default)]
    key_prefix: KeyPrefix,
    /// The user, where etcd's authentication is on; only with `password`.
    username: Option<Secret>,
    /// The password; only with `username`. Prefer `{"env": "NAME"}`: a policy gets copied and logged.
    password: Option<Secret>,
    /// When to leave a failing etcd alone.
    #[serde(default)]
    breaker: BreakerJson,
    /// At most so many requests under way at once, for each worker; others wait, each until its time is up.
    #[serde(default = "default_in_flight")]
    in_flight: Int<1, 1_024>,
}

fn default_timeout() -> Span<1, 60_000> {
    Span::from_millis(250)
}

fn default_in_flight() -> Int<1, 1_024> {
    Int(32)
}

/// Where etcd is and how to get along with it.
#[derive(Debug, Clone)]
pub struct Etcd {
    /// The gateway's cluster that leads to etcd.
    pub cluster_name: String,
    /// 1 ms to 60 s.
    pub timeout: Duration,
    /// Stands before every key.
    pub key_prefix: String,
    pub breaker: Breaker,
    /// User and password.
    credentials: Option<(Secret, Secret)>,
    in_flight: usize,
}

impl EtcdJson {
    /// # Errors
    /// The field at fault, and what is wrong.
    pub(super) fn compile(self) -> Result<Etcd, (&'static str, String)> {
        let credentials = match (self.username, self.password) {
            (None, None) => None,
            (Some(username), Some(password)) => Some((username, password)),
            (Some(_), None) => {
                let problem = "found a user without a password, expected `password` as well";
                return Err(("username", problem.to_owned()));
            }
            (None, Some(_)) => {
                let problem = "found a password without a user, expected `username` as well";
                return Err(("password", problem.to_owned()));
            }
        };
        Ok(Etcd {
            cluster_name: self.cluster.0,
            timeout: self.timeout.0,
            key_prefix: self.key_prefix.0,
            breaker: self.breaker.compile(),
            credentials,
            in_flight: self.in_flight.get(),
        })
    }
}

impl Etcd {
    /// How long an operation may take.
    #[must_use]
    pub fn timeout(&self) -> Ps {
        picoseconds(self.timeout)
    }

    /// How one worker uses it. `environment` gives the VM's variables, which may hold the credentials.
    ///
    /// # Errors
    /// When a variable that the policy names is not set.
    pub fn settings(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<settings::Etcd, String> {
        let text = |field: &str, secret: &Secret| {
            let text = secret.value(&environment);
            text.map_err(|problem| format!("etcd.{field}: {problem}"))
        };
        let login = |(name, password): &(Secret, Secret)| {
            Ok::<_, String>(Login {
                name: text("username", name)?,
                password: text("password", password)?,
            })
        };
        Ok(settings::Etcd {
            login: self.credentials.as_ref().map(login).transpose()?,
            in_flight: self.in_flight,
        })
    }
}
