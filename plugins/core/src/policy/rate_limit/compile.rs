//! The checks that need more than one field, each error with the path of the field to change.

use super::json::{LimitJson, ModeJson, OnMissingKeyJson, OverrideJson, PolicyJson, default_lease};
use super::{
    Cost, Limit, LocalTable, Mode, OnError, OnMissingKey, Override, Overrides, Rate, RateLimit,
};
use crate::policy::PolicyError;
use crate::selector::{ClientIp, Key};

pub(super) fn policy(json: PolicyJson) -> Result<RateLimit, PolicyError> {
    let (redis, on_redis_error) = match json.redis {
        // Never asked for: no limit needs Redis.
        None => (None, OnError::Deny),
        Some(redis) => {
            let (redis, on_error) = redis.compile_both().map_err(at("redis"))?;
            (Some(redis), on_error)
        }
    };
    let mut limits: Vec<Limit> = Vec::with_capacity(json.limits.len());
    for (index, limit) in json.limits.into_iter().enumerate() {
        let path = format!("limits[{index}]");
        let twin = limits.iter().position(|other| other.name == limit.name.0);
        if let Some(twin) = twin {
            return Err(PolicyError::new(
                format!("{path}.name"),
                format!(
                    "found {:?}, the name of limits[{twin}], expected a name of its own",
                    limit.name.0
                ),
            ));
        }
        if redis.is_none() && limit.mode != ModeJson::Local {
            return Err(PolicyError::new(
                format!("{path}.mode"),
                "found a mode that counts in Redis, expected `redis` in the policy, or mode `local`",
            ));
        }
        limits.push(compile_limit(limit, &path, &json.client_ip)?);
    }
    Ok(RateLimit {
        limits,
        headers: json.headers,
        retry_after_jitter: json.retry_after_jitter.0,
        client_ip: json.client_ip,
        redis,
        on_redis_error,
        local: LocalTable::with_entries(json.local.entries.get(), json.local.on_overflow),
    })
}

/// Puts a field's error at its path.
fn at(path: &str) -> impl Fn((&'static str, String)) -> PolicyError {
    move |(field, problem)| PolicyError::new(format!("{path}.{field}"), problem)
}

fn compile_limit(json: LimitJson, path: &str, client_ip: &ClientIp) -> Result<Limit, PolicyError> {
    let mut key = json.key;
    key.bind(&json.matcher)
        .map_err(|(part, problem)| PolicyError::new(format!("{path}.key[{part}].path"), problem))?;
    let on_missing_key = match json.on_missing_key {
        OnMissingKeyJson::Skip => OnMissingKey::Skip,
        OnMissingKeyJson::Deny => OnMissingKey::Deny,
        OnMissingKeyJson::Default(value) => {
            key.set_default(&value.0);
            // Never asked for: nothing is missing any more.
            OnMissingKey::Skip
        }
    };
    let rate = json.rate.0.with_burst(json.burst).map_err(at(path))?;
    let cost = json.cost.0;
    let mode = match (json.mode, &json.lease) {
        (ModeJson::Leased, lease) => Mode::Leased {
            tokens: lease
                .as_ref()
                .map_or_else(|| default_lease(rate.burst), |lease| lease.tokens.0),
        },
        (_, Some(_)) => {
            return Err(PolicyError::new(
                format!("{path}.lease"),
                "found a lease, expected none unless `mode` is `leased`",
            ));
        }
        (ModeJson::Local, None) => Mode::Local,
        (ModeJson::Strict, None) => Mode::Strict,
    };
    let limit = Limit {
        name: json.name.0,
        matcher: json.matcher,
        key,
        on_missing_key,
        rate,
        cost,
        mode,
        shadow: json.shadow,
        overrides: Overrides::default(),
        response: json
            .response
            .compile()
            .map_err(at(&format!("{path}.response")))?,
    };
    check_cost(&limit, &rate, path, "cost")?;
    Ok(Limit {
        overrides: overrides(json.overrides, &limit, path, client_ip)?,
        ..limit
    })
}

/// A request that costs more than the bucket ever holds could never pass.
fn check_cost(limit: &Limit, rate: &Rate, path: &str, field: &str) -> Result<(), PolicyError> {
    if rate.limit == 0 {
        return Ok(());
    }
    let refuse = |field: &str, problem| Err(PolicyError::new(format!("{path}.{field}"), problem));
    let usual = match &limit.cost {
        Cost::Constant(cost) => *cost,
        Cost::Header { max, default, .. } if default > max => {
            let problem = format!("found {default}, expected at most `max`, {max}");
            return refuse("cost.default", problem);
        }
        Cost::Header { default, .. } => *default,
    };
    let burst = rate.burst;
    if usual > burst {
        let problem = format!("found a cost of {usual}, expected at most the burst, {burst}");
        return refuse(field, problem);
    }
    let lease = limit.lease_tokens(rate);
    if lease >= burst {
        let problem = format!("found a lease of {lease}, expected less than the burst, {burst}");
        return refuse("lease.tokens", problem);
    }
    let (most, left) = (limit.cost.max(), burst - lease);
    if lease > 0 && most > left {
        let problem = format!(
            "found a cost of up to {most}, expected at most {left}: the burst of {burst} less the lease of {lease}"
        );
        return refuse(field, problem);
    }
    Ok(())
}

fn overrides(
    json: Vec<OverrideJson>,
    limit: &Limit,
    path: &str,
    client_ip: &ClientIp,
) -> Result<Overrides, PolicyError> {
    let mut overrides = Overrides::default();
    for (index, json) in json.into_iter().enumerate() {
        let path = format!("{path}.overrides[{index}]");
        let subject = subject(&limit.key, &json.key, client_ip, &path)?;
        let exception = exception(json, limit, &path)?;
        if overrides.insert(subject, exception).is_some() {
            return Err(PolicyError::new(
                format!("{path}.key"),
                "found the key of an earlier override, expected each client once",
            ));
        }
    }
    Ok(overrides)
}

fn subject(
    key: &Key,
    values: &[String],
    client_ip: &ClientIp,
    path: &str,
) -> Result<Vec<u8>, PolicyError> {
    key.subject_of(values, client_ip)
        .map_err(|(part, problem)| match part {
            Some(part) => PolicyError::new(format!("{path}.key[{part}]"), problem),
            None => PolicyError::new(format!("{path}.key"), problem),
        })
}

fn exception(json: OverrideJson, limit: &Limit, path: &str) -> Result<Override, PolicyError> {
    let problem = match (json.rate, json.unlimited, json.deny) {
        (Some(rate), None, None) => {
            let rate = rate.0.with_burst(json.burst).map_err(at(path))?;
            let field = if json.burst.is_some() {
                "burst"
            } else {
                "rate"
            };
            check_cost(limit, &rate, path, field)?;
            return Ok(Override::Rate(rate));
        }
        (None, unlimited, deny) if unlimited.is_some() != deny.is_some() => {
            if json.burst.is_none() {
                return Ok(if deny.is_some() {
                    Override::Deny
                } else {
                    Override::Unlimited
                });
            }
            "found a burst without a rate, expected `rate` as well"
        }
        (None, None, None) => "found none, expected exactly one of `rate`, `unlimited` and `deny`",
        _ => "found several, expected exactly one of `rate`, `unlimited` and `deny`",
    };
    Err(PolicyError::new(path, problem))
}
