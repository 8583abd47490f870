//! Several Redis that vote: a record counts where most of them have it, and a word on it when most of them took it.

use std::collections::BTreeSet;

use redis::{Connection, IntoConnectionInfo};
use sluice_core::idempotency::scope::Scope;
use sluice_core::idempotency::scripts::{Keys, Resolution, Resolved, resolved};
use sluice_core::policy::idempotency::{Idempotency, Voters as Policy};

use super::record::{Record, What};
use super::servers::{ask, connect, refusal, scan};
use crate::Refusal;

pub struct Voters {
    servers: Vec<Voter>,
    /// Those that are away too.
    all: usize,
}

struct Voter {
    /// Without what logs in.
    address: String,
    connection: Connection,
}

impl Voters {
    pub fn connect(urls: &[String], policy: &Policy) -> Result<Self, Refusal> {
        let all = policy.clusters().count();
        if urls.len() != all {
            return Err(Refusal::No(format!(
                "found {} --redis, expected {all}: each Redis of the policy's `redlock`",
                urls.len()
            )));
        }
        let mut servers = Vec::new();
        for url in urls {
            let info = url.as_str().into_connection_info().map_err(refusal)?;
            let address = info.addr().to_string();
            match connect(url, &policy.redis) {
                Ok(connection) => servers.push(Voter {
                    address,
                    connection,
                }),
                Err(error) => eprintln!("{address} is away: {error}"),
            }
        }
        if servers.len() <= all / 2 {
            return Err(Refusal::Away(format!(
                "redis: found {} of {all}, expected most of them",
                servers.len()
            )));
        }
        Ok(Self { servers, all })
    }

    fn quorum(&self) -> usize {
        self.all / 2 + 1
    }

    /// Each record that counts, once.
    pub fn each(
        &mut self,
        policy: &Idempotency,
        see: &mut dyn FnMut(&Record),
    ) -> Result<(), Refusal> {
        let keys = policy.keys();
        let mut scopes = BTreeSet::new();
        for server in &mut self.servers {
            scan(&mut server.connection, &keys, |_, _, scope| {
                scopes.insert(scope);
                Ok(())
            })?;
        }
        for scope in scopes {
            if let Some(record) = self.find(policy, &scope)? {
                see(&record);
            }
        }
        Ok(())
    }

    /// What the gateways would find: an answer wherever it is, else what most have. What fewer have is the rest of an
    /// attempt that never had the key.
    pub fn find(&mut self, policy: &Idempotency, scope: &Scope) -> Result<Option<Record>, Refusal> {
        let name = policy.keys().record(scope);
        let mut found = Vec::new();
        for server in &mut self.servers {
            found.extend(Record::read(&mut server.connection, &name, *scope)?);
        }
        let away = self.all - self.servers.len();
        let is_done = |record: &Record| matches!(record.what, What::Completed { .. });
        if let Some(done) = found.iter().position(is_done) {
            return Ok(Some(found.swap_remove(done)));
        }
        if found.len() + away < self.quorum() {
            return Ok(None);
        }
        let alike = |record: &Record| {
            let same = found.iter().filter(|other| other.token == record.token);
            same.count()
        };
        let most = (0..found.len()).max_by_key(|index| found.get(*index).map(alike));
        Ok(most.map(|index| found.swap_remove(index)))
    }

    pub fn resolve(
        &mut self,
        policy: &Idempotency,
        (scope, fence): (&Scope, u64),
        force: bool,
        resolution: &Resolution,
    ) -> Result<Resolved, Refusal> {
        let shown = match self.find(policy, scope)? {
            None => return Ok(Resolved::Absent),
            Some(record) if record.fence != Some(fence) => return Ok(Resolved::Changed),
            Some(record) => record,
        };
        let quorum = self.quorum();
        let (mut did, mut did_not) = (Vec::new(), Vec::new());
        for server in &mut self.servers {
            let answer = server.resolve(policy, &shown, force, resolution);
            let free = matches!(resolution, Resolution::Free);
            match answer {
                Ok(Resolved::Yes) => did.push(server.address.clone()),
                Ok(Resolved::Absent) if free => did.push(server.address.clone()),
                other => did_not.push((server.address.clone(), other)),
            }
        }
        if did.len() >= quorum {
            for (address, answer) in did_not {
                eprintln!("not at {address}: {}", in_words(&answer));
            }
            return Ok(Resolved::Yes);
        }
        let not: Vec<String> = did_not
            .iter()
            .map(|(address, answer)| format!("{address} ({})", in_words(answer)))
            .collect();
        Err(Refusal::Away(format!(
            "found it done at {} of {} Redis [{}], expected at least {quorum}; not at {}: say it again, or it does not hold",
            did.len(),
            self.all,
            did.join(", "),
            not.join(", ")
        )))
    }
}

impl Voter {
    /// The same execution has another fence here.
    fn resolve(
        &mut self,
        policy: &Idempotency,
        shown: &Record,
        force: bool,
        resolution: &Resolution,
    ) -> Result<Resolved, Refusal> {
        let (keys, scope) = (policy.keys(), &shown.scope);
        let here = Record::read(&mut self.connection, &keys.record(scope), *scope)?;
        let fence = match here {
            None => return Ok(Resolved::Absent),
            Some(Record {
                what: What::Completed { .. },
                ..
            }) => return Ok(Resolved::Completed),
            Some(Record { token, fence, .. }) if token == shown.token => fence,
            Some(_) => return Ok(Resolved::Changed),
        };
        let Some(fence) = fence else {
            return Ok(Resolved::Corrupt);
        };
        let command = Keys::whole(&keys.resolve(scope, fence, force, resolution));
        ask(&mut self.connection, &command, |reply| resolved(reply).ok())
    }
}

fn in_words(answer: &Result<Resolved, Refusal>) -> &'static str {
    match answer {
        Ok(Resolved::Yes) => "done",
        Ok(Resolved::Absent) => "no record there",
        Ok(Resolved::Completed) => "it has an answer there",
        Ok(Resolved::InFlight { .. }) => "its lease still runs there",
        Ok(Resolved::Changed) => "another request there",
        Ok(Resolved::Corrupt) => "it cannot be read there",
        Err(_) => "no reply",
    }
}
