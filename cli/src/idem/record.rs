//! One record, as it is in the store.

use std::time::Duration;

use redis::Connection;
use sluice_core::idempotency::scope::Scope;
use sluice_core::idempotency::store::Kind;

use super::servers::refusal;
use crate::Refusal;
use crate::arguments::State;

#[derive(Debug)]
pub struct Record {
    pub scope: Scope,
    pub what: What,
    pub route: String,
    pub key: String,
    pub fence: Option<u64>,
    /// Of the execution that has it, in Redis.
    pub token: Option<String>,
    /// By the clock of Redis, or of a gateway, in microseconds since 1970.
    pub started: Option<u64>,
    /// Until it is forgotten.
    pub left: Option<Duration>,
}

#[derive(Debug)]
pub enum What {
    InFlight { lease_left: Duration },
    Unknown { since: Duration },
    Completed { kind: Kind, bytes: Vec<u8> },
    Corrupt,
}

impl Record {
    pub fn state(&self) -> State {
        match self.what {
            What::InFlight { .. } => State::InFlight,
            What::Unknown { .. } => State::Unknown,
            What::Completed { .. } => State::Completed,
            What::Corrupt => State::Corrupt,
        }
    }

    /// Reads the record `name`; none when it is not there (any more).
    pub fn read(
        server: &mut Connection,
        name: &[u8],
        scope: Scope,
    ) -> Result<Option<Self>, Refusal> {
        const FIELDS: [&str; 9] = [
            "v", "state", "fence", "lease", "answer", "route", "key", "started", "token",
        ];
        let fields: redis::RedisResult<Vec<Option<Vec<u8>>>> =
            redis::cmd("HMGET").arg(name).arg(&FIELDS).query(server);
        let fields = match fields {
            Ok(fields) => fields,
            // Something else than a hash.
            Err(error) if error.code() == Some("WRONGTYPE") => Vec::new(),
            Err(error) => return Err(refusal(error)),
        };
        let left: i64 = redis::cmd("PTTL")
            .arg(name)
            .query(server)
            .map_err(refusal)?;
        if left == -2 {
            return Ok(None);
        }
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(server).map_err(refusal)?;
        let now = seconds * 1_000_000 + micros;
        let field = |name: &str| {
            let index = FIELDS.iter().position(|known| *known == name)?;
            fields.get(index)?.as_deref()
        };
        let number = |name: &str| std::str::from_utf8(field(name)?).ok()?.parse::<u64>().ok();
        let text =
            |name: &str| String::from_utf8_lossy(field(name).unwrap_or_default()).into_owned();
        let fence = number("fence");
        let answer = field("answer").map(<[u8]>::to_vec);
        let what = match (field("state"), number("lease"), answer) {
            _ if field("v") != Some(b"1") || fence.is_none() => What::Corrupt,
            (Some(b"flight"), Some(ends), _) if now < ends => What::InFlight {
                lease_left: Duration::from_micros(ends - now),
            },
            (Some(b"flight"), Some(ended), _) => What::Unknown {
                since: Duration::from_micros(now - ended),
            },
            (Some(b"answer"), _, Some(bytes)) => What::Completed {
                kind: Kind::Answer,
                bytes,
            },
            (Some(b"tombstone"), _, Some(bytes)) => What::Completed {
                kind: Kind::Tombstone,
                bytes,
            },
            _ => What::Corrupt,
        };
        Ok(Some(Self {
            scope,
            what,
            route: text("route"),
            key: text("key"),
            fence,
            token: field("token").map(|_| text("token")),
            started: number("started"),
            left: u64::try_from(left).ok().map(Duration::from_millis),
        }))
    }
}
