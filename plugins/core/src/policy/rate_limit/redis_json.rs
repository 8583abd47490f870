//! The `redis` of a policy as it is written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::redis::{Batch, Breaker, OnError, Redis, Secret, Transport};
use crate::policy::value::{Int, Size, Span, Text, text_value};

/// Where Redis is and how to get along with it.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Redis"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"cluster\": \"redis\"}"
)]
pub(super) struct RedisJson {
    /// The name of the gateway's cluster that leads to Redis.
    cluster: ClusterName,
    /// How the filter talks to the cluster; each way needs a gateway configuration of its own.
    #[serde(default)]
    transport: Transport,
    /// How long a request waits for Redis.
    #[serde(default = "default_timeout")]
    timeout: Span<1, 60_000>,
    /// Stands before every key, to tell installations apart.
    #[serde(default)]
    key_prefix: KeyPrefix,
    /// The number of the database.
    #[serde(default = "default_database")]
    database: Int<0, 65_535>,
    /// The user, if not Redis's default user; only with `password`.
    username: Option<Secret>,
    /// The password. Prefer `{"env": "NAME"}`: a policy gets copied and logged.
    password: Option<Secret>,
    /// Whether the keys are spread over the hash slots of a Redis Cluster.
    #[serde(default)]
    hash_slots: bool,
    /// When to leave a failing Redis alone.
    #[serde(default)]
    breaker: BreakerJson,
    /// What limits do while Redis does not answer. By default each gateway enforces the whole rate by itself: clients
    /// notice nothing, and n gateways admit at most n times the rate.
    #[serde(default)]
    on_error: OnErrorJson,
    /// How commands are gathered into one callout, or one message of a stream.
    #[serde(default)]
    batch: BatchJson,
}

fn default_timeout() -> Span<1, 60_000> {
    Span::from_millis(50)
}

fn default_database() -> Int<0, 65_535> {
    Int(0)
}

impl RedisJson {
    /// # Errors
    /// The field at fault, and what is wrong.
    pub(super) fn compile(self) -> Result<Redis, (&'static str, String)> {
        if self.username.is_some() && self.password.is_none() {
            let problem = "found a user without a password, expected `password` as well";
            return Err(("username", problem.to_owned()));
        }
        if self.hash_slots && self.database.0 != 0 {
            let problem = format!(
                "found {} with `hash_slots`, expected 0: a Redis Cluster has one database",
                self.database.0
            );
            return Err(("database", problem));
        }
        Ok(Redis {
            cluster_name: self.cluster.0,
            transport: self.transport,
            timeout: self.timeout.0,
            key_prefix: self.key_prefix.0,
            database: self.database.get(),
            username: self.username,
            password: self.password,
            hash_slots: self.hash_slots,
            breaker: Breaker {
                failures: self.breaker.failures.get(),
                open_for: self.breaker.open_for.0,
            },
            on_error: match self.on_error {
                OnErrorJson::Local(LocalJson { fraction }) => OnError::Local {
                    fraction: fraction.0,
                },
                OnErrorJson::Allow => OnError::Allow,
                OnErrorJson::Deny => OnError::Deny,
            },
            batch: Batch {
                max_commands: self.batch.max_commands.get(),
                max_bytes: Int::<0, { u64::MAX }>(self.batch.max_bytes.0).get(),
                in_flight: self.batch.in_flight.get(),
            },
        })
    }
}

#[derive(Debug)]
struct ClusterName(String);

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
struct KeyPrefix(String);

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
struct BreakerJson {
    /// After so many failures in a row.
    failures: Int<1, 1_000>,
    /// For so long; then one request tries again.
    open_for: Span<1, 3_600_000>,
}

impl Default for BreakerJson {
    fn default() -> Self {
        Self {
            failures: Int(5),
            open_for: Span::from_millis(5_000),
        }
    }
}

/// What limits do while Redis does not answer.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "OnError"))]
#[serde(
    rename_all = "snake_case",
    expecting = "`allow`, `deny` or {\"local\": {\"fraction\": 0.5}}"
)]
enum OnErrorJson {
    /// Each gateway process enforces a part of the rate by itself.
    Local(LocalJson),
    /// Everything passes.
    Allow,
    /// Everything is refused.
    Deny,
}

impl Default for OnErrorJson {
    fn default() -> Self {
        Self::Local(LocalJson::default())
    }
}

/// Which part of the rate.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "LocalShare"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"fraction\": 0.5}"
)]
struct LocalJson {
    /// More than 0, at most 1. With n gateways, 1/n keeps the whole to the rate.
    fraction: Fraction,
}

#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
struct Fraction(f64);

impl Default for Fraction {
    fn default() -> Self {
        Self(1.0)
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fraction = f64::deserialize(deserializer)?;
        // The smallest part that is told from none: a millionth.
        if (0.000_001..=1.0).contains(&fraction) {
            return Ok(Self(fraction));
        }
        Err(D::Error::custom(format_args!(
            "found {fraction}, expected a number from 0.000001 to 1"
        )))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Fraction {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fraction".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 0.000_001, "maximum": 1 })
    }
}

/// How commands are gathered into one callout, or one message of a stream.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "Batch"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"in_flight\": 1}"
)]
struct BatchJson {
    /// At most so many commands in one.
    max_commands: Int<1, 10_000>,
    /// At most so many bytes in one.
    max_bytes: Size<1_024, 16_777_216>,
    /// At most so many under way at once, for each worker. With one, what comes meanwhile gathers for the next.
    in_flight: Int<1, 64>,
}

impl Default for BatchJson {
    fn default() -> Self {
        Self {
            max_commands: Int(128),
            max_bytes: Size(64 << 10),
            in_flight: Int(1),
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

struct VariableName(String);

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
