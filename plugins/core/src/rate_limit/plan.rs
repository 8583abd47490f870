//! A policy made ready: which limits a request falls under, by which key and at which rate.

use super::answer::{self, Denial, Style};
use super::check::{Allowance, Check, Mode, Reason, Rule, Ruling, Standing};
use super::settings::{OnError, Redis, Settings};
use crate::gcra::{Ps, Quota};
use crate::policy::PolicyError;
use crate::policy::rate_limit as policy;
use crate::policy::redis::{Redis as Shared, picoseconds};
use crate::selector::{Reason as MissingReason, Request};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

/// By subject; none for one that is unlimited. The policy's author chooses the entries, so the hash needs no secret.
type Overrides = HashMap<Vec<u8>, Option<Ruling>, BuildHasherDefault<ahash::AHasher>>;

/// The policy of one plugin, compiled.
pub struct Plan {
    policy: policy::RateLimit,
    limits: Vec<Limit>,
    hasher: ahash::RandomState,
}

struct Limit {
    allowance: Allowance,
    overrides: Overrides,
}

impl Plan {
    /// Reads the plugin's configuration. `secret` keeps clients from finding keys that share a record.
    ///
    /// # Errors
    /// When the policy has a mistake; the error names the place and what was expected.
    pub fn load(configuration: &[u8], secret: [u64; 4]) -> Result<Self, PolicyError> {
        let policy = policy::RateLimit::load(configuration)?;
        let [a, b, c, d] = secret;
        let hasher = ahash::RandomState::with_seeds(a, b, c, d);
        let limits = policy
            .limits
            .iter()
            .map(|limit| Limit {
                allowance: allowance(limit, &limit.rate),
                overrides: overrides(limit),
            })
            .collect();
        Ok(Self {
            policy,
            limits,
            hasher,
        })
    }

    #[must_use]
    pub fn policy(&self) -> &policy::RateLimit {
        &self.policy
    }

    /// The limits, as the limiter knows them.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        self.policy
            .limits
            .iter()
            .map(|limit| Rule {
                name: limit.name.clone(),
                mode: match limit.mode {
                    policy::Mode::Local => Mode::Local,
                    policy::Mode::Strict => Mode::Strict,
                    policy::Mode::Leased { .. } => Mode::Leased,
                },
                shadow: limit.shadow,
            })
            .collect()
    }

    /// How the limiter is run. `environment` gives the VM's variables, which may hold the password.
    ///
    /// # Errors
    /// When a variable that the policy names is not set.
    pub fn settings(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, String> {
        let redis = match &self.policy.redis {
            Some(redis) => Some(redis_settings(
                redis,
                self.policy.on_redis_error,
                environment,
            )?),
            None => None,
        };
        Ok(Settings {
            buckets: self.policy.local.slots,
            ways: self.policy.local.ways,
            overflow_allows: matches!(self.policy.local.on_overflow, policy::Overflow::Allow),
            redis,
        })
    }

    #[must_use]
    pub fn style(&self) -> Style {
        match self.policy.headers {
            policy::HeaderStyle::Draft => Style::Draft,
            policy::HeaderStyle::Legacy => Style::Legacy,
            policy::HeaderStyle::Off => Style::Off,
        }
    }

    /// The name of the limit with this index.
    #[must_use]
    pub fn name(&self, rule: usize) -> &str {
        self.policy.limits.get(rule).map_or("", |limit| &limit.name)
    }

    /// The most that Retry-After is lengthened by.
    #[must_use]
    pub fn jitter(&self) -> Ps {
        picoseconds(self.policy.retry_after_jitter)
    }

    /// The answer to a request that limit `rule` denies. `jitter` lengthens Retry-After.
    #[must_use]
    pub fn denial(
        &self,
        rule: usize,
        reason: Reason,
        standings: &[Standing],
        jitter: Ps,
    ) -> Denial {
        let fields = answer::fields(self.style(), standings, |rule| self.name(rule));
        let configured = self.policy.limits.get(rule).map(|limit| &limit.response);
        let configured =
            configured.filter(|_| matches!(reason, Reason::Exceeded { .. } | Reason::Never));
        let status = answer::status(reason, configured.map_or(429, |response| response.status));
        let mut denial = Denial::new(reason, status, self.name(rule), fields, jitter);
        if let Some(response) = configured {
            if let Some(body) = &response.body {
                denial.set_body(body, response.content_type.as_deref());
            }
            denial.add(&response.headers);
        }
        denial
    }

    /// What the request claims of each limit that applies to it.
    #[must_use]
    pub fn checks(&self, request: &impl Request) -> Vec<Check> {
        let mut checks = Vec::with_capacity(self.limits.len());
        for (index, (limit, compiled)) in self.policy.limits.iter().zip(&self.limits).enumerate() {
            if limit.matcher.matches(request)
                && let Some(check) = self.check(index, limit, compiled, request)
            {
                checks.push(check);
            }
        }
        checks
    }

    /// None when the limit does not concern the request after all: a missing key that is skipped, a subject without
    /// a limit.
    fn check(
        &self,
        rule: usize,
        limit: &policy::Limit,
        compiled: &Limit,
        request: &impl Request,
    ) -> Option<Check> {
        let mut subject = Vec::with_capacity(48);
        let mut ruling = Ruling::Metered(compiled.allowance);
        if let Err(missing) = limit
            .key
            .extract(request, &self.policy.client_ip, &mut subject)
        {
            match (missing.reason, &limit.on_missing_key) {
                (MissingReason::Absent, policy::OnMissingKey::Skip) => return None,
                // What is there twice, or is too long, is no key that anybody forgot.
                _ => ruling = Ruling::Denied(Reason::Key),
            }
        } else if !compiled.overrides.is_empty()
            && let Some(override_) = compiled.overrides.get(&subject)
        {
            ruling = (*override_)?;
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write(limit.name.as_bytes());
        hasher.write(&subject);
        Some(Check {
            rule,
            hash: hasher.finish(),
            subject,
            ruling,
            cost: cost(&limit.cost, request),
        })
    }
}

fn overrides(limit: &policy::Limit) -> Overrides {
    let ruling = |override_: &policy::Override| match override_ {
        policy::Override::Rate(rate) => Some(Ruling::Metered(allowance(limit, rate))),
        policy::Override::Unlimited => None,
        policy::Override::Deny => Some(Ruling::Denied(Reason::Override)),
    };
    limit
        .overrides
        .iter()
        .map(|(subject, override_)| (subject.clone(), ruling(override_)))
        .collect()
}

fn allowance(limit: &policy::Limit, rate: &policy::Rate) -> Allowance {
    // The policy was refused if the quota could not be made; denying all is the safe reading of what cannot be.
    let quota = Quota::new(rate.limit, rate.period, rate.burst).unwrap_or(Quota::NOTHING);
    Allowance {
        lease: limit.lease_tokens(rate),
        ..Allowance::new(quota, rate.limit, rate.period)
    }
}

/// A header's cost: a whole number up to the cap. One that is absent, or is there twice, or is no number, costs the
/// default.
fn cost(cost: &policy::Cost, request: &impl Request) -> u64 {
    match cost {
        policy::Cost::Constant(tokens) => *tokens,
        policy::Cost::Header { name, max, default } => {
            let mut values = request.headers().all(name.as_ref());
            let value = match (values.next(), values.next()) {
                (Some(value), None) => std::str::from_utf8(value.trim_ascii()).ok(),
                _ => None,
            };
            let digits =
                value.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
            // A number too large for 64 bits is above every cap.
            digits.map_or(*default, |text| text.parse().unwrap_or(u64::MAX).min(*max))
        }
    }
}

fn redis_settings(
    redis: &Shared,
    on_error: policy::OnError,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Redis, String> {
    Ok(Redis {
        key_prefix: redis.key_prefix.clone(),
        login: redis.login(environment)?,
        timeout: redis.timeout(),
        hash_slots: redis.hash_slots,
        on_error: match on_error {
            policy::OnError::Local { fraction } => OnError::Local {
                millionths: (fraction * 1_000_000.0) as u32,
            },
            policy::OnError::Allow => OnError::Allow,
            policy::OnError::Deny => OnError::Deny,
        },
        limits: redis.limits(),
        breaker: redis.breaker(),
    })
}
