//! Records for people to read.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sluice_core::idempotency::scope::Scope;
use sluice_core::idempotency::store::Kind;
use sluice_core::idempotency::stored::Stored;
use sluice_core::policy::idempotency::Idempotency;
use sluice_core::units::format_duration;

use super::environment;
use super::record::{Record, What};
use super::store::Store;
use crate::Refusal;
use crate::arguments::State;

pub fn list(
    policy: &Idempotency,
    store: &mut Store,
    states: &[State],
    route: Option<&str>,
    as_json: bool,
) -> Result<(), Refusal> {
    let wanted = match states {
        [] => &[State::Unknown, State::InFlight],
        states => states,
    };
    let mut count = 0;
    store.each(policy, &mut |record| {
        let is_wanted =
            wanted.contains(&record.state()) && route.is_none_or(|route| record.route == route);
        if is_wanted {
            count += 1;
            if as_json {
                println!("{}", as_object(record));
            } else {
                println!("{}", as_line(record));
            }
        }
    })?;
    if !as_json {
        let plural = if count == 1 { "" } else { "s" };
        eprintln!("{count} record{plural}");
    }
    Ok(())
}

pub fn one(
    policy: &Idempotency,
    store: &mut Store,
    scope: &Scope,
    body: Option<&Path>,
) -> Result<(), Refusal> {
    let record = store.find(policy, scope)?;
    print!("{}", in_full(&record));
    let What::Completed { kind, bytes } = &record.what else {
        return match body {
            Some(_) => Err(Refusal::No("it has no answer".to_owned())),
            None => Ok(()),
        };
    };
    let at_rest = policy.at_rest.settings(environment).map_err(Refusal::No)?;
    let opened = at_rest.open(&bytes.clone().into(), *kind, &policy.keys().record(scope));
    let Ok(Stored {
        status,
        fields,
        body: held,
    }) = opened
    else {
        return Err(Refusal::No(
            "its answer cannot be opened: it is damaged, or of a key that the policy does not have"
                .to_owned(),
        ));
    };
    println!("status     {status}");
    for (name, value) in fields {
        println!(
            "field      {}: {}",
            plain(&String::from_utf8_lossy(&name)),
            plain(&String::from_utf8_lossy(&value))
        );
    }
    match (kind, body) {
        (Kind::Tombstone, Some(_)) => {
            return Err(Refusal::No(
                "of its answer only the status was kept".to_owned(),
            ));
        }
        (Kind::Tombstone, None) => println!("body       not kept"),
        (Kind::Answer, None) => println!("body       {} bytes", held.len()),
        (Kind::Answer, Some(file)) => {
            std::fs::write(file, &held)
                .map_err(|error| Refusal::No(format!("{}: {error}", file.display())))?;
            println!("body       {} bytes, in {}", held.len(), file.display());
        }
    }
    Ok(())
}

fn state(record: &Record) -> &'static str {
    match record.what {
        What::InFlight { .. } => "in-flight",
        What::Unknown { .. } => "unknown",
        What::Completed {
            kind: Kind::Answer, ..
        } => "completed",
        What::Completed {
            kind: Kind::Tombstone,
            ..
        } => "completed, answer not kept",
        What::Corrupt => "corrupt",
    }
}

fn since(record: &Record) -> Option<String> {
    match record.what {
        What::InFlight { lease_left } => Some(format!("lease ends in {}", rough(lease_left))),
        What::Unknown { since } => Some(format!("for {}", rough(since))),
        What::Completed { .. } | What::Corrupt => None,
    }
}

fn as_line(record: &Record) -> String {
    let mut line = format!("{}  {}", record.scope.hex(), state(record));
    if let Some(since) = since(record) {
        let _ = write!(line, " {since}");
    }
    let _ = write!(
        line,
        "  route {}  key {:?}",
        plain(&record.route),
        record.key
    );
    line
}

fn as_object(record: &Record) -> serde_json::Value {
    let (lease_left, unknown_for) = match record.what {
        What::InFlight { lease_left } => (Some(lease_left), None),
        What::Unknown { since } => (None, Some(since)),
        What::Completed { .. } | What::Corrupt => (None, None),
    };
    let millis = |time: Option<Duration>| time.map(|time| time.as_millis() as u64);
    json!({
        "record": record.scope.hex(),
        "state": state(record).split(',').next(),
        "route": record.route,
        "key": record.key,
        "fence": record.fence,
        "started_us": record.started,
        "lease_left_ms": millis(lease_left),
        "unknown_for_ms": millis(unknown_for),
        "forgotten_in_ms": millis(record.left),
    })
}

pub fn in_full(record: &Record) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    line("record", record.scope.hex());
    line("route", plain(&record.route));
    line("key", format!("{:?}", record.key));
    let since = since(record).map_or(String::new(), |since| format!(" {since}"));
    line("state", format!("{}{since}", state(record)));
    if let Some(fence) = record.fence {
        line("fence", fence.to_string());
    }
    if let Some(left) = record.left {
        line("forgotten", format!("in {}", rough(left)));
    }
    text
}

/// Two units are enough for people.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    let whole = match seconds {
        0 => time.as_millis() as u64,
        1..3_600 => seconds * 1_000,
        3_600..86_400 => seconds / 60 * 60_000,
        _ => seconds / 3_600 * 3_600_000,
    };
    format_duration(Duration::from_millis(whole))
}

/// Without what a terminal would obey.
fn plain(text: &str) -> String {
    let visible = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    text.chars().map(visible).collect()
}
