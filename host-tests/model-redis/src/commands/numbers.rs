//! Strings that are whole numbers.

use super::{Answer, Call, DENY_OOM, Spec, WRITE, strings};
use crate::reply::{Failure, Reply};
use crate::request;

pub(super) static COMMANDS: &[Spec] = &[
    Spec::data("incr", 2, WRITE | DENY_OOM, |call| add(call, 1)),
    Spec::data("decr", 2, WRITE | DENY_OOM, |call| add(call, -1)),
    Spec::data("incrby", 3, WRITE | DENY_OOM, |call| {
        let by = call.integer(2)?;
        add(call, by)
    }),
    Spec::data("decrby", 3, WRITE | DENY_OOM, |call| {
        let by = call
            .integer(2)?
            .checked_neg()
            .ok_or_else(|| Failure::new("ERR decrement would overflow"))?;
        add(call, by)
    }),
];

pub(super) fn overflow() -> Failure {
    Failure::new("ERR increment or decrement would overflow")
}

fn add(call: &mut Call<'_>, by: i64) -> Answer {
    let (db, key) = (call.db(), call.word(1));
    let old = match strings::string(call, key)? {
        Some(text) => request::number(&text).ok_or_else(Failure::not_an_integer)?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or_else(overflow)?;
    call.state.store.edit(db, key, |bytes: &mut Vec<u8>| {
        *bytes = new.to_string().into_bytes();
        Ok((true, Reply::Integer(new)))
    })
}
