//! The parts of the server that commands see: data, settings, what is broken, and counts.

use std::collections::BTreeMap;

use crate::random::Random;
use crate::store::Store;

/// What a server is started with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Clients must give it with AUTH.
    pub password: Option<String>,
    /// A user besides `default` who has the same password.
    pub user: Option<String>,
    /// Of what the server chooses: the keys it evicts.
    pub seed: u64,
    /// Bytes of data (an estimate) after which commands that may need memory are refused; no limit when `None`.
    pub max_memory: Option<usize>,
    /// Replicas that WAIT counts and that [`Server::failover`](crate::Server::failover) promotes.
    pub replicas: usize,
    /// How many of the last writes a failover can lose at most. Each keeps what it replaced in memory.
    pub replica_backlog: usize,
    /// Whether WAITAOF has a file to wait for.
    pub append_only: bool,
}

/// What is the matter with the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Normal,
    /// Reads its data from disk: `-LOADING`.
    Loading,
    /// Is a replica: writes are refused with `-READONLY`.
    ReadOnly,
    /// Has no memory left: commands that may need some are refused with `-OOM`.
    OutOfMemory,
    /// Runs somebody's endless script: `-BUSY`.
    Busy,
    /// Is a replica that lost its master and may not serve old data: `-MASTERDOWN`.
    MasterDown,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub store: Store,
    pub settings: Settings,
    pub mode: Mode,
    /// Whether replicas have all writes, so that WAIT is content.
    pub replicas_follow: bool,
    /// Calls by command, those of scripts included.
    pub calls: BTreeMap<&'static str, u64>,
    /// Of scripts.
    pub random: Random,
}

impl State {
    pub(crate) fn out_of_memory(&self) -> bool {
        self.mode == Mode::OutOfMemory
            || self
                .settings
                .max_memory
                .is_some_and(|most| self.store.memory() > most)
    }

    pub(crate) fn is_replica(&self) -> bool {
        matches!(self.mode, Mode::ReadOnly | Mode::MasterDown)
    }

    pub(crate) fn count(&mut self, command: &'static str) {
        *self.calls.entry(command).or_default() += 1;
    }
}
