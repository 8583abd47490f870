//! A consumer of the outbox: writes each event to a file, once, however often it is delivered.
//!
//! ```text
//! cargo run -p sluice-cli --example outbox -- redis://127.0.0.1:6379 policy.json events.txt
//! ```
//!
//! The streams deliver at least once: the filter may add an event again whose commit it had to repeat, and Redis delivers
//! again what was not acknowledged. An event is known by its record and its fence, and the effect and the knowledge of it
//! must be one write. Here both are a line of a file; in a service they are rows of one transaction.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use redis::Connection;
use redis::streams::{StreamId, StreamReadReply};
use sluice_core::idempotency::scripts::Keys;
use sluice_core::policy::idempotency::Idempotency;

/// Consumers of one group share the events; each group gets all.
const GROUP: &str = "events-to-file";
const CONSUMER: &str = "only";

/// What was done, in the order in which it was done.
pub struct Ledger {
    file: File,
    known: BTreeSet<String>,
}

impl Ledger {
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut known = BTreeSet::new();
        for line in BufReader::new(&file).lines() {
            let line = line?;
            known.insert(line.split('\t').next().unwrap_or_default().to_owned());
        }
        Ok(Self { file, known })
    }

    /// False when it was there before.
    fn add(&mut self, event: &StreamId) -> std::io::Result<bool> {
        let text = |field: &str| event.get::<String>(field).unwrap_or_default();
        let identity = format!("{}/{}", text("scope"), text("fence"));
        if !self.known.insert(identity.clone()) {
            return Ok(false);
        }
        // The key is the client's own text: quoted, so that it cannot break the line.
        let line = format!(
            "{identity}\t{}\t{:?}\t{}\n",
            text("route"),
            text("key"),
            text("status")
        );
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()?;
        Ok(true)
    }
}

/// Takes what is there; gives how many events were new.
pub fn consume(
    redis: &mut Connection,
    keys: &Keys,
    ledger: &mut Ledger,
) -> Result<usize, Box<dyn Error>> {
    let mut new = 0;
    for stream in keys.outboxes() {
        let made: redis::RedisResult<()> = redis::cmd("XGROUP")
            .arg("CREATE")
            .arg(&stream)
            .arg(GROUP)
            .arg("0")
            .arg("MKSTREAM")
            .query(redis);
        match made {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error.into()),
            _ => {}
        }
        // First what was delivered and not acknowledged, by a run that died; then what is new.
        for from in ["0", ">"] {
            loop {
                let reply: Option<StreamReadReply> = redis::cmd("XREADGROUP")
                    .arg("GROUP")
                    .arg(GROUP)
                    .arg(CONSUMER)
                    .arg("COUNT")
                    .arg(100)
                    .arg("STREAMS")
                    .arg(&stream)
                    .arg(from)
                    .query(redis)?;
                let events: Vec<StreamId> = reply
                    .into_iter()
                    .flat_map(|reply| reply.keys)
                    .flat_map(|key| key.ids)
                    .collect();
                if events.is_empty() {
                    break;
                }
                for event in events {
                    new += usize::from(ledger.add(&event)?);
                    // After the effect: before it, an event would be lost with the process.
                    let _: u64 = redis::cmd("XACK")
                        .arg(&stream)
                        .arg(GROUP)
                        .arg(&event.id)
                        .query(redis)?;
                }
            }
        }
    }
    Ok(new)
}

#[allow(dead_code)] // The tests include this file as a module.
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, policy, file] = arguments.as_slice() else {
        return Err("expected a Redis URL, a policy and a file".into());
    };
    let policy = Idempotency::load(&std::fs::read(policy)?).map_err(|error| error.to_string())?;
    let mut redis = redis::Client::open(url.as_str())?.get_connection()?;
    let mut ledger = Ledger::open(Path::new(file))?;
    loop {
        let new = consume(&mut redis, &policy.keys(), &mut ledger)?;
        if new == 0 {
            std::thread::sleep(std::time::Duration::from_millis(500));
        } else {
            println!("{new} events");
        }
    }
}
