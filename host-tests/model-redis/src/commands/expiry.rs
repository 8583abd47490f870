//! When keys go.

use super::{Answer, Call, Spec, WRITE, integer};
use crate::reply::{Failure, Reply};

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("expire", -3, WRITE, |call| {
        expire(call, "expire", 1000, true)
    }),
    Spec::data("pexpire", -3, WRITE, |call| {
        expire(call, "pexpire", 1, true)
    }),
    Spec::data("expireat", -3, WRITE, |call| {
        expire(call, "expireat", 1000, false)
    }),
    Spec::data("pexpireat", -3, WRITE, |call| {
        expire(call, "pexpireat", 1, false)
    }),
    Spec::data("persist", 2, WRITE, persist),
    Spec::data("ttl", 2, 0, |call| left(call, 1000, true)),
    Spec::data("pttl", 2, 0, |call| left(call, 1, true)),
    Spec::data("expiretime", 2, 0, |call| left(call, 1000, false)),
    Spec::data("pexpiretime", 2, 0, |call| left(call, 1, false)),
];

fn invalid(command: &str) -> Failure {
    Failure(format!("ERR invalid expire time in '{command}' command"))
}

/// The time, in milliseconds, that an option of SET names; `now` likewise.
pub(super) fn set_time(
    command: &str,
    option: &str,
    number: &[u8],
    now: i64,
) -> Result<i64, Failure> {
    let number = integer(number)?;
    if number <= 0 {
        return Err(invalid(command));
    }
    let unit = if option.starts_with('p') { 1 } else { 1000 };
    let base = if option.ends_with("at") { 0 } else { now };
    let millis = number.checked_mul(unit);
    millis
        .and_then(|millis| millis.checked_add(base))
        .ok_or_else(|| invalid(command))
}

/// Removes a key that was given a time which is already past.
pub(super) fn drop_if_past(call: &mut Call<'_>, key: &[u8]) {
    let (db, now) = (call.db(), call.state.store.now_millis());
    let store = &mut call.state.store;
    let entry = store.get(db, key);
    if entry
        .and_then(|entry| entry.expires)
        .is_some_and(|at| at <= now)
    {
        store.remove(db, key);
    }
}

fn expire(call: &mut Call<'_>, name: &str, unit: i64, relative: bool) -> Answer {
    let flags = Flags::read(call)?;
    let now = call.state.store.now_millis();
    let base = if relative { now } else { 0 };
    let number = call.integer(2)?;
    let at = number
        .checked_mul(unit)
        .and_then(|millis| millis.checked_add(base))
        .ok_or_else(|| invalid(name))?;
    let (db, key) = (call.db(), call.word(1));
    let store = &mut call.state.store;
    let Some(old) = store.get(db, key).map(|entry| entry.expires) else {
        return Ok(Reply::Integer(0));
    };
    if !flags.allow(old, at) {
        return Ok(Reply::Integer(0));
    }
    if at <= now {
        store.remove(db, key);
    } else {
        store.set_expiry(db, key, Some(at));
    }
    Ok(Reply::Integer(1))
}

/// The conditions of EXPIRE.
#[derive(Default)]
struct Flags {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Flags {
    fn read(call: &Call<'_>) -> Result<Self, Failure> {
        let mut flags = Self::default();
        for word in call.rest(3) {
            match super::lower(word).as_str() {
                "nx" => flags.nx = true,
                "xx" => flags.xx = true,
                "gt" => flags.gt = true,
                "lt" => flags.lt = true,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(Failure(format!("ERR Unsupported option {word}")));
                }
            }
        }
        if flags.nx && (flags.xx || flags.gt || flags.lt) {
            return Err(Failure::new(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if flags.gt && flags.lt {
            return Err(Failure::new(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(flags)
    }

    /// A key without expiry counts as one that goes at the end of time.
    fn allow(&self, old: Option<i64>, new: i64) -> bool {
        let kept = |old| !(self.nx || self.gt && new <= old || self.lt && new >= old);
        match old {
            Some(old) => kept(old),
            None => !(self.xx || self.gt),
        }
    }
}

fn persist(call: &mut Call<'_>) -> Answer {
    let (db, key) = (call.db(), call.word(1));
    let entry = call.state.store.get(db, key);
    let had = entry.is_some_and(|entry| entry.expires.is_some());
    if had {
        call.state.store.set_expiry(db, key, None);
    }
    Ok(Reply::Integer(i64::from(had)))
}

fn left(call: &mut Call<'_>, unit: i64, relative: bool) -> Answer {
    let (db, now) = (call.db(), call.state.store.now_millis());
    let Some(entry) = call.state.store.get(db, call.word(1)) else {
        return Ok(Reply::Integer(-2));
    };
    let Some(at) = entry.expires else {
        return Ok(Reply::Integer(-1));
    };
    let millis = if relative { (at - now).max(0) } else { at };
    Ok(Reply::Integer((millis + unit / 2) / unit))
}
