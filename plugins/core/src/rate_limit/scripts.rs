//! The two Redis scripts of rate limiting, their keys, arguments and replies.
//!
//! A key is `<prefix>:rl:{<subject>}:<limit>`. The subject is hashed (SHA-256, 128 bits of it): keys have one length
//! whatever a client sends, API keys and tokens are not readable in Redis, and the braces, which Redis Cluster places
//! a key by, cannot be forged. All limits of one subject therefore live on one node.

use crate::gcra::{PS_PER_US, Ps, Quota};
use crate::redis::command::{Command, Script};
use crate::redis::resp::Reply;
use crate::redis::trouble::Trouble;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Index of the script that takes tokens.
const TAKE: usize = 0;
/// Index of the script that gives tokens back.
const REFUND: usize = 1;

/// The scripts, in the order in which commands name them.
#[must_use]
pub fn all() -> Vec<Script> {
    vec![
        Script::new(include_str!("take.lua")),
        Script::new(include_str!("refund.lua")),
    ]
}

/// The name of a subject in Redis.
#[must_use]
pub fn digest(subject: &[u8]) -> String {
    let hash = Sha256::digest(subject);
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or_default())
}

/// The record's key.
#[must_use]
pub fn key(prefix: &str, digest: &str, limit: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + digest.len() + limit.len() + 8);
    key.extend_from_slice(prefix.as_bytes());
    key.extend_from_slice(b":rl:{");
    key.extend_from_slice(digest.as_bytes());
    key.extend_from_slice(b"}:");
    key.extend_from_slice(limit.as_bytes());
    key
}

/// One record's part in a taking.
#[derive(Debug, Clone)]
pub struct Take {
    pub key: Vec<u8>,
    pub quota: Quota,
    /// Fewer than this is a denial.
    pub need: u64,
    /// More than this is not taken.
    pub want: u64,
    pub shadow: bool,
}

/// Takes from all records or, when one that is no shadow denies, from none.
#[must_use]
pub fn take(items: &[Take]) -> Command {
    let mut command = Command::new(TAKE, items.len());
    for item in items {
        command.bytes(&item.key);
    }
    for item in items {
        for time in [item.quota.interval(), item.quota.tolerance()] {
            time_argument(&mut command, time);
        }
        command.number(item.need);
        command.number(item.want);
        command.number(u64::from(item.shadow));
    }
    command
}

/// Tokens that were taken from one record and are not used.
#[derive(Debug, Clone)]
pub struct Refund {
    pub key: Vec<u8>,
    pub quota: Quota,
    pub cost: u64,
    /// When they were taken, [`Taken::at`].
    pub taken_at: Ps,
}

/// Gives tokens back to each record.
#[must_use]
pub fn refund(items: &[Refund]) -> Command {
    let mut command = Command::new(REFUND, items.len());
    for item in items {
        command.bytes(&item.key);
    }
    for item in items {
        time_argument(&mut command, item.quota.interval() * Ps::from(item.cost));
        command.number(u64::try_from(item.taken_at / PS_PER_US).unwrap_or(0));
    }
    command
}

fn time_argument(command: &mut Command, time: Ps) {
    for part in [time / PS_PER_US, time % PS_PER_US] {
        command.number(u64::try_from(part).unwrap_or(u64::MAX));
    }
}

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Tokens taken; 0 also when another record denied.
    pub granted: u64,
    /// Until the bucket is full again.
    pub backlog: Ps,
    /// The instant of the decision, by Redis's clock.
    pub at: Ps,
    /// Set when this record denies: until what was needed is there.
    pub retry: Option<Ps>,
}

/// Reads the reply to [`take`] on `count` records.
///
/// # Errors
/// When it is something else.
pub fn taken(reply: &Reply<'_>, count: usize) -> Result<Vec<Taken>, Trouble> {
    let Reply::Array(numbers) = reply else {
        return Err(Trouble::Malformed);
    };
    if numbers.len() != 1 + count * 3 {
        return Err(Trouble::Malformed);
    }
    let mut numbers = numbers.iter().map(|number| match number {
        Reply::Integer(number) => u64::try_from(*number).map_err(|_| Trouble::Malformed),
        _ => Err(Trouble::Malformed),
    });
    let mut next = move || numbers.next().unwrap_or(Err(Trouble::Malformed));
    let now = next()?;
    (0..count)
        .map(|_| {
            let (granted, backlog, retry) = (next()?, next()?, next()?);
            Ok(Taken {
                granted,
                backlog: Ps::from(backlog) * PS_PER_US,
                at: Ps::from(now) * PS_PER_US,
                retry: (retry > 0).then_some(Ps::from(retry) * PS_PER_US),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_key_is_tagged_by_its_subject_alone() {
        let digest = digest(b"alice");
        assert_eq!(digest.len(), 22);
        let key = key("sluice", &digest, "per-user");
        assert_eq!(
            String::from_utf8(key).unwrap(),
            format!("sluice:rl:{{{digest}}}:per-user")
        );
    }

    #[test]
    fn times_go_as_whole_microseconds_and_the_picoseconds_left() {
        let quota = Quota::new(3, Duration::from_secs(1), 3).unwrap();
        let items = [Take {
            key: b"k".to_vec(),
            quota,
            need: 1,
            want: 2,
            shadow: true,
        }];
        let mut body = Vec::new();
        assert!(take(&items).encode(&mut body, &all(), false));
        let text = String::from_utf8(body).unwrap();
        let arguments: Vec<&str> = text.split("\r\n").skip(6).step_by(2).collect();
        assert_eq!(
            arguments,
            ["1", "k", "333333", "333334", "1000000", "2", "1", "2", "1"]
        );
    }

    #[test]
    fn replies_are_read_or_refused() {
        let reply =
            |numbers: &[i64]| Reply::Array(numbers.iter().map(|n| Reply::Integer(*n)).collect());
        assert_eq!(
            taken(&reply(&[100, 0, 5, 7]), 1),
            Ok(vec![Taken {
                granted: 0,
                backlog: 5 * PS_PER_US,
                at: 100 * PS_PER_US,
                retry: Some(7 * PS_PER_US)
            }])
        );
        for bad in [
            reply(&[1, 2, 3]),
            reply(&[9, 1, 2, -1]),
            reply(&[-9, 1, 2, 3]),
            Reply::Simple(b"OK"),
            Reply::Nil,
        ] {
            assert_eq!(taken(&bad, 1), Err(Trouble::Malformed));
        }
    }
}
