//! The table `redis` of scripts.

use mlua::{Function, Lua, MultiValue, Result, Table, Value};
use sha1_smol::Sha1;

use super::convert;
use super::raise::raising;
use super::run::Run;
use crate::reply::Reply;

/// What a raising function returns: a value and whether to raise it.
type Outcome = (Value, bool);

pub(super) fn redis(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    let raise = lua.create_function(|lua, words: MultiValue| {
        let reply = call(lua, &words);
        let failed = matches!(reply, Reply::Error(_));
        Ok((convert::value(lua, reply)?, failed))
    })?;
    table.set("call", raising(lua, raise)?)?;
    table.set(
        "pcall",
        lua.create_function(|lua, words: MultiValue| convert::value(lua, call(lua, &words)))?,
    )?;
    table.set(
        "error_reply",
        one_text(lua, "err", |text| error_text(&text))?,
    )?;
    table.set("status_reply", one_text(lua, "ok", |text| text)?)?;
    table.set("sha1hex", raising(lua, lua.create_function(sha1hex)?)?)?;
    table.set("log", raising(lua, lua.create_function(log)?)?)?;
    table.set("setresp", raising(lua, lua.create_function(set_resp)?)?)?;
    table.set("set_repl", lua.create_function(|_, ()| Ok(()))?)?;
    table.set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
    table.set("breakpoint", lua.create_function(|_, ()| Ok(false))?)?;
    table.set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    for (name, number) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
        ("REDIS_VERSION_NUM", 0x0007_000f),
    ] {
        table.set(name, number)?;
    }
    table.set("REDIS_VERSION", "7.0.15")?;
    Ok(table)
}

/// `math.random` and `math.randomseed` over the script's own generator.
pub(super) fn random(lua: &Lua) -> Result<(Function, Function)> {
    let empty = || mlua::Error::runtime("bad argument to 'random' (interval is empty)");
    let random = lua.create_function(move |lua, (low, high): (Option<f64>, Option<f64>)| {
        let Some(mut run) = lua.app_data_mut::<Run>() else {
            return Ok(0.0);
        };
        let unit = run.state.random.unit();
        let (low, high) = match (low, high) {
            (None, _) => return Ok(unit),
            (Some(high), None) => (1.0, high.trunc()),
            (Some(low), Some(high)) => (low.trunc(), high.trunc()),
        };
        if low > high {
            return Err(empty());
        }
        Ok((unit * (high - low + 1.0)).floor() + low)
    })?;
    let seed = lua.create_function(|lua, seed: f64| {
        if let Some(mut run) = lua.app_data_mut::<Run>() {
            run.state.random.seed(seed as i64);
        }
        Ok(())
    })?;
    Ok((random, seed))
}

fn call(lua: &Lua, words: &MultiValue) -> Reply {
    if words.is_empty() {
        return Reply::error("ERR Please specify at least one argument for this redis lib call");
    }
    let Some(words) = words.iter().map(convert::word).collect::<Option<Vec<_>>>() else {
        return Reply::error("ERR Lua redis lib command arguments must be strings or integers");
    };
    match lua.app_data_mut::<Run>() {
        Some(mut run) => run.command(&words),
        None => Reply::error("ERR redis.call/pcall can only be called inside a script invocation"),
    }
}

/// A function of one text that makes a table of one field; a wrong argument makes an error, not raised.
fn one_text(
    lua: &Lua,
    field: &'static str,
    make: impl Fn(Vec<u8>) -> Vec<u8> + Send + 'static,
) -> Result<Function> {
    lua.create_function(move |lua, arguments: MultiValue| {
        match (arguments.len(), arguments.front()) {
            (1, Some(Value::String(text))) => {
                convert::single(lua, field, &make(text.as_bytes().to_vec()))
            }
            _ => convert::single(lua, "err", b"ERR wrong number or type of arguments"),
        }
    })
}

/// The first word is the error's code; a text of one word has none yet.
fn error_text(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    if text.contains(&b' ') {
        text.to_vec()
    } else {
        [b"ERR ", text].concat()
    }
}

fn raised(lua: &Lua, text: &str) -> Result<Outcome> {
    Ok((convert::single(lua, "err", text.as_bytes())?, true))
}

fn sha1hex(lua: &Lua, arguments: MultiValue) -> Result<Outcome> {
    if arguments.len() != 1 {
        return raised(lua, "ERR wrong number of arguments");
    }
    let text = arguments
        .front()
        .and_then(convert::word)
        .unwrap_or_default();
    let digest = Sha1::from(text).digest().to_string();
    Ok((Value::String(lua.create_string(digest)?), false))
}

/// Goes nowhere.
fn log(lua: &Lua, arguments: MultiValue) -> Result<Outcome> {
    let level = match arguments.front() {
        _ if arguments.len() < 2 => {
            return raised(lua, "ERR redis.log() requires two arguments or more.");
        }
        Some(Value::Integer(level)) => *level,
        Some(Value::Number(level)) => *level as i64,
        _ => return raised(lua, "ERR First argument must be a number (log level)."),
    };
    if !(0..=3).contains(&level) {
        return raised(lua, "ERR Invalid debug level.");
    }
    Ok((Value::Nil, false))
}

/// RESP3 is refused, as everywhere.
fn set_resp(lua: &Lua, arguments: MultiValue) -> Result<Outcome> {
    match (arguments.len(), arguments.front()) {
        (1, Some(Value::Integer(2))) => Ok((Value::Nil, false)),
        (1, Some(_)) => raised(lua, "ERR RESP version must be 2 or 3."),
        _ => raised(lua, "ERR redis.setresp() requires one argument."),
    }
}
