//! What gateways have left for each other in Redis, in the end.

use sluice_core::redis::resp::{Reply, decode};
use sluice_emulator::World;

/// A flight.
#[derive(Debug, Clone)]
pub struct Record {
    pub database: u32,
    pub name: String,
    /// In how many milliseconds it goes; none where it stays.
    pub expires: Option<i64>,
    /// Somebody leads it.
    pub led: bool,
    /// The length of its answer.
    pub answer: usize,
}

/// All of them.
pub fn all(world: &mut World) -> Vec<Record> {
    let now = time(world);
    let redis = world.redis();
    let records = redis.keys().into_iter().map(|key| {
        let field = |field: &[u8]| redis.hash_field(key.database, &key.name, field);
        let lease = field(b"lease").and_then(|at| String::from_utf8(at).ok()?.parse().ok());
        Record {
            database: key.database,
            expires: key.expires.map(|at| at - now),
            led: lease.is_some_and(|at: i64| at > now),
            answer: field(b"blob").map_or(0, |blob| blob.len()),
            name: String::from_utf8_lossy(&key.name).into_owned(),
        }
    });
    records.collect()
}

/// Redis's own time, in milliseconds.
fn time(world: &mut World) -> i64 {
    let reply = world.redis_command(&["TIME"]);
    let Ok((Reply::Array(parts), _)) = decode(&reply) else {
        return 0;
    };
    let numbers = parts.iter().map(|part| match part {
        Reply::Bulk(text) => String::from_utf8_lossy(text).parse().unwrap_or(0),
        _ => 0,
    });
    let numbers: Vec<i64> = numbers.collect();
    numbers.first().unwrap_or(&0) * 1_000 + numbers.get(1).unwrap_or(&0) / 1_000
}
