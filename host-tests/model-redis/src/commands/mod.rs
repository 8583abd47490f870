//! The commands: name, arity, flags and what each does, in files by the kind of data.

mod client;
mod expiry;
mod hashes;
mod keys;
mod lists;
mod numbers;
mod scan;
mod server;
mod sets;
mod sorted_sets;
mod stream_id;
mod streams;
mod strings;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::reply::{Failure, Reply};
use crate::request;
use crate::session::Session;
use crate::state::State;

pub(crate) const WRITE: u16 = 1;
/// Refused when memory is full.
pub(crate) const DENY_OOM: u16 = 1 << 1;
pub(crate) const NO_SCRIPT: u16 = 1 << 2;
/// Answered while the data is being loaded.
pub(crate) const LOADING: u16 = 1 << 3;
/// Answered by a replica that has lost its master.
pub(crate) const STALE: u16 = 1 << 4;
/// Answered before AUTH.
pub(crate) const NO_AUTH: u16 = 1 << 5;
/// Answered while a script runs for too long.
pub(crate) const ALLOW_BUSY: u16 = 1 << 6;

/// The flags of commands about the connection itself.
pub(crate) const SESSION: u16 = NO_SCRIPT | LOADING | STALE | ALLOW_BUSY;

pub(crate) type Answer = Result<Reply, Failure>;

/// One command.
#[derive(Debug)]
pub(crate) struct Spec {
    /// In lower case; a subcommand's after a bar.
    pub name: &'static str,
    /// Words including the name; negative for at least so many.
    pub arity: i32,
    pub flags: u16,
    pub run: Run,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// Looks at the data and the session only.
    Data(fn(&mut Call<'_>) -> Answer),
    Eval {
        by_digest: bool,
        read_only: bool,
    },
    ScriptLoad,
    ScriptExists,
    ScriptFlush,
    Exec,
}

impl Spec {
    pub(crate) const fn data(
        name: &'static str,
        arity: i32,
        flags: u16,
        run: fn(&mut Call<'_>) -> Answer,
    ) -> Self {
        Self::new(name, arity, flags, Run::Data(run))
    }

    pub(crate) const fn new(name: &'static str, arity: i32, flags: u16, run: Run) -> Self {
        Self {
            name,
            arity,
            flags,
            run,
        }
    }

    pub(crate) fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    pub(crate) fn takes(&self, words: usize) -> bool {
        let (words, arity) = (
            i32::try_from(words).unwrap_or(i32::MAX),
            self.arity.unsigned_abs(),
        );
        if self.arity < 0 {
            words.unsigned_abs() >= arity
        } else {
            words == self.arity
        }
    }
}

const EVAL: u16 = NO_SCRIPT | STALE;

static SCRIPTING: [Spec; 8] = [
    Spec::new("eval", -3, EVAL, eval(false, false)),
    Spec::new("evalsha", -3, EVAL, eval(true, false)),
    Spec::new("eval_ro", -3, EVAL, eval(false, true)),
    Spec::new("evalsha_ro", -3, EVAL, eval(true, true)),
    Spec::new("script|load", 3, EVAL, Run::ScriptLoad),
    Spec::new("script|exists", -3, NO_SCRIPT, Run::ScriptExists),
    Spec::new("script|flush", -2, NO_SCRIPT, Run::ScriptFlush),
    Spec::new("exec", 1, NO_SCRIPT | LOADING | STALE, Run::Exec),
];

const fn eval(by_digest: bool, read_only: bool) -> Run {
    Run::Eval {
        by_digest,
        read_only,
    }
}

static TABLE: LazyLock<HashMap<&'static str, &'static Spec>> = LazyLock::new(|| {
    let all = [
        &SCRIPTING[..],
        client::COMMANDS,
        expiry::COMMANDS,
        hashes::COMMANDS,
        keys::COMMANDS,
        lists::COMMANDS,
        numbers::COMMANDS,
        scan::COMMANDS,
        server::COMMANDS,
        sets::COMMANDS,
        sorted_sets::COMMANDS,
        streams::COMMANDS,
        strings::COMMANDS,
    ];
    let specs = all.into_iter().flatten();
    specs.map(|spec| (spec.name, spec)).collect()
});

/// Commands that are a family of subcommands.
const FAMILIES: [&str; 4] = ["client", "command", "config", "script"];

/// Whether a subcommand must follow.
pub(crate) fn is_family(name: &[u8]) -> bool {
    FAMILIES.contains(&lower(name).as_str())
}

/// Finds a command by its words.
pub(crate) fn find(words: &[Vec<u8>]) -> Found {
    let name = words.first().map(|word| lower(word)).unwrap_or_default();
    if FAMILIES.contains(&name.as_str()) && (words.len() > 1 || name != "command") {
        let Some(sub) = words.get(1) else {
            return Err(Failure::arity(&name));
        };
        let full = format!("{name}|{}", lower(sub));
        return TABLE.get(full.as_str()).copied().ok_or_else(|| {
            let sub = String::from_utf8_lossy(sub);
            let family = name.to_uppercase();
            Failure(format!(
                "ERR unknown subcommand '{sub}'. Try {family} HELP."
            ))
        });
    }
    let spec = TABLE.get(name.as_str()).copied();
    // `family|member` is how the table is kept, not a command.
    spec.filter(|_| !name.contains('|')).ok_or_else(|| {
        let mut begin = String::new();
        for word in words.iter().skip(1) {
            let room = 128usize.saturating_sub(begin.len());
            if room == 0 {
                break;
            }
            let word = word.get(..room.min(word.len())).unwrap_or_default();
            begin.push_str(&format!("'{}' ", String::from_utf8_lossy(word)));
        }
        let name = String::from_utf8_lossy(words.first().map_or(b"", |word| word));
        Failure(format!(
            "ERR unknown command '{name}', with args beginning with: {begin}"
        ))
    })
}

type Found = Result<&'static Spec, Failure>;

pub(crate) fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

/// One call of a command: its words, the data and the client's session.
pub(crate) struct Call<'a> {
    pub state: &'a mut State,
    pub session: &'a mut Session,
    /// The command's name included.
    pub words: &'a [Vec<u8>],
}

impl<'a> Call<'a> {
    /// The word at `index`; arity is checked before, so the ones it promises are there.
    pub(crate) fn word(&self, index: usize) -> &'a [u8] {
        self.words.get(index).map_or(b"", |word| word)
    }

    /// The words from `index` on.
    pub(crate) fn rest(&self, index: usize) -> &'a [Vec<u8>] {
        self.words.get(index..).unwrap_or_default()
    }

    /// An option's name, in lower case.
    pub(crate) fn option(&self, index: usize) -> Option<String> {
        self.words.get(index).map(|word| lower(word))
    }

    pub(crate) fn integer(&self, index: usize) -> Result<i64, Failure> {
        integer(self.word(index))
    }

    pub(crate) fn db(&self) -> u32 {
        self.session.db
    }
}

pub(crate) fn integer(word: &[u8]) -> Result<i64, Failure> {
    request::number(word).ok_or_else(Failure::not_an_integer)
}
