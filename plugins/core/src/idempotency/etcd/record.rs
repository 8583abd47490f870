//! A record as the value of its key: a line of JSON, for operators to read, and behind it the bytes that are stored.
//!
//! The holder's token stands right behind what all records begin with. So "in flight, and mine" is a range of values,
//! which a transaction can compare, whatever the rest of the record says.

use super::request::quoted;
use crate::idempotency::scope::Token;
use crate::idempotency::store::{Claim, Commit, Kind};
use crate::policy::tree::Json;

/// A record that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub what: What,
    /// 64 hex digits.
    pub fingerprint: String,
    /// Of a record that is complete; of one in flight it is the revision that made it.
    pub fence: Option<u64>,
    /// By the gateway's clock, in microseconds since 1970.
    pub started: Option<u64>,
    pub route: String,
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Flight {
        token: String,
        /// When its lease ends, by the gateway's clock, in microseconds since 1970.
        ends: u64,
    },
    Done {
        /// The token that completed it; none: an operator.
        by: Option<String>,
        kind: Kind,
        bytes: Vec<u8>,
    },
}

impl Record {
    /// Reads a value; none when it is no record.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let line = value.split(|byte| *byte == b'\n').next()?;
        let rest = value.get(line.len() + 1..)?;
        let head: Json = serde_json::from_slice(line).ok()?;
        let text = |name: &str| head.text(name).map(str::to_owned);
        let fingerprint = text("fp").filter(|print| print.len() == 64)?;
        if head.number("v") != Some(1) {
            return None;
        }
        let done = |kind| What::Done {
            by: text("by"),
            kind,
            bytes: rest.to_vec(),
        };
        let what = match head.text("state")? {
            "flight" => What::Flight {
                token: text("token")?,
                ends: head.number("lease")?,
            },
            "answer" => done(Kind::Answer),
            "tombstone" => done(Kind::Tombstone),
            _ => return None,
        };
        Some(Self {
            what,
            fingerprint,
            fence: head.number("fence"),
            started: head.number("started"),
            route: text("route")?,
            key: text("key")?,
        })
    }
}

/// The values of all records that are in flight under the token lie between these two.
#[must_use]
pub(super) fn in_flight(token: &Token) -> (String, String) {
    // Behind the token's closing quote, which is the byte before `#`, all of them go on.
    let token = token.hex();
    let up_to = |end: char| format!(r#"{{"v":1,"state":"flight","token":"{token}{end}"#);
    (up_to('"'), up_to('#'))
}

/// The value of a record in flight. Instants in microseconds since 1970.
#[must_use]
pub(super) fn flight(claim: &Claim, started: u64, ends: u64) -> Vec<u8> {
    let (head, _) = in_flight(&claim.token);
    let fingerprint = claim.fingerprint.hex();
    let tail = names(&claim.route, &claim.key);
    format!("{head},\"fp\":\"{fingerprint}\",\"lease\":{ends},\"started\":{started},{tail}\n")
        .into_bytes()
}

/// The value of a record that is complete.
#[must_use]
pub(super) fn done(commit: &Commit, started: u64, now: u64) -> Vec<u8> {
    let claim = &commit.claim;
    let (state, by) = (state(commit.kind), claim.token.hex());
    let (fingerprint, fence) = (claim.fingerprint.hex(), commit.fence.unwrap_or_default());
    let tail = names(&claim.route, &claim.key);
    let head = format!(
        r#"{{"v":1,"state":"{state}","by":"{by}","fp":"{fingerprint}","fence":{fence},"started":{started},"done":{now},{tail}"#
    );
    [head.as_bytes(), b"\n", &commit.bytes].concat()
}

fn state(kind: Kind) -> &'static str {
    match kind {
        Kind::Answer => "answer",
        Kind::Tombstone => "tombstone",
    }
}

/// The end of the line.
fn names(route: &str, key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    format!(r#""route":{},"key":{}}}"#, quoted(route), quoted(&key))
}
