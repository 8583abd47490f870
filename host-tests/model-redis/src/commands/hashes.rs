//! Hashes.

use super::{Answer, Call, DENY_OOM, Spec, WRITE, integer, numbers};
use crate::reply::{Failure, Reply};
use crate::request;
use crate::value::Hash;

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("hset", -4, WRITE | DENY_OOM, |call| hset(call, "hset")),
    Spec::data("hmset", -4, WRITE | DENY_OOM, |call| {
        hset(call, "hmset").map(|_| Reply::ok())
    }),
    Spec::data("hsetnx", 4, WRITE | DENY_OOM, hsetnx),
    Spec::data("hget", 3, 0, hget),
    Spec::data("hmget", -3, 0, hmget),
    Spec::data("hgetall", 2, 0, hgetall),
    Spec::data("hkeys", 2, 0, hkeys),
    Spec::data("hvals", 2, 0, hvals),
    Spec::data("hdel", -3, WRITE, hdel),
    Spec::data("hexists", 3, 0, hexists),
    Spec::data("hlen", 2, 0, hlen),
    Spec::data("hstrlen", 3, 0, hstrlen),
    Spec::data("hincrby", 4, WRITE | DENY_OOM, hincrby),
];

fn hash<R>(call: &mut Call<'_>, look: impl FnOnce(&Hash) -> R) -> Result<R, Failure> {
    let (db, key) = (call.db(), call.word(1));
    let none = Hash::default();
    let hash = call.state.store.read::<Hash>(db, key)?;
    Ok(look(hash.unwrap_or(&none)))
}

fn edit<R>(
    call: &mut Call<'_>,
    change: impl FnOnce(&mut Hash) -> Result<(bool, R), Failure>,
) -> Result<R, Failure> {
    let (db, key) = (call.db(), call.word(1));
    call.state.store.edit(db, key, change)
}

fn hset(call: &mut Call<'_>, name: &str) -> Answer {
    let (pairs, odd) = call.rest(2).as_chunks::<2>();
    if !odd.is_empty() {
        return Err(Failure::arity(name));
    }
    edit(call, |hash| {
        let new = pairs
            .iter()
            .filter(|[field, value]| hash.insert(field.clone(), value.clone()).is_none())
            .count();
        Ok((true, Reply::count(new)))
    })
}

fn hsetnx(call: &mut Call<'_>) -> Answer {
    let (field, value) = (call.word(2), call.word(3));
    edit(call, |hash| {
        let new = !hash.contains_key(field);
        if new {
            hash.insert(field.to_vec(), value.to_vec());
        }
        Ok((new, Reply::Integer(i64::from(new))))
    })
}

fn hget(call: &mut Call<'_>) -> Answer {
    let field = call.word(2);
    hash(call, |hash| Reply::bulk_or_nil(hash.get(field).cloned()))
}

fn hmget(call: &mut Call<'_>) -> Answer {
    let fields = call.rest(2);
    hash(call, |hash| {
        let values = fields.iter().map(|field| hash.get(field).cloned());
        Reply::Array(values.map(Reply::bulk_or_nil).collect())
    })
}

fn hgetall(call: &mut Call<'_>) -> Answer {
    hash(call, |hash| {
        Reply::bulks(hash.iter().flat_map(|(f, v)| [f.clone(), v.clone()]))
    })
}

fn hkeys(call: &mut Call<'_>) -> Answer {
    hash(call, |hash| Reply::bulks(hash.keys().cloned()))
}

fn hvals(call: &mut Call<'_>) -> Answer {
    hash(call, |hash| Reply::bulks(hash.values().cloned()))
}

fn hdel(call: &mut Call<'_>) -> Answer {
    let fields = call.rest(2);
    edit(call, |hash| {
        let gone = fields
            .iter()
            .filter(|field| hash.shift_remove(*field).is_some())
            .count();
        Ok((gone > 0, Reply::count(gone)))
    })
}

fn hexists(call: &mut Call<'_>) -> Answer {
    let field = call.word(2);
    hash(call, |hash| {
        Reply::Integer(i64::from(hash.contains_key(field)))
    })
}

fn hlen(call: &mut Call<'_>) -> Answer {
    hash(call, |hash| Reply::count(hash.len()))
}

fn hstrlen(call: &mut Call<'_>) -> Answer {
    let field = call.word(2);
    hash(call, |hash| {
        Reply::count(hash.get(field).map_or(0, Vec::len))
    })
}

fn hincrby(call: &mut Call<'_>) -> Answer {
    let field = call.word(2);
    let by = integer(call.word(3))?;
    edit(call, |hash| {
        let old = match hash.get(field) {
            Some(text) => request::number(text)
                .ok_or_else(|| Failure::new("ERR hash value is not an integer"))?,
            None => 0,
        };
        let new = old.checked_add(by).ok_or_else(numbers::overflow)?;
        hash.insert(field.to_vec(), new.to_string().into_bytes());
        Ok((true, Reply::Integer(new)))
    })
}
