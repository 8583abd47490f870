//! What Redis remembers of one client.

use crate::commands::Spec;

/// A command waiting for EXEC.
pub(crate) type Queued = (&'static Spec, Vec<Vec<u8>>);

#[derive(Debug, Default)]
pub(crate) struct Session {
    pub id: i64,
    pub db: u32,
    pub authenticated: bool,
    pub name: Vec<u8>,
    /// Set between MULTI and EXEC.
    pub transaction: Option<Transaction>,
    /// Keys and their revisions when WATCH saw them.
    pub watched: Vec<(u32, Vec<u8>, u64)>,
    /// The connection ends once the answer is sent.
    pub closing: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub queue: Vec<Queued>,
    /// A command was refused, so EXEC will be.
    pub spoiled: bool,
}

/// A client's connection; give it to [`Server::feed`](crate::Server::feed) with what the client sends.
#[derive(Debug)]
pub struct Connection {
    pub(crate) session: Session,
    pub(crate) input: Vec<u8>,
    /// The server's count of restarts when it was made.
    pub(crate) age: u64,
    pub(crate) closed: bool,
}

impl Connection {
    /// Whether the server has closed it: after QUIT, a protocol error, a restart or a failover.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }
}
