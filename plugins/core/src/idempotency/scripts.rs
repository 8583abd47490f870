//! The Redis scripts of idempotency keys, their keys, arguments and replies.
//!
//! A record is the hash `<prefix>:idem:{<partition>}:<scope>`. The partition is two hex digits of its own, so that a
//! record, the fence counter and the outbox of its partition share a hash slot of a Redis Cluster.

use super::scope::Scope;
use super::settings::Trim;
use super::store::{
    Acquired, Claim, Commit, Committed, Kind, Operation, Outcome, Released, Renewed,
};
use super::stored::part;
use crate::redis::command::{Command, Script};
use crate::redis::resp::Reply;
use crate::redis::trouble::Trouble;
use bytes::Bytes;
use std::time::Duration;

const ACQUIRE: usize = 0;
const RENEW: usize = 1;
const COMMIT: usize = 2;
const RELEASE: usize = 3;
const RESOLVE: usize = 4;

/// Bytes of the longest answer that an acquire returns by itself where the store has much to do: a second round for a
/// longer one costs less than to have it pass a script.
pub const INLINE: usize = 8 << 10;

/// The scripts, in the order in which commands name them.
#[must_use]
pub fn all() -> Vec<Script> {
    vec![
        Script::new(include_str!("lua/acquire.lua")),
        Script::new(include_str!("lua/renew.lua")),
        Script::new(include_str!("lua/commit.lua")),
        Script::new(include_str!("lua/release.lua")),
        Script::new(include_str!("lua/resolve.lua")),
    ]
}

/// Where the records of one deployment live.
#[derive(Debug, Clone)]
pub struct Keys {
    pub prefix: String,
    /// 1 to 256.
    pub partitions: u16,
}

impl Keys {
    #[must_use]
    pub fn record(&self, scope: &Scope) -> Vec<u8> {
        self.named(scope, &scope.hex())
    }

    /// The fence counter beside the record.
    #[must_use]
    pub fn fence(&self, scope: &Scope) -> Vec<u8> {
        self.named(scope, "fence")
    }

    /// The stream of events beside the record.
    #[must_use]
    pub fn outbox(&self, scope: &Scope) -> Vec<u8> {
        self.named(scope, "outbox")
    }

    /// The streams of events of all partitions.
    pub fn outboxes(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.partitions).map(|partition| self.at(partition, "outbox"))
    }

    fn named(&self, scope: &Scope, name: &str) -> Vec<u8> {
        self.at(scope.partition(self.partitions).into(), name)
    }

    fn at(&self, partition: u16, name: &str) -> Vec<u8> {
        format!("{}:idem:{{{partition:02x}}}:{name}", self.prefix).into_bytes()
    }

    /// The script call that carries out an operation.
    #[must_use]
    pub fn command(&self, operation: &Operation) -> Command {
        match operation {
            Operation::Acquire(claim) => self.acquire(claim, INLINE),
            Operation::Renew(claim) => self.renew(claim),
            Operation::Commit(commit) => self.commit(commit),
            Operation::Release(claim) => {
                let mut command = Command::new(RELEASE, 1);
                command.bytes(&self.record(&claim.scope));
                command.bytes(claim.token.hex().as_bytes());
                command
            }
        }
    }

    /// Asks for a key; an answer of at most so many bytes comes with the reply, a longer one has to be read.
    #[must_use]
    pub fn acquire(&self, claim: &Claim, most: usize) -> Command {
        let mut command = Command::new(ACQUIRE, 2);
        command.durable = true;
        command.reply = claim.max_answer.min(most);
        command.bytes(&self.record(&claim.scope));
        command.bytes(&self.fence(&claim.scope));
        command.bytes(claim.fingerprint.bytes());
        command.bytes(claim.token.hex().as_bytes());
        command.number(milliseconds(claim.lease));
        command.number(milliseconds(claim.retention));
        command.bytes(claim.route.as_bytes());
        command.bytes(&claim.key);
        command.number(most as u64);
        command
    }

    /// Reads an answer that an acquire has left where it is.
    #[must_use]
    pub fn read(&self, claim: &Claim) -> Command {
        let mut command = Command::plain("HMGET");
        command.reply = claim.max_answer;
        command.bytes(&self.record(&claim.scope));
        for field in ["fp", "state", "answer", "by"] {
            command.bytes(field.as_bytes());
        }
        command
    }

    fn renew(&self, claim: &Claim) -> Command {
        let mut command = Command::new(RENEW, 1);
        command.bytes(&self.record(&claim.scope));
        command.bytes(claim.token.hex().as_bytes());
        command.number(milliseconds(claim.lease));
        command.number(milliseconds(claim.retention));
        command
    }

    fn commit(&self, commit: &Commit) -> Command {
        let claim = &commit.claim;
        let mut command = Command::new(COMMIT, 1 + usize::from(commit.event.is_some()));
        command.durable = true;
        command.bytes(&self.record(&claim.scope));
        if commit.event.is_some() {
            command.bytes(&self.outbox(&claim.scope));
        }
        command.bytes(claim.token.hex().as_bytes());
        command.bytes(claim.fingerprint.bytes());
        command.number(commit.fence.unwrap_or(0));
        command.bytes(kind(commit.kind));
        command.bytes(&commit.bytes);
        command.number(milliseconds(claim.retention));
        command.bytes(claim.route.as_bytes());
        command.bytes(&claim.key);
        if let Some(event) = &commit.event {
            let (trim, bound): (&[u8], _) = match event.trim {
                Trim::Nothing => (b"NONE", 0),
                Trim::Length(events) => (b"MAXLEN", events),
                Trim::Age(age) => (b"MINID", milliseconds(age)),
            };
            command.bytes(trim);
            command.number(bound);
            let scope = claim.scope.hex();
            let status = event.status.to_string();
            let fixed: [(&[u8], &[u8]); 4] = [
                (b"scope", scope.as_bytes()),
                (b"route", claim.route.as_bytes()),
                (b"key", &claim.key),
                (b"status", status.as_bytes()),
            ];
            for (name, value) in fixed {
                command.bytes(name);
                command.bytes(value);
            }
            for (name, value) in &event.headers {
                command.bytes(&[b"header:", name.as_slice()].concat());
                command.bytes(value);
            }
        }
        command
    }

    /// A call of one of the scripts as bytes for Redis, with the script's text.
    #[must_use]
    pub fn whole(command: &Command) -> Vec<u8> {
        let mut out = Vec::new();
        // Of what is made here there is always a script.
        let _ = command.encode(&mut out, &all(), true);
        out
    }

    /// The pattern of SCAN that finds every record, and fence counters and outboxes as well.
    #[must_use]
    pub fn pattern(&self) -> String {
        format!("{}:idem:{{*}}:*", self.prefix)
    }

    /// The record that has this name, if it is one's.
    #[must_use]
    pub fn scope(&self, name: &[u8]) -> Option<Scope> {
        let name = std::str::from_utf8(name).ok()?;
        let scope = Scope::from_hex(name.rsplit(':').next()?)?;
        (self.record(&scope) == name.as_bytes()).then_some(scope)
    }

    /// An operator's word on the execution with this fence. `force`: although its lease still runs.
    #[must_use]
    pub fn resolve(
        &self,
        scope: &Scope,
        fence: u64,
        force: bool,
        resolution: &Resolution,
    ) -> Command {
        let mut command = Command::new(RESOLVE, 1);
        command.bytes(&self.record(scope));
        command.number(fence);
        let word: &[u8] = match resolution {
            Resolution::Complete { .. } => b"complete",
            Resolution::Free => b"free",
        };
        command.bytes(word);
        command.number(u64::from(force));
        if let Resolution::Complete {
            kind: given,
            bytes,
            retention,
        } = resolution
        {
            command.bytes(kind(*given));
            command.bytes(bytes);
            command.number(milliseconds(*retention));
        }
        command
    }
}

/// What an operator knows of an execution.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// It was carried out: retries get this.
    Complete {
        kind: Kind,
        bytes: Vec<u8>,
        retention: Duration,
    },
    /// It was not: the key may be used again.
    Free,
}

/// What became of an operator's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    Yes,
    Absent,
    /// It has an answer already.
    Completed,
    /// Its lease still runs.
    InFlight {
        left: Duration,
    },
    /// It is another execution than the operator saw.
    Changed,
    Corrupt,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn kind(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Answer => b"answer",
        Kind::Tombstone => b"tombstone",
    }
}

/// Reads the reply to an operation; an answer that an acquire finds is for [`stored`] to read.
///
/// # Errors
/// When it is not what the script returns.
pub fn outcome(operation: Asked, reply: &Reply<'_>) -> Result<Outcome, Trouble> {
    let Reply::Array(parts) = reply else {
        return Err(Trouble::Malformed);
    };
    let outcome = match operation {
        Asked::Acquire => Outcome::Acquire(acquired(parts).ok_or(Trouble::Malformed)?),
        Asked::Renew => Outcome::Renew(match word(parts) {
            Some(b"renewed") => Renewed::Yes,
            Some(b"lost") => Renewed::Lost,
            _ => return Err(Trouble::Malformed),
        }),
        Asked::Commit => Outcome::Commit(match word(parts) {
            Some(b"committed" | b"again") => Committed::Yes,
            Some(b"restored") => Committed::Restored,
            Some(b"superseded") => Committed::Superseded,
            _ => return Err(Trouble::Malformed),
        }),
        Asked::Release => Outcome::Release(match word(parts) {
            Some(b"released") => Released::Yes,
            Some(b"absent") => Released::Absent,
            Some(b"lost") => Released::Lost,
            _ => return Err(Trouble::Malformed),
        }),
    };
    Ok(outcome)
}

/// Which reply is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Acquire,
    Renew,
    Commit,
    Release,
}

impl From<&Operation> for Asked {
    fn from(operation: &Operation) -> Self {
        match operation {
            Operation::Acquire(_) => Self::Acquire,
            Operation::Renew(_) => Self::Renew,
            Operation::Commit(_) => Self::Commit,
            Operation::Release(_) => Self::Release,
        }
    }
}

/// The only part of a reply.
fn word<'a>(parts: &[Reply<'a>]) -> Option<&'a [u8]> {
    match parts {
        [Reply::Bulk(word)] => Some(word),
        _ => None,
    }
}

fn acquired(parts: &[Reply<'_>]) -> Option<Acquired> {
    let acquired = match parts {
        [
            Reply::Bulk(b"acquired"),
            Reply::Integer(fence),
            Reply::Integer(0 | 1),
        ] => Acquired::Yours {
            fence: u64::try_from(*fence).ok()?,
        },
        [Reply::Bulk(b"mismatch")] => Acquired::Mismatch,
        [Reply::Bulk(b"corrupt")] => Acquired::Corrupt,
        [
            Reply::Bulk(b"flight"),
            Reply::Integer(left),
            Reply::Integer(_),
        ] => Acquired::InFlight {
            left: Duration::from_millis(u64::try_from(*left).ok()?),
        },
        [
            Reply::Bulk(b"unknown"),
            Reply::Integer(_),
            Reply::Integer(_),
        ] => Acquired::Unknown,
        _ => return None,
    };
    Some(acquired)
}

/// An answer that a key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Not there where it was too long to be returned: it is to be read by [`Keys::read`].
    pub answer: Option<Acquired>,
    /// The token that stored it, in hex; none: an operator did.
    pub by: Option<Bytes>,
}

fn found(parts: &[Reply<'_>], body: &Bytes) -> Option<Found> {
    let [Reply::Bulk(state), bytes, by] = parts else {
        return None;
    };
    let kind = match *state {
        b"answer" => Kind::Answer,
        b"tombstone" => Kind::Tombstone,
        _ => return None,
    };
    let text = |reply: &Reply<'_>| match reply {
        Reply::Bulk(bytes) => Some(Some(part(body, bytes))),
        Reply::Nil => Some(None),
        _ => None,
    };
    let completed = |bytes| Acquired::Completed { kind, bytes };
    Some(Found {
        answer: text(bytes)?.map(completed),
        by: text(by)?,
    })
}

/// The answer that there is by the reply to an acquire, and how long its record stays. `body` is what the reply came in:
/// the answer is a part of it.
#[must_use]
pub fn stored(reply: &Reply<'_>, body: &Bytes) -> Option<(Found, Duration)> {
    let Reply::Array(parts) = reply else {
        return None;
    };
    let [answer @ .., Reply::Integer(left)] = parts.as_slice() else {
        return None;
    };
    // Less than none: somebody has taken its end from it, and may do more.
    let left = u64::try_from(*left).unwrap_or_default();
    Some((found(answer, body)?, Duration::from_millis(left)))
}

/// Reads the reply to [`Keys::read`]. None: the key has no answer to the claim any more.
///
/// # Errors
/// When it is something else.
pub fn read(reply: &Reply<'_>, claim: &Claim, body: &Bytes) -> Result<Option<Found>, Trouble> {
    let Reply::Array(parts) = reply else {
        return Err(Trouble::Malformed);
    };
    let [print, rest @ ..] = parts.as_slice() else {
        return Err(Trouble::Malformed);
    };
    let is_text = |part: &Reply<'_>| matches!(part, Reply::Bulk(_) | Reply::Nil);
    if rest.len() != 3 || !parts.iter().all(is_text) {
        return Err(Trouble::Malformed);
    }
    let same = *print == Reply::Bulk(claim.fingerprint.bytes());
    Ok(found(rest, body).filter(|found| same && found.answer.is_some()))
}

/// Reads the reply to [`Keys::resolve`].
///
/// # Errors
/// When it is something else.
pub fn resolved(reply: &Reply<'_>) -> Result<Resolved, Trouble> {
    let Reply::Array(parts) = reply else {
        return Err(Trouble::Malformed);
    };
    match parts.as_slice() {
        [Reply::Bulk(b"resolved")] => Ok(Resolved::Yes),
        [Reply::Bulk(b"absent")] => Ok(Resolved::Absent),
        [Reply::Bulk(b"completed")] => Ok(Resolved::Completed),
        [Reply::Bulk(b"changed")] => Ok(Resolved::Changed),
        [Reply::Bulk(b"corrupt")] => Ok(Resolved::Corrupt),
        [Reply::Bulk(b"flight"), Reply::Integer(left)] => {
            let left = u64::try_from(*left).map_err(|_| Trouble::Malformed)?;
            Ok(Resolved::InFlight {
                left: Duration::from_millis(left),
            })
        }
        _ => Err(Trouble::Malformed),
    }
}

#[cfg(test)]
#[path = "scripts_tests/mod.rs"]
mod tests;
