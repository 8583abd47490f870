//! The Redis scripts of guards, their keys, arguments and replies.
//!
//! The filter is the string `<prefix>:bloom:{<key>}`, and the ids that came since it was built are the sorted set
//! `<prefix>:bloom:{<key>}:added`: the braces put both in one hash slot of a Redis Cluster.

use std::ops::Range;

use super::MAX_ADDED;
use crate::redis::command::{Command, Script};
use crate::redis::resp::Reply;
use crate::redis::trouble::Trouble;

const LOOK: usize = 0;
const PIECE: usize = 1;
const ADD: usize = 2;

/// The script that adds ids, for the command line.
pub const ADD_TEXT: &str = include_str!("lua/add.lua");
/// The script that ends a build.
pub const SWITCH_TEXT: &str = include_str!("lua/switch.lua");

/// What reads a piece.
pub const PIECE_TEXT: &str = include_str!("lua/piece.lua");

/// The scripts of the filter, in the order in which commands name them.
#[must_use]
pub fn all() -> Vec<Script> {
    vec![
        Script::whole(include_str!("lua/look.lua")),
        Script::whole(PIECE_TEXT),
        Script::whole(ADD_TEXT),
    ]
}

/// Where one guard's ids are.
#[derive(Debug, Clone)]
pub struct Keys {
    pub filter: String,
    /// Those that came since it was built.
    pub added: String,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look<'r> {
    /// Empty when there is no filter.
    pub header: &'r [u8],
    pub length: u64,
    /// How many ids came since it was built.
    pub added: u64,
    /// The place of the last of them.
    pub last: u64,
    /// The place of the last one in `ids`.
    pub cursor: u64,
    pub ids: Vec<&'r [u8]>,
}

impl Keys {
    #[must_use]
    pub fn new(prefix: &str, key: &str) -> Self {
        let filter = [prefix, ":bloom:{", key, "}"].concat();
        Self {
            added: [&filter, ":added"].concat(),
            filter,
        }
    }

    pub(super) fn look(&self, cursor: u64, most: usize) -> Command {
        let mut command = Command::new(LOOK, 2);
        command.bytes(self.filter.as_bytes());
        command.bytes(self.added.as_bytes());
        command.number(cursor);
        command.number(most as u64);
        command
    }

    pub(super) fn piece(&self, header: &[u8], range: &Range<usize>) -> Command {
        let mut command = Command::new(PIECE, 1);
        command.bytes(self.filter.as_bytes());
        command.bytes(header);
        command.number(range.start as u64);
        command.number(range.end.saturating_sub(1) as u64);
        command
    }

    pub(super) fn add<'i>(&self, ids: impl Iterator<Item = &'i [u8]>) -> Command {
        let mut command = Command::new(ADD, 1);
        command.bytes(self.added.as_bytes());
        command.number(MAX_ADDED);
        ids.for_each(|id| command.bytes(id));
        command
    }
}

pub(super) fn look<'r>(reply: &Reply<'r>) -> Result<Look<'r>, Trouble> {
    let Reply::Array(parts) = reply else {
        return Err(Trouble::Malformed);
    };
    let [Reply::Bulk(header), length, added, last, cursor, ids @ ..] = parts.as_slice() else {
        return Err(Trouble::Malformed);
    };
    let ids = ids.iter().map(|id| match id {
        Reply::Bulk(id) => Ok(*id),
        _ => Err(Trouble::Malformed),
    });
    Ok(Look {
        header,
        length: number(length)?,
        added: number(added)?,
        last: number(last)?,
        cursor: number(cursor)?,
        ids: ids.collect::<Result<_, _>>()?,
    })
}

/// None when it is a piece of another filter.
pub(super) fn piece<'r>(reply: &Reply<'r>) -> Result<Option<&'r [u8]>, Trouble> {
    match reply {
        Reply::Bulk(bytes) => Ok(Some(bytes)),
        Reply::Nil => Ok(None),
        _ => Err(Trouble::Malformed),
    }
}

/// Whether there was room.
pub(super) fn added(reply: &Reply<'_>) -> Result<bool, Trouble> {
    match reply {
        Reply::Integer(new) => Ok(*new >= 0),
        _ => Err(Trouble::Malformed),
    }
}

fn number(reply: &Reply<'_>) -> Result<u64, Trouble> {
    match reply {
        Reply::Integer(number) => u64::try_from(*number).map_err(|_| Trouble::Malformed),
        _ => Err(Trouble::Malformed),
    }
}
