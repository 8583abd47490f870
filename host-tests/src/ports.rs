//! Ports for servers that this process starts.
//!
//! They lie below the range from which Linux takes the ports of outgoing connections, so a port that is free stays
//! free until its server binds it, also across a restart; and none is given out twice.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::sync::Mutex;

const FIRST: u16 = 11_000;
const COUNT: u16 = 10_000;
/// The distance from a Redis Cluster node's port to its bus port.
pub const BUS: u16 = 10_000;

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// A port on which nothing listens; the one [`BUS`] above it is free as well.
///
/// # Panics
/// When no port is left.
#[must_use]
pub fn free() -> u16 {
    let mut given = GIVEN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = given.get_or_insert_default();
    for _ in 0..1000 {
        let random = RandomState::new().hash_one(given.len());
        let port = FIRST + u16::try_from(random % u64::from(COUNT)).unwrap();
        if !given.contains(&port) && is_free(port) && is_free(port + BUS) {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}
