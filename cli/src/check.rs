//! `sluice check`: what the gateway's log would say of a policy.

use std::path::Path;

use sluice_core::policy::PolicyError;
use sluice_core::policy::coalesce::Coalesce;
use sluice_core::policy::idempotency::Idempotency;
use sluice_core::policy::rate_limit::RateLimit;
use sluice_core::policy::shard_route::ShardRoute;

use crate::Refusal;
use crate::arguments::Filter;

pub fn run(filter: Filter, file: &Path) -> Result<(), Refusal> {
    let shown = file.display();
    let policy = read(file)?;
    let found: Result<String, PolicyError> = match filter {
        Filter::Coalesce => {
            Coalesce::load(&policy).map(|policy| count(policy.routes.len(), "route"))
        }
        Filter::RateLimit => {
            RateLimit::load(&policy).map(|policy| count(policy.limits.len(), "limit"))
        }
        Filter::Idempotency => {
            Idempotency::load(&policy).map(|policy| count(policy.routes.len(), "route"))
        }
        Filter::ShardRoute => {
            ShardRoute::load(&policy).map(|policy| count(policy.routes.len(), "route"))
        }
    };
    let found = found.map_err(|problem| Refusal::No(format!("{shown}: {problem}")))?;
    println!("{shown}: ok, {found}");
    Ok(())
}

/// A file's bytes.
pub fn read(file: &Path) -> Result<Vec<u8>, Refusal> {
    std::fs::read(file).map_err(|error| Refusal::No(format!("{}: {error}", file.display())))
}

fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
