//! The checks that need more than one field, each error with the path of the field to change.

use std::time::Duration;

use super::etcd::EtcdJson;
use super::json::{
    CommitOrderJson, KeyModeJson, METHODS, OnCommitErrorJson, OnMissingScopeJson, OnStoreErrorJson,
    OnTimeoutJson, OutboxJson, PolicyJson, RedisJson, RouteJson, TrimJson,
};
use super::{Idempotency, Records, Route};
use crate::idempotency::problem;
use crate::idempotency::settings::{
    self, CommitOrder, HeaderFilter, KeyMode, Memory, OnCommitError, OnStoreError, OnTimeout,
    Outbox, Trim,
};
use crate::policy::PolicyError;
use crate::policy::redis::picoseconds;
use crate::policy::text::FRAMING;
use crate::selector::Key;
use crate::units::{format_duration, format_size};

/// A lease is at most this part of the retention: an execution whose fate is unknown must stay known as such for far
/// longer than it takes to see that it is.
const LEASES_PER_RETENTION: u32 = 10;

/// A lease is renewed at a third of it, and a renewal may take the store's whole timeout.
const TIMEOUTS_PER_LEASE: u32 = 4;

/// What the service, or this filter, reads for itself.
const FENCE_WOULD_REPLACE: [&str; 3] = ["authorization", problem::REPLAYED, problem::STATUS];

const DEFAULT_LEASE: Duration = Duration::from_secs(30);

const DEFAULT_BODY: u64 = 512 << 10;

/// etcd refuses requests of more than 1.5 MiB (`--max-request-bytes`); an answer has a head as well.
const MOST_IN_ETCD: u64 = 1 << 20;

const DEFAULT_EXECUTION: Duration = Duration::from_secs(300);

/// Partitions on a Redis Cluster unless the policy says otherwise: enough to reach every node.
const CLUSTER_PARTITIONS: u16 = 64;

/// What routes are checked against.
struct Whole<'p> {
    /// `redis` or `etcd`, and its timeout.
    store: (&'static str, Duration),
    /// What of the store rules out events, and why.
    no_events: Option<&'static str>,
    /// Bytes of an answer's body that the store takes.
    most: Option<u64>,
    fence_header: &'p str,
    gateway_buffer: u64,
    max_held: u64,
}

pub(super) fn policy(json: PolicyJson) -> Result<Idempotency, PolicyError> {
    let records = records(json.redis, json.etcd)?;
    if matches!(records, Records::Etcd(_)) && json.partitions.is_some() {
        return Err(PolicyError::new(
            "partitions",
            "found with `etcd`, expected none: all records of an etcd share its revision",
        ));
    }
    if FRAMING.contains(&json.fence_header.0.as_str()) {
        return Err(PolicyError::new(
            "fence_header",
            format!(
                "found {:?}, expected none that frames the message",
                json.fence_header.0
            ),
        ));
    }
    if FENCE_WOULD_REPLACE.contains(&json.fence_header.0.as_str()) {
        return Err(PolicyError::new(
            "fence_header",
            format!(
                "found {:?}, expected a header of its own: what a client sends in it is replaced",
                json.fence_header.0
            ),
        ));
    }
    let whole = Whole {
        store: match &records {
            Records::Redis(voters) => ("redis", voters.redis.timeout),
            Records::Etcd(etcd) => ("etcd", etcd.timeout),
        },
        no_events: match &records {
            Records::Redis(voters) if voters.others.is_empty() => None,
            Records::Redis(_) => Some(
                "found with `redis.redlock`, expected none: most of the Redis have an event, and none has all",
            ),
            Records::Etcd(_) => {
                Some("found with `etcd`, expected none: the events are a stream of Redis")
            }
        },
        most: matches!(records, Records::Etcd(_)).then_some(MOST_IN_ETCD),
        fence_header: &json.fence_header.0,
        gateway_buffer: json.gateway_buffer.0,
        max_held: json.worker.max_held.0,
    };
    let mut routes: Vec<Route> = Vec::with_capacity(json.routes.len());
    for (index, route) in json.routes.into_iter().enumerate() {
        let path = format!("routes[{index}]");
        let name = &route.name.0;
        let twin = routes.iter().position(|other| other.settings.name == *name);
        if let Some(twin) = twin {
            return Err(PolicyError::new(
                format!("{path}.name"),
                format!("found {name:?}, the name of routes[{twin}], expected a name of its own"),
            ));
        }
        routes
            .push(compile_route(route, &whole).map_err(|(field, problem)| {
                PolicyError::new(format!("{path}.{field}"), problem)
            })?);
    }
    let at_rest = json
        .at_rest
        .compile()
        .map_err(|(field, problem)| PolicyError::new(format!("at_rest.{field}"), problem))?;
    let default_partitions = match &records {
        Records::Redis(voters) if voters.redis.hash_slots => CLUSTER_PARTITIONS,
        _ => 1,
    };
    Ok(Idempotency {
        routes,
        client_ip: json.client_ip,
        partitions: json
            .partitions
            .map_or(default_partitions, |partitions| partitions.get()),
        fence_header: json.fence_header.0,
        at_rest,
        commit_order: match json.commit_order {
            CommitOrderJson::BeforeHeaders => CommitOrder::BeforeHeaders,
            CommitOrderJson::BeforeEnd => CommitOrder::BeforeEnd,
        },
        max_open: json.worker.max_open.get(),
        max_held: bytes(json.worker.max_held.0),
        memory: Memory {
            max_bytes: bytes(json.worker.max_remembered.0),
            trusted_for: picoseconds(json.worker.trust_remembered.0),
        },
        gateway_buffer: bytes(json.gateway_buffer.0),
        records,
    })
}

/// The store that the policy names.
fn records(redis: Option<RedisJson>, etcd: Option<EtcdJson>) -> Result<Records, PolicyError> {
    match (redis, etcd) {
        (Some(redis), None) => {
            let voters = redis.compile_all();
            voters
                .map(Records::Redis)
                .map_err(|(field, problem)| PolicyError::new(format!("redis.{field}"), problem))
        }
        (None, Some(etcd)) => etcd
            .compile()
            .map(Records::Etcd)
            .map_err(|(field, problem)| PolicyError::new(format!("etcd.{field}"), problem)),
        (Some(_), Some(_)) => Err(PolicyError::new(
            "etcd",
            "found with `redis`, expected one of the two: the records have one place",
        )),
        (None, None) => Err(PolicyError::new(
            "redis",
            "found nothing, expected `redis` or `etcd`: one of them is required",
        )),
    }
}

/// The field at fault, and what is wrong.
type Mistake = (String, String);

fn mistake<T>(field: &str, problem: String) -> Result<T, Mistake> {
    Err((field.to_owned(), problem))
}

fn compile_route(json: RouteJson, whole: &Whole<'_>) -> Result<Route, Mistake> {
    if json.key_header.0 == whole.fence_header {
        let problem = format!(
            "found {:?}, the policy's `fence_header`, expected a header of its own",
            json.key_header.0
        );
        return mistake("key_header", problem);
    }
    if json.key_header.0 == "host" {
        let problem = "found \"host\", expected a header of its own: every request has this one";
        return mistake("key_header", problem.to_owned());
    }
    if let Some(part) = json.scope.part_of_header(whole.fence_header) {
        let problem = format!(
            "found {:?}, the policy's `fence_header`, which is taken out of each request",
            whole.fence_header
        );
        return mistake(&format!("scope[{part}]"), problem);
    }
    if let (Some(problem), Some(_)) = (whole.no_events, &json.outbox) {
        return mistake("outbox", problem.to_owned());
    }
    let (lease, execution) = times(&json, whole)?;
    let (max_request_body, max_response_body) = sizes(&json, whole)?;
    let mut matcher = json.matcher;
    matcher.default_methods(&METHODS);
    let mut scope: Key = json.scope;
    scope
        .bind(&matcher)
        .map_err(|(part, problem)| (format!("scope[{part}].path"), problem))?;
    match json.on_missing_scope {
        OnMissingScopeJson::Deny => {}
        OnMissingScopeJson::Default(value) => scope.set_default(&value.0),
    }
    Ok(Route {
        matcher,
        scope,
        key_header: json.key_header.0,
        settings: settings::Route {
            name: json.name.0,
            required: json.required,
            key_mode: match json.key_mode {
                KeyModeJson::Strict => KeyMode::Strict,
                KeyModeJson::Compat => KeyMode::Compat,
            },
            retention: json.retention.0,
            lease,
            execution,
            wait: json.wait.0,
            statuses: match json.store_statuses {
                // All that is: an upstream's 999 as well.
                None => vec![(0, u16::MAX)],
                Some(list) => list.0.iter().map(|item| (item.first, item.last)).collect(),
            },
            max_request_body: bytes(max_request_body),
            max_response_body: bytes(max_response_body),
            headers: match json.replay_headers {
                None => HeaderFilter::Deny(Vec::new()),
                Some(headers) => headers
                    .compile()
                    .map_err(|(field, problem)| (format!("replay_headers.{field}"), problem))?,
            },
            on_store_error: match json.on_store_error {
                OnStoreErrorJson::Deny => OnStoreError::Closed,
                OnStoreErrorJson::Allow => OnStoreError::Open,
            },
            on_commit_error: match json.on_commit_error {
                OnCommitErrorJson::Strict => OnCommitError::Strict,
                OnCommitErrorJson::Deliver => OnCommitError::Deliver,
            },
            on_timeout: match json.on_timeout {
                OnTimeoutJson::Unknown => OnTimeout::Unknown,
                OnTimeoutJson::Store => OnTimeout::Store,
            },
            dry_run: json.dry_run,
            outbox: json.outbox.map(compile_outbox),
        },
    })
}

fn compile_outbox(json: OutboxJson) -> Outbox {
    Outbox {
        trim: match json.trim {
            TrimJson::Nothing => Trim::Nothing,
            TrimJson::Length(events) => Trim::Length(events.0),
            TrimJson::Age(age) => Trim::Age(age.0),
        },
        headers: json
            .headers
            .map_or(Vec::new(), |names| names.into_strings()),
    }
}

/// The lease and the time for which it is renewed, checked against the retention and the store's timeout.
fn times(json: &RouteJson, whole: &Whole<'_>) -> Result<(Duration, Duration), Mistake> {
    let retention = json.retention.0;
    let most = retention / LEASES_PER_RETENTION;
    let lease = json.lease.map_or(DEFAULT_LEASE.min(most), |lease| lease.0);
    if lease > most {
        let problem = format!(
            "found a lease of {}, expected at most {}, a tenth of the retention",
            format_duration(lease),
            format_duration(most)
        );
        return mistake("lease", problem);
    }
    let (store, timeout) = whole.store;
    let least = timeout * TIMEOUTS_PER_LEASE;
    if json.lease.is_none() && most < least {
        let problem = format!(
            "found {}, expected at least {}: a lease is at most a tenth of it, and at least four times `{store}.timeout`",
            format_duration(retention),
            format_duration(least * LEASES_PER_RETENTION)
        );
        return mistake("retention", problem);
    }
    if lease < least {
        let problem = format!(
            "found a lease of {}, expected at least {}, four times `{store}.timeout`, so that it can be renewed",
            format_duration(lease),
            format_duration(least)
        );
        return mistake("lease", problem);
    }
    let longest = retention / 2;
    let execution = json
        .execution
        .map_or(DEFAULT_EXECUTION.min(longest).max(lease), |execution| {
            execution.0
        });
    let (bound, limit) = if execution < lease {
        ("at least the lease,", lease)
    } else if execution > longest {
        ("at most half of the retention,", longest)
    } else {
        return Ok((lease, execution));
    };
    let found = format_duration(execution);
    let problem = format!("found {found}, expected {bound} {}", format_duration(limit));
    mistake("execution", problem)
}

/// How much of a request's and an answer's body is kept, checked against what the gateway can buffer and the worker
/// hold.
fn sizes(json: &RouteJson, whole: &Whole<'_>) -> Result<(u64, u64), Mistake> {
    let default = DEFAULT_BODY.min(whole.gateway_buffer / 2);
    let request = json.max_request_body.map_or(default, |size| size.0);
    let response = json
        .max_response_body
        .map_or(default.min(whole.max_held), |size| size.0);
    for (field, size) in [
        ("max_request_body", request),
        ("max_response_body", response),
    ] {
        if size >= whole.gateway_buffer {
            let problem = format!(
                "found {}, expected less than `gateway_buffer`, {}",
                format_size(size),
                format_size(whole.gateway_buffer)
            );
            return mistake(field, problem);
        }
    }
    if let Some(most) = whole.most.filter(|most| response > *most) {
        let problem = format!(
            "found {}, expected at most {} with `etcd`, which takes no longer records unless it is told to",
            format_size(response),
            format_size(most)
        );
        return mistake("max_response_body", problem);
    }
    if response > whole.max_held {
        let problem = format!(
            "found {}, expected at most `worker.max_held`, {}",
            format_size(response),
            format_size(whole.max_held)
        );
        return mistake("max_response_body", problem);
    }
    Ok((request, response))
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
