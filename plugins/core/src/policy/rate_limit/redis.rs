//! The `redis` of a rate-limit policy: it also says what limits do without Redis.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::policy::redis::Redis;
use crate::policy::redis::json::redis_object;

/// What a limit does while Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OnError {
    /// Each gateway process enforces this part of the rate by itself; more than 0, at most 1.
    Local {
        fraction: f64,
    },
    Allow,
    Deny,
}

redis_object! {
    pub(super) struct RedisJson {
        /// What limits do while Redis does not answer. By default each gateway enforces the whole rate by itself:
        /// clients notice nothing, and n gateways admit at most n times the rate.
        #[serde(default)]
        on_error: OnErrorJson,
    }
}

impl RedisJson {
    /// # Errors
    /// The field at fault, and what is wrong.
    pub(super) fn compile_both(mut self) -> Result<(Redis, OnError), (&'static str, String)> {
        let on_error = match std::mem::take(&mut self.on_error) {
            OnErrorJson::Local(LocalJson { fraction }) => OnError::Local {
                fraction: fraction.0,
            },
            OnErrorJson::Allow => OnError::Allow,
            OnErrorJson::Deny => OnError::Deny,
        };
        Ok((self.compile()?, on_error))
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
pub(super) enum OnErrorJson {
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
pub(super) struct LocalJson {
    /// More than 0, at most 1. With n gateways, 1/n keeps the whole to the rate.
    fraction: Fraction,
}

#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub(super) struct Fraction(f64);

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
