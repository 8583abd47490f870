//! Where the records are: in Redis, or in etcd.

use sluice_core::idempotency::scope::Scope;
use sluice_core::idempotency::scripts::{Resolution, Resolved};
use sluice_core::policy::idempotency::{Idempotency, Records};

use super::etcd::Etcd;
use super::record::Record;
use super::servers::Servers;
use super::voters::Voters;
use crate::Refusal;
use crate::arguments;

pub enum Store {
    Redis(Servers),
    Redlock(Voters),
    Etcd(Etcd),
}

impl Store {
    /// The one that the policy names.
    pub fn open(given: &arguments::Store, policy: &Idempotency) -> Result<Self, Refusal> {
        match &policy.records {
            Records::Redis(voters) if !voters.others.is_empty() => {
                Voters::connect(&given.redis, voters).map(Self::Redlock)
            }
            Records::Redis(voters) => {
                Servers::connect(&given.redis, &voters.redis).map(Self::Redis)
            }
            Records::Etcd(etcd) => Etcd::connect(&given.etcd, etcd).map(Self::Etcd),
        }
    }

    /// Each record, once.
    pub fn each(
        &mut self,
        policy: &Idempotency,
        see: &mut dyn FnMut(&Record),
    ) -> Result<(), Refusal> {
        match self {
            Self::Redis(servers) => servers.each(policy, see),
            Self::Redlock(voters) => voters.each(policy, see),
            Self::Etcd(etcd) => etcd.each(policy, see),
        }
    }

    /// The record, which must be there.
    pub fn find(&mut self, policy: &Idempotency, scope: &Scope) -> Result<Record, Refusal> {
        let found = match self {
            Self::Redis(servers) => servers.find(policy, scope)?,
            Self::Redlock(voters) => voters.find(policy, scope)?,
            Self::Etcd(etcd) => etcd.find(policy, scope)?,
        };
        found.ok_or_else(|| Refusal::No(format!("no record {}", scope.hex())))
    }

    /// An operator's word on the execution with this fence. `force`: although its lease still runs.
    pub fn resolve(
        &mut self,
        policy: &Idempotency,
        (scope, fence): (&Scope, u64),
        force: bool,
        resolution: &Resolution,
    ) -> Result<Resolved, Refusal> {
        match self {
            Self::Redis(servers) => servers.resolve(policy, (scope, fence), force, resolution),
            Self::Redlock(voters) => voters.resolve(policy, (scope, fence), force, resolution),
            Self::Etcd(etcd) => etcd.resolve(policy, (scope, fence), force, resolution),
        }
    }
}
