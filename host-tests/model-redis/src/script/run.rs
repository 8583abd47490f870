//! A script while it runs: what it may still do, and the commands it calls.

use crate::commands::{self, Call, DENY_OOM, NO_SCRIPT, Run as How, STALE, WRITE};
use crate::reply::{Failure, Reply};
use crate::session::Session;
use crate::state::{Mode, State};

/// Lives in Lua's application data meanwhile, and has the server's state, so that functions of Lua find it.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub state: State,
    /// The script's own: its SELECT is not the client's.
    pub session: Session,
    pub read_only: bool,
    /// Memory was full when it began. Once it has written it may go on, for it cannot be undone.
    pub out_of_memory: bool,
    pub wrote: bool,
    /// It has run for so many, about.
    pub instructions: u32,
}

impl Run {
    pub(super) fn command(&mut self, words: &[Vec<u8>]) -> Reply {
        self.try_command(words).unwrap_or_else(Reply::from)
    }

    fn try_command(&mut self, words: &[Vec<u8>]) -> Result<Reply, Failure> {
        let too_few = || Failure::new("ERR Wrong number of args calling Redis command from script");
        let spec = commands::find(words).map_err(|_| {
            if words.len() == 1 && commands::is_family(&words[0]) {
                too_few()
            } else {
                Failure::new("ERR Unknown Redis command called from script")
            }
        })?;
        if !spec.takes(words.len()) {
            return Err(too_few());
        }
        let How::Data(run) = spec.run else {
            return Err(not_allowed());
        };
        if spec.is(NO_SCRIPT) {
            return Err(not_allowed());
        }
        if self.state.mode == Mode::MasterDown && !spec.is(STALE) {
            return Err(Failure::new(
                "ERR Can not execute the command on a stale replica",
            ));
        }
        if spec.is(WRITE) {
            if self.read_only {
                return Err(Failure::new(
                    "ERR Write commands are not allowed from read-only scripts.",
                ));
            }
            if self.state.is_replica() {
                return Err(Failure::new(crate::server::READ_ONLY));
            }
        }
        if spec.is(DENY_OOM) && self.out_of_memory && !self.wrote {
            return Err(Failure::new(crate::server::OUT_OF_MEMORY));
        }
        self.wrote |= spec.is(WRITE);
        self.state.count(spec.name);
        run(&mut Call {
            state: &mut self.state,
            session: &mut self.session,
            words,
        })
    }
}

fn not_allowed() -> Failure {
    Failure::new("ERR This Redis command is not allowed from script")
}
