//! Guards: which ids a request may ask for at all, as the policy writes them and as they are decided with.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::compile::{Mistake, bytes, millis, mistake};
use crate::cache::Millis;
use crate::policy::idempotency::statuses::Statuses;
use crate::policy::text::Name;
use crate::policy::value::{Int, Size, Span, non_empty};
use crate::selector::{Key, Matcher, Template};
use crate::units::format_duration;

/// Each holds a filter of its own in every worker.
pub const MAX_GUARDS: usize = 16;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const YEAR: u64 = 366 * 24 * HOUR;
const MIB: u64 = 1 << 20;

/// Looks that may fail before what is known is too old.
const LOOKS: u32 = 3;
const DEFAULT_AGE: Duration = Duration::from_secs(60);

/// The ids that exist, of one kind of thing. A request for any other is answered here.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Guard"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"name\": \"items\", \"match\": ..., \"id\": [{\"path\": \"id\"}]}"
)]
pub(super) struct GuardJson {
    /// A name of its own, for metrics.
    pub(super) name: Name,
    /// The requests it looks at. Where this says nothing of methods, GET and HEAD.
    #[serde(rename = "match", default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Matcher>"))]
    matcher: Matcher,
    /// What they ask for, such as `[{"path": "id"}]`.
    id: Key,
    /// The filter's name in Redis, as `sluice bloom build --key` has it. Default: `name`.
    key: Option<Name>,
    /// The status of the answer to who asks for what does not exist.
    #[serde(default = "not_found")]
    status: Int<400, 499>,
    /// How often Redis is asked for a new filter and new ids.
    #[serde(default = "refresh")]
    refresh: Span<100, { 10 * MINUTE }>,
    /// When Redis was not heard of for so long, every request passes. At least twice `refresh`, at most half an hour;
    /// default: a minute, but at least three times `refresh`.
    max_age: Option<Span<200, { 30 * MINUTE }>>,
    /// When the filter was built longer ago, every request passes. Default: however old it is.
    max_build_age: Option<Span<1_000, YEAR>>,
    /// A larger filter is not loaded, and every request passes. Each worker holds the filter, and while it loads
    /// another, both.
    #[serde(default = "max_size")]
    max_size: Size<1_024, { 64 * MIB }>,
    /// Which answers say that something new exists. Default: none.
    learn: Option<LearnJson>,
}

fn not_found() -> Int<400, 499> {
    Int(404)
}

fn refresh() -> Span<100, { 10 * MINUTE }> {
    Span::from_millis(5_000)
}

fn max_size() -> Size<1_024, { 64 * MIB }> {
    Size(16 * MIB)
}

/// Which answers say that something new exists: its id is in their `Location`, or, without one, in the request.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Learn"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"statuses\": [201]}"
)]
struct LearnJson {
    /// The requests whose answers count. Where this says nothing of methods, POST and PUT.
    #[serde(rename = "match", default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Matcher>"))]
    matcher: Matcher,
    /// The statuses that count.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(default = "created", deserialize_with = "non_empty")]
    statuses: Vec<Statuses>,
    /// The template of such a `Location`. Default: that of the guard's `match`.
    location: Option<Template>,
}

fn created() -> Vec<Statuses> {
    vec![Statuses {
        first: 201,
        last: 201,
    }]
}

pub(super) fn guards<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<GuardJson>, D::Error> {
    let guards: Vec<GuardJson> = non_empty(deserializer)?;
    if guards.len() > MAX_GUARDS {
        return Err(Error::custom(format_args!(
            "found {} guards, expected at most {MAX_GUARDS}",
            guards.len()
        )));
    }
    Ok(guards)
}

/// A guard, ready to decide with.
#[derive(Debug, Clone)]
pub struct Guard {
    pub name: String,
    pub matcher: Matcher,
    pub id: Key,
    /// The filter's name in Redis.
    pub key: String,
    /// Of the answer to who asks for what does not exist.
    pub status: u16,
    pub refresh: Millis,
    pub max_age: Millis,
    pub max_build_age: Option<Millis>,
    pub max_size: usize,
    pub learn: Option<Learn>,
}

/// Which answers say that something new exists.
#[derive(Debug, Clone)]
pub struct Learn {
    pub matcher: Matcher,
    /// First and last of each range.
    pub statuses: Vec<(u16, u16)>,
    /// The id, of a request for what was created.
    pub id: Key,
}

pub(super) fn compile(json: GuardJson) -> Result<Guard, Mistake> {
    let mut matcher = json.matcher;
    matcher.default_methods(&["GET", "HEAD"]);
    let mut id = json.id;
    id.bind(&matcher)
        .map_err(|(part, problem)| (format!("id[{part}].path"), problem))?;
    if let Some(part) = id.part_without_text() {
        let problem = "found a part that no list of ids can have, expected one of the request's head, such as {\"path\": \"id\"}";
        return mistake(&format!("id[{part}]"), problem.to_owned());
    }
    let refresh = json.refresh.0;
    let max_age = json
        .max_age
        .map_or(DEFAULT_AGE.max(refresh * LOOKS), |age| age.0);
    if max_age < refresh * 2 {
        let problem = format!(
            "found {}, expected at least twice `refresh`, {}",
            format_duration(max_age),
            format_duration(refresh * 2)
        );
        return mistake("max_age", problem);
    }
    let learn = match json.learn {
        Some(learn) => Some(compile_learn(learn, &id)?),
        None => None,
    };
    Ok(Guard {
        key: json.key.unwrap_or_else(|| json.name.clone()).0,
        name: json.name.0,
        matcher,
        id,
        status: json.status.get(),
        refresh: millis(refresh),
        max_age: millis(max_age),
        max_build_age: json.max_build_age.map(|age| millis(age.0)),
        max_size: bytes(json.max_size.0),
        learn,
    })
}

fn compile_learn(json: LearnJson, id: &Key) -> Result<Learn, Mistake> {
    let mut matcher = json.matcher;
    matcher.default_methods(&["POST", "PUT"]);
    let mut id = id.clone();
    if let Some(template) = &json.location {
        id.bind_anew(template)
            .map_err(|problem| ("learn.location".to_owned(), problem))?;
    }
    Ok(Learn {
        matcher,
        statuses: json
            .statuses
            .iter()
            .map(|statuses| (statuses.first, statuses.last))
            .collect(),
        id,
    })
}
