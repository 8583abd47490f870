//! `sluice idem`: the records of idempotency keys.

mod etcd;
mod record;
mod resolve;
pub mod servers;
mod show;
mod store;
mod voters;

use std::path::Path;

use sluice_core::idempotency::scope::Scope;
use sluice_core::policy::idempotency::Idempotency;

use self::store::Store;
use crate::Refusal;
use crate::arguments::{self, Idem, Which};
use crate::check;

pub fn run(command: Idem) -> Result<(), Refusal> {
    match command {
        Idem::List {
            store,
            state,
            route,
            json,
        } => {
            let (policy, mut records) = open(&store)?;
            show::list(&policy, &mut records, &state, route.as_deref(), json)
        }
        Idem::Show { store, which, body } => {
            let (policy, mut records) = open(&store)?;
            let scope = scope(&policy, &which)?;
            show::one(&policy, &mut records, &scope, body.as_deref())
        }
        Idem::Resolve {
            store,
            which,
            word,
            in_flight,
            yes,
        } => {
            let (policy, mut records) = open(&store)?;
            let scope = scope(&policy, &which)?;
            resolve::run(&policy, &mut records, &scope, &word, in_flight, yes)
        }
    }
}

fn open(given: &arguments::Store) -> Result<(Idempotency, Store), Refusal> {
    let policy = load(&given.policy)?;
    let store = Store::open(given, &policy)?;
    Ok((policy, store))
}

fn load(file: &Path) -> Result<Idempotency, Refusal> {
    Idempotency::load(&check::read(file)?)
        .map_err(|problem| Refusal::No(format!("{}: {problem}", file.display())))
}

fn scope(policy: &Idempotency, which: &Which) -> Result<Scope, Refusal> {
    match (&which.record, &which.route, &which.key) {
        (Some(record), ..) => Scope::from_hex(record).ok_or_else(|| {
            Refusal::No(format!(
                "found record {record:?}, expected 64 digits, as `sluice idem list` shows them"
            ))
        }),
        (None, Some(route), Some(key)) => {
            policy.scope(route, &which.scope, key).map_err(Refusal::No)
        }
        _ => Err(Refusal::No(
            "found no record, expected one, or --route, --scope and --key".to_owned(),
        )),
    }
}

pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
