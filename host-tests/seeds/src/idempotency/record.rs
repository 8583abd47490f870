//! What Redis holds in the end.

use sluice_core::redis::resp::{Reply, decode};
use sluice_emulator::World;
use std::collections::BTreeMap;
use std::time::Duration;

/// Fields by name.
pub type Fields = BTreeMap<String, Vec<u8>>;

/// A record of a key.
#[derive(Debug, Clone)]
pub struct Record {
    pub name: String,
    pub fields: Fields,
    pub expires: bool,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub records: Vec<Record>,
    /// Events of all partitions.
    pub events: Vec<Fields>,
    /// Other keys, and whether they expire.
    pub counters: usize,
    pub strange: Vec<String>,
    /// The time of Redis less the virtual time, in microseconds.
    pub epoch: i128,
}

impl Record {
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        std::str::from_utf8(self.fields.get(field)?).ok()
    }

    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        self.text(field)?.parse().ok()
    }

    /// Whether it holds an answer, or a tombstone.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        matches!(self.text("state"), Some("answer" | "tombstone"))
    }
}

impl Held {
    /// A time of Redis in virtual time, as long as its clock has not jumped.
    #[must_use]
    pub fn virtual_time(&self, micros: u64) -> Duration {
        Duration::from_micros(u64::try_from(i128::from(micros) - self.epoch).unwrap_or(0))
    }

    /// Looks into the Redis of a world.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn read(world: &mut World) -> Self {
        let mut held = Self::default();
        let reply = world.redis_command(&["TIME"]);
        let Ok((Reply::Array(time), _)) = decode(&reply) else {
            panic!("Redis says {:?}", String::from_utf8_lossy(&reply));
        };
        let [seconds, micros] = [0, 1].map(|place| match &time[place] {
            Reply::Bulk(text) => String::from_utf8_lossy(text).parse::<i128>().unwrap(),
            other => panic!("{other:?}"),
        });
        let now = i128::try_from(world.now().as_micros()).unwrap();
        held.epoch = seconds * 1_000_000 + micros - now;
        let keys = world.redis().keys();
        for key in keys {
            let name = String::from_utf8_lossy(&key.name).into_owned();
            match key.kind {
                "hash" => {
                    let reply = world.redis_command(&["HGETALL", &name]);
                    held.records.push(Record {
                        fields: fields(&decode(&reply).unwrap().0),
                        expires: key.expires.is_some(),
                        name,
                    });
                }
                "stream" if name.ends_with(":outbox") => {
                    let reply = world.redis_command(&["XRANGE", &name, "-", "+"]);
                    let Ok((Reply::Array(events), _)) = decode(&reply) else {
                        panic!("no events");
                    };
                    for event in events {
                        match event {
                            Reply::Array(parts) => held.events.push(fields(&parts[1])),
                            other => panic!("{other:?}"),
                        }
                    }
                }
                "string" if name.ends_with(":fence") => held.counters += 1,
                _ => held.strange.push(name),
            }
        }
        held
    }
}

fn fields(reply: &Reply<'_>) -> Fields {
    let Reply::Array(parts) = reply else {
        panic!("{reply:?}");
    };
    let bytes = |reply: &Reply<'_>| match reply {
        Reply::Bulk(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    };
    let pairs = parts.chunks(2);
    pairs
        .map(|pair| {
            let name = String::from_utf8_lossy(&bytes(&pair[0])).into_owned();
            (name, bytes(&pair[1]))
        })
        .collect()
}
