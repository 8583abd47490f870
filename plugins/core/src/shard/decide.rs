//! What becomes of one request: its shard, the role and the zone, or a refusal.

use super::migration::{Freeze, Stage};
use super::{Directory, Place, Problem};
use crate::policy::shard_route::{Fallback, Found, RoleRule, Route, Sticky, Target, Zone};
use crate::selector::Request;

/// A copy of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica,
}

impl Role {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

/// What the head of a request says, whatever its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// It only reads.
    pub read: bool,
    /// It wants the primary.
    pub forced: bool,
    /// The zone, unless it is the shard's.
    pub zone: Option<String>,
}

impl Head {
    #[must_use]
    pub fn of(route: &Route, request: &impl Request) -> Self {
        let target = route.target.as_ref();
        let force = match target.and_then(|target| target.role.as_ref()) {
            Some(RoleRule::Split { force_primary, .. }) => force_primary.as_deref(),
            _ => None,
        };
        Self {
            read: target.is_some_and(|target| target.reads.matches(request)),
            forced: force.is_some_and(|name| request.first(name).is_some()),
            zone: zone(&route.zone, request),
        }
    }
}

fn zone(rule: &Zone, request: &impl Request) -> Option<String> {
    match rule {
        Zone::Shard => None,
        Zone::Fixed(zone) => Some(zone.clone()),
        Zone::Environment { value, .. } => value.clone(),
        Zone::Header {
            name,
            zones,
            default,
        } => {
            let value = request.first(name);
            let listed = value.and_then(|value| {
                let mut zones = zones.iter();
                zones.find(|(listed, _)| listed.as_bytes() == &*value)
            });
            listed.map(|(_, zone)| zone).or(default.as_ref()).cloned()
        }
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub place: Place,
    pub role: Option<Role>,
    /// The other shard that this write has to reach.
    pub dual_write: Option<u16>,
}

/// Why a request is refused, and how many seconds it is to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub problem: Problem,
    pub retry_after: u64,
}

impl Refusal {
    /// What may have passed in a second.
    #[must_use]
    pub fn soon(problem: Problem) -> Self {
        Self {
            problem,
            retry_after: 1,
        }
    }
}

/// Decides. `written` says whether a key was written a moment ago, and is asked only where that matters; `random` is
/// asked only for requests without a key.
///
/// # Errors
/// When the request goes nowhere.
pub fn decide(
    target: &Target,
    directory: &Directory,
    head: &Head,
    found: &Found,
    written: impl FnOnce(&Sticky, &[u8]) -> bool,
    random: impl FnOnce() -> u64,
) -> Result<Decision, Refusal> {
    let (place, key) = match found {
        Found::Key(key) => (directory.locate(key), Some(key.as_slice())),
        Found::Missing | Found::InBody => {
            let problem = Problem::KeyMissing;
            (lost(&target.on_missing, directory, problem, random)?, None)
        }
        Found::Invalid => {
            let problem = Problem::KeyInvalid;
            (lost(&target.on_invalid, directory, problem, random)?, None)
        }
    };
    if place.stage == Stage::Frozen
        && let Some(migration) = &directory.migration
        && (migration.freeze == Freeze::All || !head.read)
    {
        return Err(Refusal {
            problem: Problem::Frozen,
            retry_after: migration.retry_after,
        });
    }
    let role = target.role.as_ref().map(|rule| match rule {
        RoleRule::Primary => Role::Primary,
        RoleRule::Replica => Role::Replica,
        RoleRule::Split { .. } if !head.read || head.forced => Role::Primary,
        RoleRule::Split { sticky, .. } => {
            let just_written = sticky
                .as_ref()
                .zip(key)
                .is_some_and(|(sticky, key)| written(sticky, key));
            if just_written {
                Role::Primary
            } else {
                Role::Replica
            }
        }
    });
    Ok(Decision {
        place,
        role,
        dual_write: place.also.filter(|_| !head.read),
    })
}

fn lost(
    fallback: &Fallback,
    directory: &Directory,
    problem: Problem,
    random: impl FnOnce() -> u64,
) -> Result<Place, Refusal> {
    let refused = Refusal {
        problem,
        retry_after: 0,
    };
    match fallback {
        Fallback::Reject => Err(refused),
        Fallback::Spread => Ok(directory.spread(random())),
        Fallback::Shard(name) => directory
            .find(name)
            .map(|shard| directory.fixed(shard))
            .ok_or(refused),
    }
}

/// Whether an answer says that a write may have been carried out: all but 4xx do, 5xx too.
#[must_use]
pub fn may_have_written(status: u16) -> bool {
    !(400..500).contains(&status)
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
