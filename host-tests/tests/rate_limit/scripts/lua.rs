//! The filter's scripts on a Redis, with a clock that the test sets.

use std::io::{Read, Write};
use std::net::TcpStream;

use host_tests::redis::Redis;
use sluice_core::gcra::{PS_PER_US, Ps};
use sluice_core::rate_limit::scripts::{self, Refund, Take, Taken};
use sluice_core::redis::command::{Command, Script};
use sluice_core::redis::resp::{self, DecodeError, Reply};

const TAKE: &str = include_str!("../../../../plugins/core/src/rate_limit/take.lua");
const REFUND: &str = include_str!("../../../../plugins/core/src/rate_limit/refund.lua");

/// Writes a record for ever, and notes what it would expire after.
const WRITE: &str = "local function write(key, value, px, expiry)
  assert(px == 'PX')
  redis.call('SET', 'px:' .. key, expiry)
  return redis.call('SET', key, value)
end
";

/// Takes the clock from two arguments at the end, and expiries from Redis.
fn clocked(script: &str) -> Script {
    const TIME: &str = "redis.call('TIME')";
    const SET: &str = "redis.call('SET', ";
    assert_eq!(script.matches(TIME).count(), 1);
    assert_eq!(script.matches(SET).count(), 1);
    let script = script
        .replace(TIME, "{ARGV[#ARGV - 1], ARGV[#ARGV]}")
        .replace(SET, "write(");
    Script::new((WRITE.to_owned() + &script).leak())
}

/// A generator of numbers that are the same in every run (splitmix64).
pub struct Random(pub u64);

impl Random {
    /// From 0 to below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// A Redis and one connection to it.
pub struct Clocked {
    redis: Redis,
    stream: TcpStream,
    scripts: [Script; 2],
}

impl Clocked {
    pub fn start() -> Self {
        let redis = Redis::start();
        let stream = TcpStream::connect(redis.address()).expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        Self {
            redis,
            stream,
            scripts: [TAKE, REFUND].map(clocked),
        }
    }

    /// Sends bytes and hands on the one reply.
    fn exchange<T>(&mut self, bytes: &[u8], read: impl FnOnce(Reply<'_>) -> T) -> T {
        self.stream.write_all(bytes).expect("Redis reads");
        let mut answer = Vec::new();
        loop {
            match resp::decode(&answer) {
                Ok((reply, rest)) => {
                    assert!(rest.is_empty(), "one reply");
                    return read(reply);
                }
                Err(DecodeError::Truncated) => {}
                Err(DecodeError::Malformed) => panic!("no RESP: {answer:?}"),
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).expect("Redis answers");
            assert!(count > 0, "Redis closed the connection");
            answer.extend_from_slice(&chunk[..count]);
        }
    }

    fn query<T>(&mut self, words: &[&[u8]], read: impl FnOnce(Reply<'_>) -> T) -> T {
        let mut bytes = Vec::new();
        resp::encode(&mut bytes, words);
        self.exchange(&bytes, read)
    }

    fn at(command: &mut Command, now: Ps) {
        let microseconds = u64::try_from(now / PS_PER_US).expect("an instant");
        command.number(microseconds / 1_000_000);
        command.number(microseconds % 1_000_000);
    }

    /// Runs the script that takes; an error reply is an error.
    pub fn take(&mut self, items: &[Take], now: Ps) -> Result<Vec<Taken>, String> {
        let mut command = scripts::take(items);
        Self::at(&mut command, now);
        let mut bytes = Vec::new();
        assert!(command.encode(&mut bytes, &self.scripts, true));
        self.exchange(&bytes, |reply| taken(&reply, items.len()))
    }

    /// The same with the script as it is shipped.
    pub fn take_by_its_clock(&mut self, items: &[Take]) -> Vec<Taken> {
        let mut bytes = Vec::new();
        assert!(scripts::take(items).encode(&mut bytes, &scripts::all(), true));
        self.exchange(&bytes, |reply| taken(&reply, items.len()))
            .expect("an answer")
    }

    /// Runs the script that gives back; how many records it found.
    pub fn refund(&mut self, items: &[Refund], now: Ps) -> i64 {
        let mut command = scripts::refund(items);
        Self::at(&mut command, now);
        let mut bytes = Vec::new();
        assert!(command.encode(&mut bytes, &self.scripts, true));
        self.exchange(&bytes, integer)
    }

    /// The record of a key: a theoretical arrival time.
    pub fn record(&mut self, key: &[u8]) -> Option<Ps> {
        let text = self.get(key)?;
        let (whole, part) = text.split_once('.').expect("a record has two halves");
        assert_eq!(part.len(), 6, "{text}");
        Some(whole.parse::<Ps>().unwrap() * PS_PER_US + part.parse::<Ps>().unwrap())
    }

    pub fn get(&mut self, key: &[u8]) -> Option<String> {
        self.query(&[b"GET", key], |reply| match reply {
            Reply::Bulk(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Reply::Nil => None,
            other => panic!("GET answers {other:?}"),
        })
    }

    pub fn set(&mut self, key: &[u8], value: &str) {
        self.query(&[b"SET", key, value.as_bytes()], ok);
    }

    /// A value that is no string.
    pub fn make_list(&mut self, key: &[u8]) {
        self.query(&[b"DEL", key], integer);
        self.query(&[b"RPUSH", key, b"x"], integer);
    }

    pub fn keys(&mut self) -> i64 {
        self.query(&[b"DBSIZE"], integer)
    }

    pub fn flush(&mut self) {
        self.query(&[b"FLUSHALL"], ok);
    }

    /// What the record last written would expire after, in milliseconds; none since [`Clocked::forget_expiries`].
    pub fn expiry(&mut self, key: &[u8]) -> Option<Ps> {
        let text = self.get(&[b"px:", key].concat())?;
        Some(text.parse().expect("whole milliseconds"))
    }

    pub fn forget_expiries(&mut self) {
        let names: Vec<String> = self.redis.query(&["KEYS", "px:*"]);
        for name in names {
            self.query(&[b"DEL", name.as_bytes()], integer);
        }
    }

    /// The clock of Redis.
    pub fn clock(&mut self) -> Ps {
        let parts: Vec<u64> = self.redis.query(&["TIME"]);
        Ps::from(parts[0] * 1_000_000 + parts[1]) * PS_PER_US
    }

    pub fn time_to_live(&mut self, key: &[u8]) -> Ps {
        let milliseconds = self.query(&[b"PTTL", key], integer);
        Ps::try_from(milliseconds).expect("the key expires") * 1_000 * PS_PER_US
    }
}

fn taken(reply: &Reply<'_>, count: usize) -> Result<Vec<Taken>, String> {
    if let Reply::Error(text) = reply {
        return Err(String::from_utf8_lossy(text).into_owned());
    }
    Ok(scripts::taken(reply, count).expect("the clock, and three integers for each record"))
}

fn integer(reply: Reply<'_>) -> i64 {
    match reply {
        Reply::Integer(number) => number,
        other => panic!("an integer, not {other:?}"),
    }
}

fn ok(reply: Reply<'_>) {
    assert_eq!(reply, Reply::Simple(b"OK"));
}
