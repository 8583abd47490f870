//! How a policy says who else must have a record.

use serde::Deserialize;

use super::Voters;
use super::json::RedisJson;
use crate::policy::redis::{Redis, Transport};
use crate::policy::value::{Int, Span};
use crate::redis::durability::Durability;
use crate::units::format_duration;

/// Who else must have a record before it counts. One that fewer have when it is taken is given back, and nothing is
/// sent; an answer that fewer have counts as not stored. Only with `transport` `stream`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Durability"))]
#[serde(deny_unknown_fields, expecting = "an object such as {\"replicas\": 1}")]
pub(super) struct DurabilityJson {
    /// So many replicas must have it.
    #[serde(default)]
    replicas: Option<Int<1, 16>>,
    /// It must be in the append-only file on the disk of Redis, and of the replicas if they are asked for. Takes Redis
    /// 7.2 with `appendonly yes`.
    #[serde(default)]
    aof: bool,
    /// How long they are waited for. At most half of `redis.timeout`, which is also the default.
    timeout: Option<Span<1, 30_000>>,
}

impl RedisJson {
    /// # Errors
    /// The field at fault, and what is wrong.
    pub(super) fn compile_all(mut self) -> Result<Voters, (String, String)> {
        let (durability, redlock) = (self.durability.take(), self.redlock.take());
        if durability.is_some() && redlock.is_some() {
            let problem = "found with `redlock`, expected one of the two: a vote counts when one Redis has it (let each \
                           have `appendfsync always`)";
            return Err(("durability".to_owned(), problem.to_owned()));
        }
        let named = |(field, problem): (&str, String)| (field.to_owned(), problem);
        let redis = self.compile().map_err(named)?;
        let durability = durability.map(|json| json.compile(&redis));
        let others = redlock.map(|json| json.compile(&redis.cluster_name));
        Ok(Voters {
            durability: durability.transpose().map_err(named)?,
            others: others.transpose()?.unwrap_or_default(),
            redis,
        })
    }
}

impl DurabilityJson {
    fn compile(self, redis: &Redis) -> Result<Durability, (&'static str, String)> {
        if self.replicas.is_none() && !self.aof {
            let problem = "found nobody to wait for, expected `replicas` or `aof`";
            return Err(("durability", problem.to_owned()));
        }
        if redis.transport != Transport::Stream {
            let problem = "found with `transport` `callout`, expected `stream`: a callout's connection is closed on the \
                           gateway's side at once, and Redis forgets a client that is gone while it waits";
            return Err(("durability", problem.to_owned()));
        }
        let most = redis.timeout / 2;
        let timeout = self.timeout.map_or(most, |timeout| timeout.0);
        if timeout > most {
            let problem = format!(
                "found {}, expected at most {}, half of `redis.timeout`",
                format_duration(timeout),
                format_duration(most)
            );
            return Err(("durability.timeout", problem));
        }
        Ok(Durability {
            replicas: self.replicas.map_or(0, Int::get),
            aof: self.aof,
            timeout,
        })
    }
}
