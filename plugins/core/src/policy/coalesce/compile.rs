//! From the policy as written to the policy to decide with: defaults that depend on other fields, and the mistakes that
//! no single field can show.

use std::time::Duration;

use super::flight::{FlightJson, OnLeaderGoneJson};
use super::guard::{self, Guard, GuardJson};
use super::json::{CacheStatusJson, PolicyJson};
use super::route::{
    AuthorizationJson, ClientDirectivesJson, OnMissingKeyJson, ParameterName, QueryJson, RouteJson,
    TtlJson,
};
use super::{Coalesce, Flight, OnLeaderGone, Purge, Refresh, Route, Store};
use crate::cache::{Millis, Parameters, Query, Rule, Ttl};
use crate::policy::PolicyError;
use crate::selector::Key;
use crate::units::{format_duration, format_size};

/// The shared store has room for so many of the longest answers, at least.
const LONGEST_ANSWERS: u64 = 32;

const DEFAULT_BODY: u64 = 1 << 20;
const DEFAULT_FLEET_BODY: u64 = 256 << 10;
const DEFAULT_LEASE: Duration = Duration::from_secs(3);

/// The field at fault, and what is wrong.
pub(super) type Mistake = (String, String);

pub(super) fn mistake<T>(field: &str, problem: String) -> Result<T, Mistake> {
    Err((field.to_owned(), problem))
}

pub(super) fn policy(json: PolicyJson) -> Result<Coalesce, PolicyError> {
    let mut routes: Vec<Route> = Vec::with_capacity(json.routes.len());
    for (index, route) in json.routes.into_iter().enumerate() {
        let twin = routes.iter().position(|other| other.name == route.name.0);
        distinct("routes", index, &route.name.0, twin)?;
        let route = compile_route(route, json.store.shared.0).map_err(at("routes", index))?;
        routes.push(route);
    }
    let guards = compile_guards(json.guards)?;
    let redis = json
        .redis
        .map(|redis| redis.compile())
        .transpose()
        .map_err(|(field, problem)| PolicyError::new(format!("redis.{field}"), problem))?;
    meet(&routes, redis.is_some(), !guards.is_empty())?;
    Ok(Coalesce {
        routes,
        redis,
        guards,
        client_ip: json.client_ip,
        store: Store {
            shared: bytes(json.store.shared.0),
            worker: bytes(json.store.worker.0),
        },
        max_waiting: json.worker.max_waiting.get(),
        purge: json.purge.map(|purge| Purge {
            path: purge.path.0,
            token: purge.token,
        }),
        cache_status: match json.cache_status {
            CacheStatusJson::Name(name) => Some(name.0),
            CacheStatusJson::Hidden => None,
        },
    })
}

/// Redis is there if something uses it, and only then.
fn meet(routes: &[Route], redis: bool, guards: bool) -> Result<(), PolicyError> {
    let fleet = |route: &Route| route.flight.fleet.is_some();
    let fleet = routes.iter().position(fleet);
    let (found, expected) = match (redis, guards, fleet) {
        (true, false, None) => (
            "redis".to_owned(),
            "`guards` or a route's `flight.fleet` as well",
        ),
        (false, true, _) => ("guards".to_owned(), "`redis` as well"),
        (false, false, Some(index)) => (format!("routes[{index}].flight.fleet"), "`redis` as well"),
        _ => return Ok(()),
    };
    let problem = format!("found it by itself, expected {expected}");
    Err(PolicyError::new(found, problem))
}

fn compile_guards(json: Vec<GuardJson>) -> Result<Vec<Guard>, PolicyError> {
    let mut guards: Vec<Guard> = Vec::with_capacity(json.len());
    for (index, guard) in json.into_iter().enumerate() {
        let twin = guards.iter().position(|other| other.name == guard.name.0);
        distinct("guards", index, &guard.name.0, twin)?;
        guards.push(guard::compile(guard).map_err(at("guards", index))?);
    }
    Ok(guards)
}

fn distinct(list: &str, index: usize, name: &str, twin: Option<usize>) -> Result<(), PolicyError> {
    twin.map_or(Ok(()), |twin| {
        Err(PolicyError::new(
            format!("{list}[{index}].name"),
            format!("found {name:?}, the name of {list}[{twin}], expected a name of its own"),
        ))
    })
}

fn at(list: &str, index: usize) -> impl Fn(Mistake) -> PolicyError {
    move |(field, problem)| PolicyError::new(format!("{list}[{index}].{field}"), problem)
}

fn compile_route(json: RouteJson, shared: u64) -> Result<Route, Mistake> {
    let refresh = json.refresh.map(|refresh| Refresh {
        cluster: refresh.cluster.0,
        timeout: millis(refresh.timeout.0),
    });
    let flight = compile_flight(&json.flight, refresh.is_some(), shared)
        .map_err(|(field, problem)| (format!("flight.{field}"), problem))?;
    let mut key: Option<Key> = json.key;
    match (&mut key, json.on_missing_key) {
        (_, OnMissingKeyJson::Bypass) => {}
        (Some(key), OnMissingKeyJson::Default(value)) => key.set_default(&value.0),
        (None, OnMissingKeyJson::Default(_)) => {
            let problem = "found a default without a key, expected `key` as well".to_owned();
            return mistake("on_missing_key", problem);
        }
    }
    if let Some(key) = &mut key {
        // What is stored under the one copy may be an answer for the other.
        key.deny_copies();
        key.bind(&json.matcher)
            .map_err(|(part, problem)| (format!("key[{part}].path"), problem))?;
    }
    Ok(Route {
        name: json.name.0,
        matcher: json.matcher,
        key,
        rule: Rule {
            ttl: compile_ttl(&json.ttl)?,
            max_ttl: json.max_ttl.map(|ttl| millis(ttl.0)),
            stale_while_revalidate: millis(json.stale_while_revalidate.0),
            stale_if_error: millis(json.stale_if_error.0),
            authorization: json.authorization == AuthorizationJson::IfAllowed,
            cookies: json.cookies.into_iter().map(|cookie| cookie.0).collect(),
            server_errors: json.share_server_errors,
            ignore_client: json.client_directives == ClientDirectivesJson::Ignore,
            targeted: json.targeted.into_iter().map(|name| name.0).collect(),
            query: compile_query(json.query)
                .map_err(|(field, problem)| (format!("query{field}"), problem))?,
        },
        flight,
        jitter: json.jitter.get(),
        early_refresh: json.early_refresh.0,
        refresh,
        hit_for_miss: millis(json.hit_for_miss.0),
        max_variants: json.max_variants.get(),
    })
}

fn compile_ttl(json: &[TtlJson]) -> Result<Vec<Ttl>, Mistake> {
    let mut all = Vec::new();
    for (index, item) in json.iter().enumerate() {
        for (place, statuses) in item.statuses.iter().enumerate() {
            // Neither is ever an answer for somebody else: what looks like a rule would be none.
            if let (206 | 304, true) = (statuses.first, statuses.first == statuses.last) {
                let problem = format!(
                    "found {}, expected a status whose answers can be shared",
                    statuses.first
                );
                return mistake(&format!("ttl[{index}].statuses[{place}]"), problem);
            }
            all.push(Ttl {
                first: statuses.first,
                last: statuses.last,
                lifetime: millis(item.lifetime.0),
            });
        }
    }
    Ok(all)
}

fn compile_query(json: Option<QueryJson>) -> Result<Query, Mistake> {
    let Some(json) = json else {
        return Ok(Query::default());
    };
    let names = |names: Vec<ParameterName>| names.into_iter().map(|name| name.0);
    let parameters = match (json.drop.is_empty(), json.only.is_empty()) {
        (true, true) => Parameters::All,
        (false, true) => Parameters::AllBut(names(json.drop).collect()),
        (true, false) => Parameters::Only(names(json.only).collect()),
        (false, false) => {
            let problem = "found both `drop` and `only`, expected at most one".to_owned();
            return mistake("", problem);
        }
    };
    Ok(Query {
        sorted: json.sort,
        parameters,
    })
}

fn compile_flight(json: &FlightJson, refreshes: bool, shared: u64) -> Result<Flight, Mistake> {
    let most = shared / LONGEST_ANSWERS;
    let max_body = json.max_body.map_or(DEFAULT_BODY.min(most), |size| size.0);
    if max_body > most {
        let problem = format!(
            "found {}, expected at most {}, a 32nd of `store.shared`",
            format_size(max_body),
            format_size(most)
        );
        return mistake("max_body", problem);
    }
    let lease = json
        .lease
        .map_or(DEFAULT_LEASE.min(json.max_time.0), |lease| lease.0);
    if lease > json.max_time.0 {
        let problem = format!(
            "found {}, expected at most `max_time`, {}",
            format_duration(lease),
            format_duration(json.max_time.0)
        );
        return mistake("lease", problem);
    }
    if json.on_leader_gone == OnLeaderGoneJson::Finish && !refreshes {
        let problem =
            "found \"finish\" without a cluster to fetch from, expected `refresh` as well";
        return mistake("on_leader_gone", problem.to_owned());
    }
    let fleet = match &json.fleet {
        None => None,
        Some(fleet) => {
            let size = fleet.max_body.map(|size| size.0);
            let size = size.unwrap_or(DEFAULT_FLEET_BODY.min(max_body));
            if size > max_body {
                let problem = format!(
                    "found {}, expected at most {}, the `max_body` of the flight",
                    format_size(size),
                    format_size(max_body)
                );
                return mistake("fleet.max_body", problem);
            }
            Some(bytes(size))
        }
    };
    Ok(Flight {
        fleet,
        wait: millis(json.wait.0),
        max_followers: json.max_followers.get(),
        max_body: bytes(max_body),
        max_time: millis(json.max_time.0),
        lease: millis(lease),
        on_leader_gone: match json.on_leader_gone {
            OnLeaderGoneJson::Promote => OnLeaderGone::Promote,
            OnLeaderGoneJson::Finish => OnLeaderGone::Finish,
        },
    })
}

pub(super) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
