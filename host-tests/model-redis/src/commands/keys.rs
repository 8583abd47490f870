//! Keys, whatever they hold.

use super::{Answer, Call, DENY_OOM, LOADING, STALE, Spec, WRITE};
use crate::reply::{Failure, Reply};
use crate::store::{DATABASES, Store};

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("del", -2, WRITE, del),
    Spec::data("unlink", -2, WRITE, del),
    Spec::data("exists", -2, 0, exists),
    Spec::data("touch", -2, 0, exists),
    Spec::data("type", 2, 0, kind),
    Spec::data("rename", 3, WRITE | DENY_OOM, rename),
    Spec::data("dbsize", 1, 0, dbsize),
    Spec::data("flushdb", -1, WRITE, |call| flush(call, false)),
    Spec::data("flushall", -1, WRITE, |call| flush(call, true)),
    Spec::data("select", 2, LOADING | STALE, select),
];

fn del(call: &mut Call<'_>) -> Answer {
    count(call, |store, db, key| store.remove(db, key).is_some())
}

fn exists(call: &mut Call<'_>) -> Answer {
    count(call, |store, db, key| store.get(db, key).is_some())
}

/// Counts the words that `is` holds for.
fn count(call: &mut Call<'_>, is: fn(&mut Store, u32, &[u8]) -> bool) -> Answer {
    let (db, keys) = (call.db(), call.rest(1));
    let store = &mut call.state.store;
    let counted = keys.iter().filter(|key| is(store, db, key));
    Ok(Reply::count(counted.count()))
}

fn kind(call: &mut Call<'_>) -> Answer {
    let db = call.db();
    let entry = call.state.store.get(db, call.word(1));
    Ok(Reply::status(
        entry.map_or("none", |entry| entry.value.kind()),
    ))
}

fn rename(call: &mut Call<'_>) -> Answer {
    let db = call.db();
    let (from, to) = (call.word(1), call.word(2));
    let Some(entry) = call.state.store.get(db, from).cloned() else {
        return Err(Failure::new("ERR no such key"));
    };
    if from != to {
        call.state.store.remove(db, from);
        call.state.store.put(db, to, entry.value, entry.expires);
    }
    Ok(Reply::ok())
}

fn dbsize(call: &mut Call<'_>) -> Answer {
    Ok(Reply::count(call.state.store.live(call.db()).count()))
}

fn flush(call: &mut Call<'_>, all: bool) -> Answer {
    if call.words.len() > 2 || !matches!(call.option(1).as_deref(), None | Some("sync" | "async")) {
        return Err(Failure::syntax());
    }
    let current = call.db();
    for db in 0..DATABASES {
        if all || db == current {
            call.state.store.clear(db);
        }
    }
    Ok(Reply::ok())
}

fn select(call: &mut Call<'_>) -> Answer {
    let db = call.integer(1)?;
    let db = i32::try_from(db).map_err(|_| {
        Failure::new("ERR value is out of range, value must between -2147483648 and 2147483647")
    })?;
    call.session.db = u32::try_from(db)
        .ok()
        .filter(|db| *db < DATABASES)
        .ok_or_else(|| Failure::new("ERR DB index is out of range"))?;
    Ok(Reply::ok())
}
