//! Values of Lua as replies, and replies as values of Lua.

use mlua::{Lua, Result, Table, Value};

use crate::float;
use crate::reply::Reply;

/// Tables within tables; deeper ones are an error.
const DEPTH: usize = 200;

/// What a client gets for what a script returns.
pub(super) fn reply(value: &Value, depth: usize) -> Reply {
    match value {
        Value::String(text) => Reply::bulk(text.as_bytes().to_vec()),
        Value::Integer(number) => Reply::Integer(*number),
        Value::Number(number) => Reply::Integer(truncate(*number)),
        Value::Boolean(true) => Reply::Integer(1),
        Value::Table(_) if depth >= DEPTH => Reply::error("ERR reached lua stack limit"),
        Value::Table(table) => table_reply(table, depth).unwrap_or(Reply::Nil),
        _ => Reply::Nil,
    }
}

fn table_reply(table: &Table, depth: usize) -> Result<Reply> {
    if let Value::String(text) = table.raw_get("err")? {
        return Ok(Reply::Error(text.as_bytes().to_vec()));
    }
    if let Value::String(text) = table.raw_get("ok")? {
        return Ok(Reply::Status(text.as_bytes().to_vec()));
    }
    if let Some(number) = number(&table.raw_get("double")?) {
        return Ok(Reply::bulk(float::write(number)));
    }
    if let Value::Table(map) = table.raw_get("map")? {
        let mut items = Vec::new();
        for pair in map.pairs::<Value, Value>() {
            let (key, value) = pair?;
            items.extend([reply(&key, depth + 1), reply(&value, depth + 1)]);
        }
        return Ok(Reply::Array(items));
    }
    if let Value::Table(set) = table.raw_get("set")? {
        let mut items = Vec::new();
        for pair in set.pairs::<Value, Value>() {
            items.push(reply(&pair?.0, depth + 1));
        }
        return Ok(Reply::Array(items));
    }
    let mut items = Vec::new();
    loop {
        match table.raw_get(items.len() + 1)? {
            Value::Nil => return Ok(Reply::Array(items)),
            item => items.push(reply(&item, depth + 1)),
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// As the processors do that Redis runs on: what does not fit becomes the smallest number.
fn truncate(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

/// What a script gets for what a command answers.
pub(super) fn value(lua: &Lua, reply: Reply) -> Result<Value> {
    Ok(match reply {
        Reply::Status(text) => single(lua, "ok", &text)?,
        Reply::Error(text) => single(lua, "err", &text)?,
        Reply::Integer(number) => Value::Number(number as f64),
        Reply::Bulk(bytes) => Value::String(lua.create_string(bytes)?),
        Reply::Nil | Reply::NilArray => Value::Boolean(false),
        Reply::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (index, item) in items.into_iter().enumerate() {
                table.raw_set(index + 1, value(lua, item)?)?;
            }
            Value::Table(table)
        }
    })
}

/// A table with one field.
pub(super) fn single(lua: &Lua, field: &str, text: &[u8]) -> Result<Value> {
    let table = lua.create_table()?;
    table.raw_set(field, lua.create_string(text)?)?;
    Ok(Value::Table(table))
}

/// A word of a command, when the value can be one.
pub(super) fn word(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(float::write(*number as f64).into_bytes()),
        Value::Number(number) => Some(float::write(*number).into_bytes()),
        _ => None,
    }
}
