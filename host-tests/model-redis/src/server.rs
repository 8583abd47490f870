//! The server: bytes in, bytes out, and what can go wrong with it.

use crate::commands::{
    self, ALLOW_BUSY, Call, DENY_OOM, LOADING, NO_AUTH, Run, STALE, Spec, WRITE,
};
use crate::reply::{Failure, Reply};
use crate::request;
use crate::script::{Arguments, Scripts};
use crate::session::{Connection, Session};
use crate::state::{Mode, Settings, State};
use crate::store::Store;

pub(crate) const READ_ONLY: &str = "READONLY You can't write against a read only replica.";
pub(crate) const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
pub(crate) const MASTER_DOWN: &str =
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";

/// A Redis without a thread, a socket or a clock of its own.
#[derive(Debug)]
pub struct Server {
    pub(crate) state: State,
    pub(crate) scripts: Scripts,
    pub(crate) random: fastrand::Rng,
    /// How often all connections were dropped: those from before are gone.
    pub(crate) age: u64,
    connections: i64,
}

impl Server {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let history = if settings.replicas > 0 {
            settings.replica_backlog
        } else {
            0
        };
        Self {
            random: fastrand::Rng::with_seed(settings.seed),
            state: State {
                store: Store::new(history),
                settings,
                replicas_follow: true,
                ..State::default()
            },
            scripts: Scripts::new(),
            age: 0,
            connections: 0,
        }
    }

    /// A new client.
    pub fn connect(&mut self) -> Connection {
        self.connections += 1;
        Connection {
            session: Session {
                id: self.connections,
                authenticated: self.state.settings.password.is_none(),
                ..Session::default()
            },
            input: Vec::new(),
            age: self.age,
            closed: false,
        }
    }

    /// Takes what a client sends and gives what it is answered, at `now_micros` since the epoch. The time may also go
    /// back. A command that is not all there waits for the rest. A closed connection answers nothing.
    pub fn feed(&mut self, connection: &mut Connection, bytes: &[u8], now_micros: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if connection.age != self.age {
            connection.closed = true;
        }
        if connection.closed {
            return out;
        }
        self.state.store.set_now(now_micros);
        let mut input = std::mem::take(&mut connection.input);
        input.extend_from_slice(bytes);
        let mut at = 0;
        while !connection.closed {
            match request::next(&input, &mut at, connection.session.authenticated) {
                Ok(None) => break,
                Ok(Some(words)) if words.is_empty() => {}
                Ok(Some(words)) => {
                    self.command(&mut connection.session, words)
                        .encode(&mut out);
                    connection.closed = connection.session.closing;
                }
                Err(problem) => {
                    Reply::error(format!("ERR Protocol error: {problem}")).encode(&mut out);
                    connection.closed = true;
                }
            }
        }
        input.drain(..at);
        connection.input = input;
        out
    }

    fn command(&mut self, session: &mut Session, words: Vec<Vec<u8>>) -> Reply {
        let checked = commands::find(&words).and_then(|spec| {
            if spec.takes(words.len()) {
                Ok(spec)
            } else {
                Err(Failure::arity(spec.name))
            }
        });
        let spec = match checked {
            Ok(spec) => spec,
            Err(failure) => return refuse(session, None, failure),
        };
        if let Some(failure) = self.refusal(session, spec) {
            return refuse(session, Some(spec), failure);
        }
        let now = ["exec", "discard", "multi", "watch", "quit", "reset"];
        if let Some(transaction) = &mut session.transaction
            && !now.contains(&spec.name)
        {
            transaction.queue.push((spec, words));
            return Reply::status("QUEUED");
        }
        let reply = self.execute(session, spec, &words);
        self.state.store.commit();
        reply
    }

    /// Why the server does not do it now, in the order in which Redis asks.
    fn refusal(&self, session: &Session, spec: &Spec) -> Option<Failure> {
        let queue = match (&spec.run, &session.transaction) {
            (Run::Exec, Some(transaction)) => &transaction.queue[..],
            _ => &[],
        };
        let any = |flag| spec.is(flag) || queue.iter().any(|(queued, _)| queued.is(flag));
        let all = |flag| spec.is(flag) && queue.iter().all(|(queued, _)| queued.is(flag));
        let mode = self.state.mode;
        let in_transaction = session.transaction.is_some()
            && !["exec", "discard", "quit", "reset"].contains(&spec.name);
        let problem = if !session.authenticated && !spec.is(NO_AUTH) {
            "NOAUTH Authentication required."
        } else if (any(DENY_OOM) || in_transaction) && self.state.out_of_memory() {
            OUT_OF_MEMORY
        } else if any(WRITE) && self.state.is_replica() {
            READ_ONLY
        } else if mode == Mode::MasterDown && !all(STALE) {
            MASTER_DOWN
        } else if mode == Mode::Loading && !all(LOADING) {
            "LOADING Redis is loading the dataset in memory"
        } else if mode == Mode::Busy && !spec.is(ALLOW_BUSY) {
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
        } else {
            return None;
        };
        Some(Failure::new(problem))
    }

    fn execute(&mut self, session: &mut Session, spec: &'static Spec, words: &[Vec<u8>]) -> Reply {
        self.state.count(spec.name);
        let answer = match spec.run {
            Run::Data(run) => run(&mut Call {
                state: &mut self.state,
                session,
                words,
            }),
            Run::Eval {
                by_digest,
                read_only,
            } => self.eval(session, words, by_digest, read_only),
            Run::ScriptLoad => self
                .scripts
                .load(words.get(2).map_or(b"", |source| source))
                .map(Reply::bulk),
            Run::ScriptExists => {
                let digests = words.iter().skip(2);
                let known = digests.map(|digest| {
                    let known = self.scripts.has(&commands::lower(digest));
                    Reply::Integer(i64::from(known))
                });
                Ok(Reply::Array(known.collect()))
            }
            Run::ScriptFlush => {
                self.scripts = Scripts::new();
                Ok(Reply::ok())
            }
            Run::Exec => self.exec(session),
        };
        answer.unwrap_or_else(Reply::from)
    }

    fn eval(
        &mut self,
        session: &Session,
        words: &[Vec<u8>],
        by_digest: bool,
        read_only: bool,
    ) -> Result<Reply, Failure> {
        let [_, script, count, rest @ ..] = words else {
            return Err(Failure::syntax());
        };
        let count = commands::integer(count)?;
        let Ok(count) = usize::try_from(count) else {
            return Err(Failure::new("ERR Number of keys can't be negative"));
        };
        let Some((keys, values)) = rest.split_at_checked(count) else {
            return Err(Failure::new(
                "ERR Number of keys can't be greater than number of args",
            ));
        };
        let digest = if by_digest {
            commands::lower(script)
        } else {
            self.scripts.load(script)?
        };
        let arguments = Arguments {
            keys,
            values,
            read_only,
        };
        let scripts = &self.scripts;
        Ok(scripts.run(&mut self.state, session, &digest, &arguments))
    }

    fn exec(&mut self, session: &mut Session) -> Result<Reply, Failure> {
        let Some(transaction) = session.transaction.take() else {
            return Err(Failure::new("ERR EXEC without MULTI"));
        };
        let watched = std::mem::take(&mut session.watched);
        if transaction.spoiled {
            return Err(Failure::new(
                "EXECABORT Transaction discarded because of previous errors.",
            ));
        }
        for (db, key, revision) in watched {
            if self.state.store.revision(db, &key) != revision {
                return Ok(Reply::NilArray);
            }
        }
        let queue = transaction.queue.into_iter();
        let replies = queue.map(|(spec, words)| self.execute(session, spec, &words));
        Ok(Reply::Array(replies.collect()))
    }
}

/// Turns a command down; a transaction it was meant for is spoiled.
fn refuse(session: &mut Session, spec: Option<&Spec>, failure: Failure) -> Reply {
    let is_exec = spec.is_some_and(|spec| matches!(spec.run, Run::Exec));
    if is_exec && session.transaction.take().is_some() {
        session.watched.clear();
        return Reply::error(format!(
            "EXECABORT Transaction discarded because of: {}",
            failure.0
        ));
    }
    if let Some(transaction) = &mut session.transaction {
        transaction.spoiled = true;
    }
    failure.into()
}
