//! An operator's word on a request of which nobody knows whether it was carried out.

use std::io::{BufRead, Write};
use std::time::Duration;

use sluice_core::idempotency::scope::Scope;
use sluice_core::idempotency::scripts::{Resolution, Resolved};
use sluice_core::idempotency::store::Kind;
use sluice_core::idempotency::stored::{Stored, is_never_kept};
use sluice_core::policy::idempotency::Idempotency;
use sluice_core::units::format_duration;

use super::environment;
use super::record::{Record, What};
use super::show::in_full;
use super::store::Store;
use crate::Refusal;
use crate::arguments::Word;
use crate::check;

pub fn run(
    policy: &Idempotency,
    store: &mut Store,
    scope: &Scope,
    word: &Word,
    in_flight: bool,
    yes: bool,
) -> Result<(), Refusal> {
    let record = store.find(policy, scope)?;
    let Some(fence) = record.fence.filter(|_| is_open(&record)) else {
        print!("{}", in_full(&record));
        let why = match record.what {
            What::Corrupt => {
                "it cannot be read; delete it in the store once you know what became of the request"
            }
            _ => "it has an answer already, which never changes",
        };
        return Err(Refusal::No(why.to_owned()));
    };
    if matches!(record.what, What::InFlight { .. }) && !in_flight {
        print!("{}", in_full(&record));
        return Err(Refusal::No(
            "it is being carried out; wait until it is unknown, or say --in-flight".to_owned(),
        ));
    }
    let (resolution, what) = resolution(policy, &record, word)?;
    if !yes {
        print!("{}", in_full(&record));
        confirm(&what)?;
    }
    match store.resolve(policy, (scope, fence), in_flight, &resolution)? {
        Resolved::Yes => {
            println!("done: {what}");
            Ok(())
        }
        Resolved::Absent => Err(absent(&resolution)),
        Resolved::Completed => Err(Refusal::No(
            "it has got an answer meanwhile, which never changes".to_owned(),
        )),
        Resolved::InFlight { left } => Err(Refusal::No(format!(
            "it is being carried out, its lease ends in {}",
            format_duration(left)
        ))),
        Resolved::Changed => Err(Refusal::No(
            "it is another request by now; look again".to_owned(),
        )),
        Resolved::Corrupt => Err(Refusal::No("it cannot be read".to_owned())),
    }
}

fn is_open(record: &Record) -> bool {
    matches!(record.what, What::InFlight { .. } | What::Unknown { .. })
}

fn absent(resolution: &Resolution) -> Refusal {
    Refusal::No(match resolution {
        Resolution::Free => "it is gone already".to_owned(),
        Resolution::Complete { .. } => "it is gone; retries will be carried out".to_owned(),
    })
}

/// What is done, and in words.
fn resolution(
    policy: &Idempotency,
    record: &Record,
    word: &Word,
) -> Result<(Resolution, String), Refusal> {
    let (kind, status) = match (word.completed, word.lost) {
        (Some(status), _) => (Kind::Answer, status),
        (None, Some(status)) => (Kind::Tombstone, status),
        (None, None) => {
            let what = "the next request with the key will be carried out";
            return Ok((Resolution::Free, what.to_owned()));
        }
    };
    let mut fields = Vec::new();
    for (name, value) in &word.header {
        if is_never_kept(name.as_bytes()) {
            return Err(Refusal::No(format!(
                "found the field {name:?}, expected one that can be replayed: this one belongs to one connection, client or moment"
            )));
        }
        fields.push((name.clone().into_bytes(), value.clone().into_bytes()));
    }
    let body = word
        .body
        .as_ref()
        .map_or(Ok(Vec::new()), |file| check::read(file))?;
    let retention = match (word.retention, retention(policy, &record.route)) {
        (Some(given), _) => given,
        (None, Some(of_route)) => of_route,
        (None, None) => {
            return Err(Refusal::No(format!(
                "found no route {:?} in the policy, expected --retention",
                record.route
            )));
        }
    };
    let what = match kind {
        Kind::Answer => format!(
            "retries get {status} with {} header fields and {} bytes of body for {}",
            fields.len(),
            body.len(),
            format_duration(retention)
        ),
        Kind::Tombstone => format!(
            "retries are told for {} that it was answered {status} and that the answer was not kept",
            format_duration(retention)
        ),
    };
    let stored = Stored {
        status,
        fields,
        body: body.into(),
    };
    let at_rest = policy.at_rest.settings(environment).map_err(Refusal::No)?;
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce)
        .map_err(|error| Refusal::No(format!("no random numbers: {error}")))?;
    let name = policy.keys().record(&record.scope);
    let bytes = at_rest.seal_for(&stored, kind, &name, nonce);
    Ok((
        Resolution::Complete {
            kind,
            bytes,
            retention,
        },
        what,
    ))
}

fn retention(policy: &Idempotency, route: &str) -> Option<Duration> {
    let mut routes = policy.routes.iter().map(|route| &route.settings);
    let found = routes.find(|candidate| candidate.name == route);
    found.map(|route| route.retention)
}

fn confirm(what: &str) -> Result<(), Refusal> {
    print!("\n{what}.\nThis cannot be undone. Type yes to go on: ");
    let unreadable = |error: std::io::Error| Refusal::No(error.to_string());
    std::io::stdout().flush().map_err(unreadable)?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(unreadable)?;
    if line.trim() == "yes" {
        Ok(())
    } else {
        Err(Refusal::No("nothing was done".to_owned()))
    }
}
