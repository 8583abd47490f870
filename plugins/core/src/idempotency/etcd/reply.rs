//! What etcd says.

use crate::policy::tree::Json;
use crate::redis::trouble::Trouble;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// No record that etcd takes by default makes a reply half as long.
const MAX_REPLY: usize = 8 << 20;

/// The reply to a callout, whoever gave it: etcd, or the gateway in its place.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing was done: the lease is gone.
    NoLease,
    /// Nothing was done: the token of the login has ended.
    NoLogin,
    Trouble(Trouble),
}

/// What a transaction came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The comparisons held, and what they guard was done at this revision.
    Done { revision: u64 },
    /// They did not; the record as it is, where it was asked for.
    Found(Option<Found>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub value: Vec<u8>,
    /// The revision that made it.
    pub created: u64,
}

const MALFORMED: Refusal = Refusal::Trouble(Trouble::Malformed);

/// What a transaction that does one thing came to. What is false or empty is left out of it.
pub(super) fn txn(reply: Reply<'_>) -> Result<Said, Refusal> {
    let json = read(reply)?;
    let responses = json.field("responses").map_or(&[][..], Json::items);
    if json.field("succeeded") == Some(&Json::Bool(true)) {
        // A gateway that did not understand the request does nothing, and says that it did.
        let done = match responses {
            [one] => one
                .field("response_put")
                .or(one.field("response_delete_range")),
            _ => None,
        };
        let revision = json
            .field("header")
            .and_then(|header| number(header, "revision"));
        return match (done, revision) {
            (Some(_), Some(revision)) => Ok(Said::Done { revision }),
            _ => Err(MALFORMED),
        };
    }
    if json.field("header").is_none() {
        return Err(MALFORMED);
    }
    let ranges = responses
        .iter()
        .filter_map(|one| one.field("response_range"));
    let mut kvs = ranges.flat_map(|range| range.field("kvs").map_or(&[][..], Json::items));
    let Some(kv) = kvs.next() else {
        return Ok(Said::Found(None));
    };
    let value = STANDARD.decode(kv.text("value").unwrap_or_default());
    Ok(Said::Found(Some(Found {
        value: value.map_err(|_| MALFORMED)?,
        created: number(kv, "create_revision").ok_or(MALFORMED)?,
    })))
}

/// A lease's number, and how many seconds it has.
pub(super) fn granted(reply: Reply<'_>) -> Result<(String, u64), Refusal> {
    let json = read(reply)?;
    match (number(&json, "ID"), number(&json, "TTL")) {
        (Some(id), Some(seconds)) => Ok((id.to_string(), seconds)),
        _ => Err(MALFORMED),
    }
}

/// The token of a login. It goes into a header.
pub(super) fn token(reply: Reply<'_>) -> Result<String, Refusal> {
    let json = read(reply)?;
    let token = json.text("token").unwrap_or_default();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(MALFORMED);
    }
    Ok(token.to_owned())
}

/// Numbers of 64 bits are text.
fn number(json: &Json, name: &str) -> Option<u64> {
    json.text(name)?.parse().ok()
}

fn read(reply: Reply<'_>) -> Result<Json, Refusal> {
    if reply.body.len() > MAX_REPLY {
        return Err(MALFORMED);
    }
    let json = serde_json::from_slice(reply.body);
    match (reply.status, json) {
        (200, Ok(json)) => Ok(json),
        (200, Err(_)) => Err(MALFORMED),
        (status, json) => Err(refusal(status, json.ok().as_ref())),
    }
}

fn refusal(status: u16, json: Option<&Json>) -> Refusal {
    // The gateway in etcd's place says nothing of the kind.
    let said = json.and_then(|json| Some((json.number("code")?, json.text("message")?)));
    let Some((code, message)) = said else {
        return Refusal::Trouble(match status {
            502 | 503 => Trouble::Connect,
            504 => Trouble::Timeout,
            401 | 403 => Trouble::Auth,
            _ => Trouble::Malformed,
        });
    };
    let says = |part: &str| message.contains(part);
    Refusal::Trouble(match code {
        5 if says("lease not found") => return Refusal::NoLease,
        16 => return Refusal::NoLogin,
        3 if says("auth token") || says("auth store is old") => return Refusal::NoLogin,
        3 if says("user name") || says("authentication") => Trouble::Auth,
        7 | 9 => Trouble::Auth,
        8 if says("space exceeded") => Trouble::OutOfMemory,
        4 => Trouble::Timeout,
        14 if says("timed out") => Trouble::Timeout,
        14 => Trouble::Loading,
        _ => Trouble::Error,
    })
}
