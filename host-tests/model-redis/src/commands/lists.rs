//! Lists.

use super::{Answer, Call, DENY_OOM, Spec, WRITE};
use crate::reply::{Failure, Reply};
use crate::value::List;

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("lpush", -3, WRITE | DENY_OOM, |call| push(call, true)),
    Spec::data("rpush", -3, WRITE | DENY_OOM, |call| push(call, false)),
    Spec::data("lpop", -2, WRITE, |call| pop(call, "lpop", true)),
    Spec::data("rpop", -2, WRITE, |call| pop(call, "rpop", false)),
    Spec::data("lrange", 4, 0, lrange),
    Spec::data("ltrim", 4, WRITE, ltrim),
    Spec::data("llen", 2, 0, llen),
];

fn edit<R>(
    call: &mut Call<'_>,
    change: impl FnOnce(&mut List) -> Result<(bool, R), Failure>,
) -> Result<R, Failure> {
    let (db, key) = (call.db(), call.word(1));
    call.state.store.edit(db, key, change)
}

fn push(call: &mut Call<'_>, left: bool) -> Answer {
    let items = call.rest(2);
    edit(call, |list| {
        for item in items {
            if left {
                list.push_front(item.clone());
            } else {
                list.push_back(item.clone());
            }
        }
        Ok((true, Reply::count(list.len())))
    })
}

fn pop(call: &mut Call<'_>, name: &str, left: bool) -> Answer {
    let count = match call.words.len() {
        2 => None,
        3 => Some(
            call.integer(2)
                .ok()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| Failure::new("ERR value is out of range, must be positive"))?,
        ),
        _ => return Err(Failure::arity(name)),
    };
    let take = |list: &mut List| {
        if left {
            list.pop_front()
        } else {
            list.pop_back()
        }
    };
    edit(call, |list| {
        let Some(count) = count else {
            let item = take(list);
            return Ok((item.is_some(), Reply::bulk_or_nil(item)));
        };
        if list.is_empty() {
            return Ok((false, Reply::NilArray));
        }
        let items: Vec<_> = (0..count.min(list.len()))
            .filter_map(|_| take(list))
            .collect();
        Ok((!items.is_empty(), Reply::bulks(items)))
    })
}

/// The range of places that two numbers, counted from the end when negative, name.
fn range(call: &Call<'_>, length: usize) -> Result<std::ops::Range<usize>, Failure> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let place = |at: i64| {
        if at < 0 {
            length.saturating_add(at)
        } else {
            at
        }
    };
    let start = place(call.integer(2)?).max(0).min(length);
    let end = place(call.integer(3)?)
        .saturating_add(1)
        .min(length)
        .max(start);
    Ok(usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0))
}

fn lrange(call: &mut Call<'_>) -> Answer {
    range(call, 0)?;
    let (db, key) = (call.db(), call.word(1));
    let list = call.state.store.read::<List>(db, key)?.cloned();
    let list = list.unwrap_or_default();
    let range = range(call, list.len())?;
    Ok(Reply::bulks(list.range(range).cloned()))
}

fn ltrim(call: &mut Call<'_>) -> Answer {
    range(call, 0)?;
    let (db, key) = (call.db(), call.word(1));
    let length = call.state.store.read::<List>(db, key)?.map_or(0, List::len);
    let range = range(call, length)?;
    edit(call, |list| {
        *list = list.range(range).cloned().collect();
        Ok((true, Reply::ok()))
    })
}

fn llen(call: &mut Call<'_>) -> Answer {
    let (db, key) = (call.db(), call.word(1));
    let length = call.state.store.read::<List>(db, key)?.map_or(0, List::len);
    Ok(Reply::count(length))
}
