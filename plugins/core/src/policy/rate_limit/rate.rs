//! Rates and costs as they are written.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::json::MAX_TOKENS;
use super::{Cost, Rate};
use crate::gcra::{Quota, QuotaError};
use crate::policy::value::{Int, ShortForm, Span};
use crate::selector::HeaderName;
use crate::units;

const DAY_MS: u64 = 86_400_000;

type Period = Span<1, { 366 * DAY_MS }>;

/// A rate: how many tokens come back in which time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Rate"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"limit\": 100, \"period\": \"1m\"}"
)]
pub(super) struct RateText {
    /// How many tokens. 0 refuses everything.
    limit: Int<0, MAX_TOKENS>,
    /// In which time, from 1 ms to 366 days.
    period: Period,
}

impl ShortForm for RateText {
    const PATTERN: &'static str = units::RATE_PATTERN;
    const EXPECTED: &'static str = "a rate such as \"100/min\", \"5/s\" or \"10/250ms\", or an object such as {\"limit\": 100, \"period\": \"1m\"}";

    fn from_text(text: &str) -> Result<Self, String> {
        let (limit, period) = units::parse_rate(text).ok_or(units::RATE)?;
        if limit > MAX_TOKENS {
            return Err(format!("a rate of at most {MAX_TOKENS} tokens"));
        }
        let days = period.as_millis() / u128::from(DAY_MS);
        if period < Duration::from_millis(1) || days > 366 {
            return Err("a rate whose period is from 1ms to 366d".to_owned());
        }
        Ok(Self {
            limit: Int(limit),
            period: Span(period),
        })
    }
}

impl RateText {
    /// The rate with its burst.
    ///
    /// # Errors
    /// The field at fault, and what is wrong.
    pub(super) fn with_burst(
        self,
        burst: Option<Int<0, MAX_TOKENS>>,
    ) -> Result<Rate, (&'static str, String)> {
        let (limit, period) = (self.limit.0, self.period.0);
        let burst = burst.map_or(limit, |burst| burst.0);
        if limit == 0 && burst > 0 {
            let problem = format!(
                "found a burst of {burst} with a rate of 0, which refuses all, expected none"
            );
            return Err(("burst", problem));
        }
        if limit > 0 && burst == 0 {
            let problem =
                "found a burst of 0, which refuses all, expected 1 or more, or a rate of 0";
            return Err(("burst", problem.to_owned()));
        }
        let found = |error: QuotaError| {
            let period = units::format_duration(period);
            format!("found {limit}/{period} with a burst of {burst}, expected {error}")
        };
        match Quota::new(limit, period, burst) {
            Ok(_) => Ok(Rate {
                limit,
                period,
                burst,
            }),
            Err(error @ QuotaError::TooFast) => Err(("rate", found(error))),
            Err(error @ QuotaError::TooSlow) => Err(("burst", found(error))),
        }
    }
}

/// How many tokens a request takes: a number, or what a header says.
#[derive(Debug)]
pub(super) struct CostJson(pub(super) Cost);

impl Default for CostJson {
    fn default() -> Self {
        Self(Cost::Constant(1))
    }
}

/// A cost that a header states. Let it be set by your own services or gateway: a client that can set it chooses 0.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"header\": \"x-cost\", \"max\": 50}"
)]
struct HeaderCost {
    /// The header, with a whole number.
    header: HeaderName,
    /// No request costs more than this, whatever the header says.
    max: Int<1, MAX_TOKENS>,
    /// The cost of a request without the header, or with something else in it.
    #[serde(default = "one")]
    default: Int<0, MAX_TOKENS>,
}

fn one() -> Int<0, MAX_TOKENS> {
    Int(1)
}

impl<'de> Deserialize<'de> for CostJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CostVisitor;

        impl<'de> Visitor<'de> for CostVisitor {
            type Value = Cost;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "a whole number from 0 to {MAX_TOKENS}, or an object such as {{\"header\": \"x-cost\", \"max\": 50}}"
                )
            }

            fn visit_u64<E: Error>(self, cost: u64) -> Result<Cost, E> {
                if cost > MAX_TOKENS {
                    return Err(E::invalid_value(
                        serde::de::Unexpected::Unsigned(cost),
                        &self,
                    ));
                }
                Ok(Cost::Constant(cost))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cost, A::Error> {
                let cost =
                    HeaderCost::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Cost::Header {
                    name: cost.header.as_str().to_owned(),
                    max: cost.max.0,
                    default: cost.default.0,
                })
            }
        }

        deserializer.deserialize_any(CostVisitor).map(Self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for CostJson {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cost".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let number = generator.subschema_for::<Int<0, MAX_TOKENS>>();
        let header = generator.subschema_for::<HeaderCost>();
        schemars::json_schema!({ "anyOf": [number, header] })
    }
}

#[cfg(feature = "schema")]
impl serde::Serialize for CostJson {
    /// Only the default is ever written: for the schema.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.max())
    }
}
