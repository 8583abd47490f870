//! The filter of one guard in Redis, and the ids that came since it was built.

use std::time::Duration;

use redis::{Client, Connection, FromRedisValue};
use sluice_core::bloom::{Filter, HEADER_BYTES, Loading};
use sluice_core::guard::scripts::{ADD_TEXT, Keys, SWITCH_TEXT};
use sluice_core::guard::{KEPT, MAX_ADDED};

use crate::Refusal;

const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a filter in one command.
const PIECE: usize = 1 << 20;
/// Ids in one reply.
const PAGE: usize = 5_000;
/// What a build that did not come to its end leaves is gone after so many seconds.
const LEFT_OVER: u64 = 3_600;

pub struct Store {
    connection: Connection,
    pub keys: Keys,
}

/// What there was when a build began.
pub struct Before {
    header: Vec<u8>,
    /// The place of the last id that had come.
    last: String,
    /// Milliseconds since the Unix epoch, by Redis's clock.
    pub now: u64,
}

impl Before {
    /// How many ids went into the filter that there was.
    pub fn ids(&self) -> Option<u64> {
        let mut loading = Loading::default();
        loading.push(&self.header).ok()?;
        loading.ids()
    }
}

impl Store {
    pub fn connect(url: &str, prefix: &str, key: &str) -> Result<Self, Refusal> {
        let connect = || {
            let connection = Client::open(url)?.get_connection_with_timeout(PATIENCE)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            connection.set_write_timeout(Some(PATIENCE))?;
            Ok(connection)
        };
        Ok(Self {
            connection: connect().map_err(refusal)?,
            keys: Keys::new(prefix, key),
        })
    }

    fn ask<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, Refusal> {
        command.query(&mut self.connection).map_err(refusal)
    }

    pub fn before(&mut self) -> Result<Before, Refusal> {
        let (seconds, micros): (u64, u64) = self.ask(&redis::cmd("TIME"))?;
        let header = redis::cmd("GETRANGE")
            .arg(&self.keys.filter)
            .arg(0)
            .arg(HEADER_BYTES - 1)
            .take();
        let last = redis::cmd("ZRANGE")
            .arg(&self.keys.added)
            .arg(-1)
            .arg(-1)
            .arg("WITHSCORES")
            .take();
        let last: Vec<Vec<u8>> = self.ask(&last)?;
        let last = last.get(1).cloned().unwrap_or_else(|| b"0".to_vec());
        Ok(Before {
            header: self.ask(&header)?,
            last: String::from_utf8_lossy(&last).into_owned(),
            now: seconds * 1_000 + micros / 1_000,
        })
    }

    /// How many ids came since the filter was built.
    pub fn count_added(&mut self) -> Result<u64, Refusal> {
        let count = redis::cmd("ZCARD").arg(&self.keys.added).take();
        self.ask(&count)
    }

    /// Hands over each of them.
    pub fn each_added(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), Refusal> {
        let mut cursor = b"0".to_vec();
        loop {
            let after = [b"(", cursor.as_slice()].concat();
            let page = redis::cmd("ZRANGEBYSCORE")
                .arg(&self.keys.added)
                .arg(after)
                .arg("+inf")
                .arg("WITHSCORES")
                .arg("LIMIT")
                .arg(0)
                .arg(PAGE)
                .take();
            let page: Vec<(Vec<u8>, Vec<u8>)> = self.ask(&page)?;
            let Some((_, last)) = page.last() else {
                return Ok(());
            };
            cursor.clone_from(last);
            page.iter().for_each(|(id, _)| take(id));
        }
    }

    /// Puts a filter in the place of the old one, which must be what it was.
    pub fn replace(&mut self, filter: &Filter, before: &Before) -> Result<(), Refusal> {
        let new = format!("{}:new:{}", self.keys.filter, filter.salt());
        for piece in filter.to_blob().chunks(PIECE) {
            self.ask::<()>(redis::cmd("APPEND").arg(&new).arg(piece))?;
            self.ask::<()>(redis::cmd("EXPIRE").arg(&new).arg(LEFT_OVER))?;
        }
        let switch = redis::cmd("EVAL")
            .arg(SWITCH_TEXT)
            .arg(3)
            .arg(&self.keys.filter)
            .arg(&self.keys.added)
            .arg(&new)
            .arg(&before.header)
            .arg(&before.last)
            .arg(KEPT)
            .arg(MAX_ADDED)
            .take();
        match self.ask(&switch)? {
            1 => Ok(()),
            0 => Err(Refusal::No(
                "another build has come to its end meanwhile; begin again".to_owned(),
            )),
            other => Err(Refusal::Away(format!(
                "redis: found {other}, expected the new filter to be there still; is there too little memory?"
            ))),
        }
    }

    /// Adds ids to those that came since the filter was built. How many are new.
    pub fn add(&mut self, ids: &[Vec<u8>]) -> Result<i64, Refusal> {
        let mut add = redis::cmd("EVAL");
        add.arg(ADD_TEXT).arg(1).arg(&self.keys.added);
        add.arg(MAX_ADDED);
        for id in ids {
            add.arg(id);
        }
        match self.ask(&add)? {
            new @ 0.. => Ok(new),
            _ => Err(Refusal::No(format!(
                "found {MAX_ADDED} ids that came since the filter was built, and there is room for no more: build it anew"
            ))),
        }
    }
}

fn refusal(error: redis::RedisError) -> Refusal {
    Refusal::Away(format!("redis: {error}"))
}
