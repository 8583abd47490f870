//! Scripts: the cache of them, and how one is run.

mod convert;
mod library;
mod raise;
mod run;

use std::collections::BTreeMap;

use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};
use sha1_smol::Sha1;

use crate::reply::{Failure, Reply};
use crate::session::Session;
use crate::state::{Mode, State};
use run::Run;

/// The name of the chunk that every script is, as it shows in errors.
const CHUNK: &str = "@user_script";
/// The name of the sandbox's own code, which errors are not blamed on.
const SANDBOX: &str = "=sandbox";

/// A script that runs for more instructions than this is ended, as an operator would with SCRIPT KILL; time stands
/// still meanwhile, so that there is nothing else to end it by.
const PATIENCE: u32 = 200_000_000;
const KILLED: &str = "Script killed by user with SCRIPT KILL.";
/// How often that is looked at.
const STRIDE: u32 = 1_000_000;

/// What is told apart of a script's first line, `#!lua flags=...`.
#[derive(Debug, Clone, Copy)]
struct Header {
    no_writes: bool,
    allow_oom: bool,
    allow_stale: bool,
}

#[derive(Debug, Clone)]
struct Script {
    function: Function,
    /// Without, a script is one of the old kind, of which Redis learns what it does as it does it.
    header: Option<Header>,
}

/// What a script is called with.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    pub keys: &'a [Vec<u8>],
    pub values: &'a [Vec<u8>],
    pub read_only: bool,
}

#[derive(Debug)]
pub(crate) struct Scripts {
    lua: Lua,
    /// Where scripts find globals, and the table behind that.
    globals: Table,
    behind: Table,
    /// Lua's `xpcall`, and the function that says where an error was.
    protected_call: Function,
    locate: Function,
    cache: BTreeMap<String, Script>,
}

impl Scripts {
    /// A fresh interpreter, with no script loaded.
    ///
    /// # Panics
    /// When Lua has no memory to begin with.
    pub(crate) fn new() -> Self {
        Self::try_new().expect("Lua starts")
    }

    fn try_new() -> mlua::Result<Self> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let patience = HookTriggers::new().every_nth_instruction(STRIDE);
        lua.set_global_hook(patience, |lua, _| out_of_patience(lua))?;
        let (random, seed) = library::random(&lua)?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name(SANDBOX);
        let redis = library::redis(&lua)?;
        let (globals, behind) = sandbox.call((lua.globals(), redis, random, seed))?;
        Ok(Self {
            protected_call: lua.globals().get("xpcall")?,
            locate: lua.create_function(locate)?,
            lua,
            globals,
            behind,
            cache: BTreeMap::new(),
        })
    }

    pub(crate) fn has(&self, digest: &str) -> bool {
        self.cache.contains_key(digest)
    }

    /// Compiles a script and keeps it; returns its digest.
    pub(crate) fn load(&mut self, source: &[u8]) -> Result<String, Failure> {
        let digest = Sha1::from(source).digest().to_string();
        if !self.has(&digest) {
            let (header, body) = split(source)?;
            let chunk = self.lua.load(body).set_name(CHUNK);
            // Text only: a compiled chunk could break the interpreter.
            let chunk = chunk.set_mode(mlua::chunk::ChunkMode::Text);
            let chunk = chunk.set_environment(self.globals.clone());
            let function = chunk.into_function().map_err(|error| {
                let text = match error {
                    mlua::Error::SyntaxError { message, .. } => message,
                    other => other.to_string(),
                };
                Failure(format!("ERR Error compiling script (new function): {text}"))
            })?;
            let script = Script { function, header };
            self.cache.insert(digest.clone(), script);
        }
        Ok(digest)
    }

    /// Runs a loaded script on the server's state.
    pub(crate) fn run(
        &self,
        state: &mut State,
        session: &Session,
        digest: &str,
        arguments: &Arguments<'_>,
    ) -> Reply {
        let Some(script) = self.cache.get(digest) else {
            return Reply::error("NOSCRIPT No matching script. Please use EVAL.");
        };
        let out_of_memory = state.out_of_memory();
        if let Some(header) = script.header
            && let Err(failure) = header.check(state, arguments.read_only, out_of_memory)
        {
            return failure.into();
        }
        if state.mode == Mode::MasterDown && !script.header.is_some_and(|h| h.allow_stale) {
            return Reply::error(crate::server::MASTER_DOWN);
        }
        self.lua.set_app_data(Run {
            state: std::mem::take(state),
            session: Session {
                db: session.db,
                authenticated: true,
                ..Session::default()
            },
            read_only: arguments.read_only || script.header.is_some_and(|h| h.no_writes),
            out_of_memory: out_of_memory && !script.header.is_some_and(|h| h.allow_oom),
            ..Run::default()
        });
        let result = self.protected(script, arguments);
        if let Some(run) = self.lua.remove_app_data::<Run>() {
            *state = run.state;
        }
        match result {
            Ok((true, value)) => convert::reply(&value, 0),
            Ok((false, problem)) => problem_reply(&problem, digest),
            Err(error) => Reply::error(format!("ERR {error}")),
        }
    }

    fn protected(&self, script: &Script, arguments: &Arguments<'_>) -> mlua::Result<(bool, Value)> {
        for (name, words) in [("KEYS", arguments.keys), ("ARGV", arguments.values)] {
            let table = self.lua.create_table_with_capacity(words.len(), 0)?;
            for (index, word) in words.iter().enumerate() {
                table.raw_set(index + 1, self.lua.create_string(word)?)?;
            }
            self.behind.raw_set(name, table)?;
        }
        self.protected_call.call((&script.function, &self.locate))
    }
}

impl Header {
    fn check(self, state: &State, read_only: bool, out_of_memory: bool) -> Result<(), Failure> {
        if !self.no_writes && state.is_replica() {
            return Err(Failure::new(crate::server::READ_ONLY));
        }
        if !self.no_writes && read_only {
            return Err(Failure::new(
                "ERR Can not execute a script with write flag using *_ro command.",
            ));
        }
        if out_of_memory && !self.allow_oom && !self.no_writes {
            return Err(Failure::new(crate::server::OUT_OF_MEMORY));
        }
        Ok(())
    }
}

/// Reads the first line if it is a header; the body keeps an empty one in its place, for the numbers of lines.
fn split(source: &[u8]) -> Result<(Option<Header>, &[u8]), Failure> {
    if !source.starts_with(b"#!") {
        return Ok((None, source));
    }
    let end = source.iter().position(|&byte| byte == b'\n');
    let end = end.ok_or_else(|| Failure::new("ERR Invalid script shebang"))?;
    let line = String::from_utf8_lossy(&source[2..end]);
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "lua" {
        return Err(Failure(format!(
            "ERR Unexpected engine in script shebang: #!{engine}"
        )));
    }
    let mut header = Header {
        no_writes: false,
        allow_oom: false,
        allow_stale: false,
    };
    for word in words {
        let Some(flags) = word.strip_prefix("flags=") else {
            return Err(Failure(format!("ERR Unknown lua shebang option: {word}")));
        };
        for flag in flags.split(',') {
            match flag {
                "no-writes" => header.no_writes = true,
                "allow-oom" => header.allow_oom = true,
                "allow-stale" => header.allow_stale = true,
                "no-cluster" | "allow-cross-slot-keys" => {}
                _ => {
                    return Err(Failure(format!(
                        "ERR Unexpected flag in script shebang: {flag}"
                    )));
                }
            }
        }
    }
    Ok((Some(header), &source[end..]))
}

fn out_of_patience(lua: &Lua) -> mlua::Result<VmState> {
    if let Some(mut run) = lua.app_data_mut::<Run>() {
        run.instructions = run.instructions.saturating_add(STRIDE);
        if run.instructions > PATIENCE {
            return Err(mlua::Error::runtime(KILLED));
        }
    }
    Ok(VmState::Continue)
}

/// Called where an error is raised: makes it a table, and notes the line of the script.
fn locate(lua: &Lua, problem: Value) -> mlua::Result<Value> {
    let table = match problem {
        Value::Table(table) => table,
        other => {
            let text = match &other {
                Value::String(text) => text.as_bytes().to_vec(),
                Value::Error(error) => plain(error).into_bytes(),
                other => other.to_string()?.into_bytes(),
            };
            let table = lua.create_table()?;
            table.raw_set("err", lua.create_string([b"ERR ", &text[..]].concat())?)?;
            table
        }
    };
    // This function is at 0; above what raised it (C's, or the sandbox's) is the script.
    let place = (1..=4)
        .map_while(|level| {
            lua.inspect_stack(level, |debug| {
                let source = debug.source();
                let name = source.source.map(|name| name.into_owned());
                (source.what == "C", name, debug.current_line())
            })
        })
        .find(|(c, name, _)| !c && name.as_deref() != Some(SANDBOX));
    if let Some((_, source, line)) = place {
        table.raw_set("source", source)?;
        table.raw_set("line", line)?;
    }
    Ok(Value::Table(table))
}

/// An error of `mlua` without the trace that it adds.
fn plain(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => plain(cause),
        mlua::Error::RuntimeError(text) => text.lines().next().unwrap_or_default().to_owned(),
        other => other.to_string(),
    }
}

/// What a client gets for an error that the script did not catch.
fn problem_reply(problem: &Value, digest: &str) -> Reply {
    let Value::Table(table) = problem else {
        let text = problem.to_string().unwrap_or_default();
        return Reply::error(format!("ERR {text} script: {digest}"));
    };
    let mut text = match table.raw_get("err") {
        Ok(Value::String(text)) => text.as_bytes().to_vec(),
        _ => b"ERR unknown error".to_vec(),
    };
    let source: Option<String> = table.raw_get("source").ok().flatten();
    let line: Option<i64> = table.raw_get("line").ok().flatten();
    if let (Some(source), Some(line)) = (source, line) {
        text.extend_from_slice(format!(" script: {digest}, on {source}:{line}.").as_bytes());
    }
    Reply::Error(text)
}
