//! The `redis` of a policy as it is written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::{Batch, Breaker, Redis, Secret};
use crate::policy::value::{Int, Size, Span, Text, text_value};

/// Defines the `redis` of one filter's policy: the fields that all have, and those of its own.
macro_rules! redis_object {
    ($visibility:vis struct $name:ident { $($own:tt)* }) => {
        /// Where Redis is and how to get along with it.
        #[derive(Debug, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(rename = "Redis"))]
        #[serde(
            deny_unknown_fields,
            expecting = "an object such as {\"cluster\": \"redis\"}"
        )]
        $visibility struct $name {
            /// The name of the gateway's cluster that leads to Redis.
            cluster: $crate::policy::redis::json::ClusterName,
            /// How the filter talks to the cluster; each way needs a gateway configuration of its own.
            #[serde(default)]
            transport: $crate::policy::redis::Transport,
            /// How long a request waits for Redis.
            #[serde(default = "crate::policy::redis::json::default_timeout")]
            timeout: $crate::policy::value::Span<1, 60_000>,
            /// Stands before every key, to tell installations apart.
            #[serde(default)]
            key_prefix: $crate::policy::redis::json::KeyPrefix,
            /// The number of the database.
            #[serde(default = "crate::policy::redis::json::default_database")]
            database: $crate::policy::value::Int<0, 65_535>,
            /// The user, if not Redis's default user; only with `password`.
            username: Option<$crate::policy::redis::Secret>,
            /// The password. Prefer `{"env": "NAME"}`: a policy gets copied and logged.
            password: Option<$crate::policy::redis::Secret>,
            /// Whether the keys are spread over the hash slots of a Redis Cluster.
            #[serde(default)]
            hash_slots: bool,
            /// When to leave a failing Redis alone.
            #[serde(default)]
            breaker: $crate::policy::redis::json::BreakerJson,
            $($own)*
            /// How commands are gathered into one callout, or one message of a stream.
            #[serde(default)]
            batch: $crate::policy::redis::json::BatchJson,
        }

        impl $name {
            /// What all filters have.
            ///
            /// # Errors
            /// The field at fault, and what is wrong.
            $visibility fn compile(
                self,
            ) -> Result<$crate::policy::redis::Redis, (&'static str, String)> {
                $crate::policy::redis::json::checked($crate::policy::redis::Redis {
                    cluster_name: self.cluster.0,
                    transport: self.transport,
                    timeout: self.timeout.0,
                    key_prefix: self.key_prefix.0,
                    database: self.database.get(),
                    username: self.username,
                    password: self.password,
                    hash_slots: self.hash_slots,
                    breaker: self.breaker.compile(),
                    batch: self.batch.compile(),
                })
            }
        }
    };
}
pub(in crate::policy) use redis_object;

pub(in crate::policy) fn default_timeout() -> Span<1, 60_000> {
    Span::from_millis(50)
}

pub(in crate::policy) fn default_database() -> Int<0, 65_535> {
    Int(0)
}

/// The checks that need more than one field.
///
/// # Errors
/// The field at fault, and what is wrong.
pub(in crate::policy) fn checked(redis: Redis) -> Result<Redis, (&'static str, String)> {
    if redis.username.is_some() && redis.password.is_none() {
        let problem = "found a user without a password, expected `password` as well";
        return Err(("username", problem.to_owned()));
    }
    if redis.hash_slots && redis.database != 0 {
        let problem = format!(
            "found {} with `hash_slots`, expected 0: a Redis Cluster has one database",
            redis.database
        );
        return Err(("database", problem));
    }
    Ok(redis)
}

#[derive(Debug)]
pub(in crate::policy) struct ClusterName(pub(in crate::policy) String);

impl Text for ClusterName {
    const PATTERN: &'static str = "^[!-~]+$";

    fn expected() -> String {
        "the name of a cluster such as \"redis\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(ClusterName);

#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub(in crate::policy) struct KeyPrefix(pub(in crate::policy) String);

impl Default for KeyPrefix {
    fn default() -> Self {
        Self("sluice".to_owned())
    }
}

impl Text for KeyPrefix {
    const PATTERN: &'static str = "^[A-Za-z0-9_.:-]{1,64}$";

    fn expected() -> String {
        "1 to 64 characters out of A-Z, a-z, 0-9, `_`, `.`, `:` and `-`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        // No braces: they would be taken for a hash tag, and put every key on one node.
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        if !(1..=64).contains(&text.len()) || !text.bytes().all(valid) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(KeyPrefix);

/// When to leave a failing Redis alone.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Breaker"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"failures\": 5, \"open_for\": \"5s\"}"
)]
pub(in crate::policy) struct BreakerJson {
    /// After so many failures in a row.
    failures: Int<1, 1_000>,
    /// For so long; then one request tries again.
    open_for: Span<1, 3_600_000>,
}

impl BreakerJson {
    pub(in crate::policy) fn compile(self) -> Breaker {
        Breaker {
            failures: self.failures.get(),
            open_for: self.open_for.0,
        }
    }
}

impl Default for BreakerJson {
    fn default() -> Self {
        Self {
            failures: Int(5),
            open_for: Span::from_millis(5_000),
        }
    }
}

/// How commands are gathered into one callout, or one message of a stream.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Batch"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"in_flight\": 2}"
)]
pub(in crate::policy) struct BatchJson {
    /// At most so many commands in one.
    max_commands: Int<1, 10_000>,
    /// At most so many bytes in one.
    max_bytes: Size<1_024, 16_777_216>,
    /// At most so many under way at once, for each worker. When half of them are, a further one goes only half full, and
    /// what comes meanwhile gathers for it.
    in_flight: Int<1, 64>,
}

impl BatchJson {
    pub(in crate::policy) fn compile(self) -> Batch {
        Batch {
            max_commands: self.max_commands.get(),
            max_bytes: Int::<0, { u64::MAX }>(self.max_bytes.0).get(),
            in_flight: self.in_flight.get(),
        }
    }
}

impl Default for BatchJson {
    fn default() -> Self {
        Self {
            max_commands: Int(128),
            max_bytes: Size(1 << 20),
            in_flight: Int(2),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;

        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or an object such as {\"env\": \"REDIS_PASSWORD\"}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
                if text.is_empty() {
                    return Err(E::custom("found an empty text, expected a credential"));
                }
                Ok(Secret::Inline(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                let FromEnv { env } =
                    FromEnv::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Secret::Env(env.0))
            }
        }

        deserializer.deserialize_any(SecretVisitor)
    }
}

/// A credential that an environment variable holds.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"env\": \"REDIS_PASSWORD\"}"
)]
struct FromEnv {
    /// The variable's name. The gateway must hand it to the filter (Envoy: `vm_config.environment_variables`).
    env: VariableName,
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let from_env = generator.subschema_for::<FromEnv>();
        schemars::json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 }, from_env] })
    }
}

#[derive(Debug)]
pub(in crate::policy) struct VariableName(pub(in crate::policy) String);

impl Text for VariableName {
    const PATTERN: &'static str = "^[A-Za-z_][A-Za-z0-9_]*$";

    fn expected() -> String {
        "the name of an environment variable such as \"REDIS_PASSWORD\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !text.bytes().all(valid) || !text.starts_with(|c: char| !c.is_ascii_digit()) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(VariableName);
