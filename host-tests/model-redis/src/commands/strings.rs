//! Strings, as bytes and as bits.

use super::{Answer, Call, DENY_OOM, Spec, WRITE, expiry};
use crate::reply::{Failure, Reply};
use crate::value::{Bytes, Value};

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("get", 2, 0, get),
    Spec::data("set", -3, WRITE | DENY_OOM, set),
    Spec::data("setnx", 3, WRITE | DENY_OOM, setnx),
    Spec::data("setex", 4, WRITE | DENY_OOM, |call| set_for(call, 1000)),
    Spec::data("psetex", 4, WRITE | DENY_OOM, |call| set_for(call, 1)),
    Spec::data("getdel", 2, WRITE, getdel),
    Spec::data("getset", 3, WRITE | DENY_OOM, getset),
    Spec::data("mget", -2, 0, mget),
    Spec::data("mset", -3, WRITE | DENY_OOM, mset),
    Spec::data("append", 3, WRITE | DENY_OOM, append),
    Spec::data("strlen", 2, 0, strlen),
    Spec::data("getrange", 4, 0, getrange),
    Spec::data("setrange", 4, WRITE | DENY_OOM, setrange),
    Spec::data("setbit", 4, WRITE | DENY_OOM, setbit),
    Spec::data("getbit", 3, 0, getbit),
];

const LONGEST: usize = 512 * 1024 * 1024;

pub(super) fn string(call: &mut Call<'_>, key: &[u8]) -> Result<Option<Bytes>, Failure> {
    let db = call.db();
    Ok(call.state.store.read::<Bytes>(db, key)?.cloned())
}

fn put(call: &mut Call<'_>, key: &[u8], value: &[u8], expires: Option<i64>) {
    let db = call.db();
    let value = Value::String(value.to_vec());
    call.state.store.put(db, key, value, expires);
}

fn get(call: &mut Call<'_>) -> Answer {
    Ok(Reply::bulk_or_nil(string(call, call.word(1))?))
}

/// SET's options.
#[derive(Default)]
struct Options {
    /// Some(true) for XX, Some(false) for NX.
    present: Option<bool>,
    get: bool,
    keep_ttl: bool,
    /// The option's unit and its number, not yet looked at: syntax errors go first.
    expiry: Option<(String, Vec<u8>)>,
}

impl Options {
    fn read(call: &Call<'_>) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut at = 3;
        while let Some(option) = call.option(at) {
            let time_is_free = options.expiry.is_none() && !options.keep_ttl;
            match option.as_str() {
                "nx" if options.present != Some(true) => options.present = Some(false),
                "xx" if options.present != Some(false) => options.present = Some(true),
                "get" => options.get = true,
                "keepttl" if options.expiry.is_none() => options.keep_ttl = true,
                "ex" | "px" | "exat" | "pxat" if time_is_free && call.words.len() > at + 1 => {
                    at += 1;
                    options.expiry = Some((option, call.word(at).to_vec()));
                }
                _ => return Err(Failure::syntax()),
            }
            at += 1;
        }
        Ok(options)
    }
}

fn set(call: &mut Call<'_>) -> Answer {
    let options = Options::read(call)?;
    let now = call.state.store.now_millis();
    let mut expires = match &options.expiry {
        Some((unit, number)) => Some(expiry::set_time("set", unit, number, now)?),
        None => None,
    };
    let (db, key) = (call.db(), call.word(1));
    let old = if options.get {
        string(call, key)?
    } else {
        None
    };
    let entry = call.state.store.get(db, key);
    let present = entry.is_some();
    if options.keep_ttl {
        expires = entry.and_then(|entry| entry.expires);
    }
    let goes = options.present.is_none_or(|want| want == present);
    if goes {
        put(call, key, call.word(2), expires);
        expiry::drop_if_past(call, key);
    }
    Ok(match (options.get, goes) {
        (true, _) => Reply::bulk_or_nil(old),
        (false, true) => Reply::ok(),
        (false, false) => Reply::Nil,
    })
}

fn setnx(call: &mut Call<'_>) -> Answer {
    let (db, key) = (call.db(), call.word(1));
    if call.state.store.get(db, key).is_some() {
        return Ok(Reply::Integer(0));
    }
    put(call, key, call.word(2), None);
    Ok(Reply::Integer(1))
}

fn set_for(call: &mut Call<'_>, unit: i64) -> Answer {
    let (name, option) = if unit == 1 {
        ("psetex", "px")
    } else {
        ("setex", "ex")
    };
    let now = call.state.store.now_millis();
    let expires = expiry::set_time(name, option, call.word(2), now)?;
    put(call, call.word(1), call.word(3), Some(expires));
    Ok(Reply::ok())
}

fn getdel(call: &mut Call<'_>) -> Answer {
    let (db, key) = (call.db(), call.word(1));
    let old = string(call, key)?;
    call.state.store.remove(db, key);
    Ok(Reply::bulk_or_nil(old))
}

fn getset(call: &mut Call<'_>) -> Answer {
    let old = string(call, call.word(1))?;
    put(call, call.word(1), call.word(2), None);
    Ok(Reply::bulk_or_nil(old))
}

fn mget(call: &mut Call<'_>) -> Answer {
    let keys = call.rest(1);
    let values = keys
        .iter()
        .map(|key| Reply::bulk_or_nil(string(call, key).ok().flatten()));
    Ok(Reply::Array(values.collect()))
}

fn mset(call: &mut Call<'_>) -> Answer {
    let (pairs, odd) = call.rest(1).as_chunks::<2>();
    if !odd.is_empty() {
        return Err(Failure::arity("mset"));
    }
    for [key, value] in pairs {
        put(call, key, value, None);
    }
    Ok(Reply::ok())
}

/// Changes the string in place, keeping its expiry.
fn edit<R>(
    call: &mut Call<'_>,
    change: impl FnOnce(&mut Bytes) -> Result<(bool, R), Failure>,
) -> Result<R, Failure> {
    let (db, key) = (call.db(), call.word(1));
    call.state.store.edit(db, key, change)
}

fn check_length(length: usize) -> Result<(), Failure> {
    if length > LONGEST {
        return Err(Failure::new(
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ));
    }
    Ok(())
}

fn append(call: &mut Call<'_>) -> Answer {
    let more = call.word(2);
    edit(call, |bytes| {
        check_length(bytes.len() + more.len())?;
        bytes.extend_from_slice(more);
        Ok((true, Reply::count(bytes.len())))
    })
}

fn strlen(call: &mut Call<'_>) -> Answer {
    let length = string(call, call.word(1))?.map_or(0, |bytes| bytes.len());
    Ok(Reply::count(length))
}

fn getrange(call: &mut Call<'_>) -> Answer {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let bytes = string(call, call.word(1))?.unwrap_or_default();
    let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(""));
    }
    let place = |at: i64| {
        if at < 0 {
            length.saturating_add(at).max(0)
        } else {
            at
        }
    };
    let (start, end) = (place(start), place(end).min(length - 1));
    if start > end || length == 0 {
        return Ok(Reply::bulk(""));
    }
    let (start, end) = (start.unsigned_abs(), end.unsigned_abs());
    let range =
        usize::try_from(start).unwrap_or(usize::MAX)..=usize::try_from(end).unwrap_or(usize::MAX);
    Ok(Reply::bulk(bytes.get(range).unwrap_or_default()))
}

fn setrange(call: &mut Call<'_>) -> Answer {
    let offset = usize::try_from(call.integer(2)?)
        .map_err(|_| Failure::new("ERR offset is out of range"))?;
    let value = call.word(3);
    edit(call, |bytes| {
        if value.is_empty() {
            return Ok((false, Reply::count(bytes.len())));
        }
        let end = offset.saturating_add(value.len());
        check_length(end)?;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(value);
        Ok((true, Reply::count(bytes.len())))
    })
}

fn bit_offset(call: &Call<'_>) -> Result<(usize, u32), Failure> {
    let offset = call.integer(2).ok().and_then(|o| usize::try_from(o).ok());
    let offset = offset
        .filter(|offset| offset / 8 < LONGEST)
        .ok_or_else(|| Failure::new("ERR bit offset is not an integer or out of range"))?;
    let bit = u32::try_from(7 - offset % 8).unwrap_or(0);
    Ok((offset / 8, bit))
}

fn setbit(call: &mut Call<'_>) -> Answer {
    let (byte, bit) = bit_offset(call)?;
    let on = match call.integer(3) {
        Ok(0) => 0,
        Ok(1) => 1,
        _ => return Err(Failure::new("ERR bit is not an integer or out of range")),
    };
    edit(call, |bytes| {
        let grows = bytes.len() <= byte;
        if grows {
            bytes.resize(byte + 1, 0);
        }
        let old = bytes[byte] >> bit & 1;
        bytes[byte] = bytes[byte] & !(1 << bit) | on << bit;
        Ok((grows || old != on, Reply::Integer(i64::from(old))))
    })
}

fn getbit(call: &mut Call<'_>) -> Answer {
    let (byte, bit) = bit_offset(call)?;
    let bytes = string(call, call.word(1))?.unwrap_or_default();
    let set = bytes.get(byte).map_or(0, |byte| byte >> bit & 1);
    Ok(Reply::Integer(i64::from(set)))
}
