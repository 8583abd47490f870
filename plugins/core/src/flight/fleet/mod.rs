//! Flights of the whole fleet: what gateways leave for each other in Redis, and how they ask for it.
//!
//! Each flight is a hash, and one script does all that is done with it ([`Act`], [`Told`]). No clock of a gateway is
//! compared with another's: Redis says how long ago something was asked for, by its own, and the reader counts back from
//! when it asked. What a gateway finds here was written by another, so nothing of it is believed that can be checked.

mod blob;
#[cfg(test)]
mod tests;

pub use blob::{decode, encode};

use super::codec::{Reader, Writer};
use crate::cache::{Millis, secondary_key};
use crate::guard;
use crate::headers::Headers;
use crate::redis::command::{Command, Script};
use crate::redis::resp::Reply;
use crate::redis::trouble::Trouble;
use sha2::{Digest, Sha256};

/// The script, and its digest, which a test computes: the filter need not know how digests are made.
const TEXT: &str = include_str!("flight.lua");
const SHA1: &str = "e386eb8ab31ad2f91df4cefc0c4eac9476772f52";
/// Its place among [`scripts`].
const SCRIPT: usize = 3;
/// Changes with the layout: what another version wrote is not found.
const VERSION: &str = ":flight:1:";

/// All scripts of the filter, in the order in which commands name them.
#[must_use]
pub fn scripts() -> Vec<Script> {
    let mut scripts = guard::scripts::all();
    scripts.push(Script::known(TEXT, SHA1));
    scripts
}

/// Names a flight: all gateways with one policy come to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place([u8; 32]);

/// Names flights, and asks for them.
pub struct Fleet {
    /// What stands before the digest.
    prefix: Vec<u8>,
    policy: Place,
}

/// What is to be done with a flight. Times are lengths, but for `at`, which is when Redis said that the lead began.
#[derive(Debug, Clone, Copy)]
pub enum Act<'a> {
    /// To ask the upstream, or get what there is, if it was asked for less than `within` ago and is not `but`. With so long
    /// an answer, `most` bytes, is reckoned.
    Lead {
        lease: Millis,
        within: Millis,
        but: u64,
        most: usize,
    },
    Publish {
        at: u64,
        keep: Millis,
        id: u64,
        blob: &'a [u8],
    },
    /// Answers depend on these fields of the request.
    Vary {
        at: u64,
        keep: Millis,
        names: &'a [String],
    },
    /// Each gateway is to ask for itself.
    Own {
        keep: Millis,
    },
    Renew {
        lease: Millis,
    },
    Release,
}

/// What comes of asking to lead.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<'r> {
    Lead {
        at: u64,
    },
    Answer {
        /// How long ago it was asked for.
        age: Millis,
        id: u64,
        blob: &'r [u8],
    },
    /// There is one such flight for each variant of these fields of the request.
    Varies(Vec<String>),
    /// Each gateway asks for itself.
    Own,
    /// Another one leads.
    Busy,
}

impl Fleet {
    /// `text` is the policy's: what is done under another is not this one's business.
    #[must_use]
    pub fn new(prefix: &str, text: &[u8]) -> Self {
        Self {
            prefix: [prefix, VERSION].concat().into_bytes(),
            policy: Place(Sha256::digest(text).into()),
        }
    }

    /// The flight of a route, URI and identity, which `key` are in a way that nothing else is.
    #[must_use]
    pub fn place(&self, key: &[u8]) -> Place {
        self.policy.below(&[key])
    }

    /// The command, in the name of `token`.
    #[must_use]
    pub fn command(&self, place: Place, token: u64, act: Act<'_>) -> Command {
        let mut command = Command::new(SCRIPT, 1);
        command.bytes(&place.name(&self.prefix));
        let name: &[u8] = match act {
            Act::Lead { .. } => b"lead",
            Act::Publish { .. } => b"publish",
            Act::Vary { .. } => b"vary",
            Act::Own { .. } => b"own",
            Act::Renew { .. } => b"renew",
            Act::Release => b"release",
        };
        command.bytes(name);
        command.number(token);
        match act {
            Act::Lead {
                lease,
                within,
                but,
                most,
            } => {
                command.reply = most;
                [lease, within, but]
                    .into_iter()
                    .for_each(|n| command.number(n));
            }
            Act::Publish { at, keep, id, blob } => {
                [at, keep, id].into_iter().for_each(|n| command.number(n));
                command.bytes(blob);
            }
            Act::Vary { at, keep, names } => {
                [at, keep].into_iter().for_each(|n| command.number(n));
                command.bytes(&list(names));
            }
            Act::Own { keep: time } | Act::Renew { lease: time } => command.number(time),
            Act::Release => {}
        }
        command
    }
}

impl Place {
    /// The flight of a variant.
    #[must_use]
    pub fn variant(self, names: &[String], request: &Headers) -> Self {
        self.below(&[&list(names), &secondary_key(names, request)])
    }

    /// The first part must tell where it ends, if there are two.
    fn below(self, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new_with_prefix(self.0);
        parts.iter().for_each(|part| hash.update(part));
        Self(hash.finalize().into())
    }

    fn name(self, prefix: &[u8]) -> Vec<u8> {
        let digit = |number: u8| {
            if number < 10 {
                b'0' + number
            } else {
                b'a' - 10 + number
            }
        };
        let digits = self
            .0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        prefix.iter().copied().chain(digits).collect()
    }
}

/// Reads the reply to [`Act::Lead`].
///
/// # Errors
/// When it is none.
pub fn told<'r>(reply: &Reply<'r>) -> Result<Told<'r>, Trouble> {
    read(reply).ok_or(Trouble::Malformed)
}

fn read<'r>(reply: &Reply<'r>) -> Option<Told<'r>> {
    let Reply::Array(parts) = reply else {
        return None;
    };
    match parts.as_slice() {
        [Reply::Integer(0), Reply::Integer(at)] => Some(Told::Lead {
            at: u64::try_from(*at).ok()?,
        }),
        [
            Reply::Integer(1),
            Reply::Integer(age),
            Reply::Bulk(id),
            Reply::Bulk(blob),
        ] => Some(Told::Answer {
            age: u64::try_from(*age).ok()?,
            id: std::str::from_utf8(id).ok()?.parse().ok()?,
            blob,
        }),
        [Reply::Integer(2), Reply::Bulk(names)] => {
            let mut from = Reader(names);
            let names = read_list(&mut from)?;
            (from.0.is_empty() && !names.is_empty()).then_some(Told::Varies(names))
        }
        [Reply::Integer(3)] => Some(Told::Own),
        [Reply::Integer(4)] => Some(Told::Busy),
        _ => None,
    }
}

/// Names as bytes that tell where they end.
fn list(names: &[String]) -> Vec<u8> {
    let mut out = Writer::default();
    out.number(names.len() as u64);
    names.iter().for_each(|name| out.bytes(name.as_bytes()));
    out.done()
}

fn read_list(from: &mut Reader) -> Option<Vec<String>> {
    (0..from.number()?)
        .map(|_| String::from_utf8(from.bytes()?.to_vec()).ok())
        .collect()
}
