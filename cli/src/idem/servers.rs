//! The Redis that holds the records, or each primary of a Redis Cluster.

use redis::{
    Client, Connection, ConnectionLike, ErrorKind, IntoConnectionInfo, ServerErrorKind, Value,
};
use sluice_core::idempotency::scope::Scope;
use sluice_core::idempotency::scripts::{Keys, Resolution, Resolved, resolved};
use sluice_core::policy::idempotency::Idempotency;
use sluice_core::policy::redis::Redis;
use sluice_core::redis::resp::Reply;
use std::collections::BTreeSet;
use std::time::Duration;

use super::environment;
use super::record::Record;
use crate::Refusal;

/// So many names SCAN looks at in one step: it holds up everybody else meanwhile.
const STEP: usize = 500;

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Servers(Vec<Connection>);

impl Servers {
    pub fn connect(urls: &[String], settings: &Redis) -> Result<Self, Refusal> {
        let connect = |url: &String| connect(url, settings).map_err(refusal);
        Ok(Self(urls.iter().map(connect).collect::<Result<_, _>>()?))
    }

    /// Each record, once.
    pub fn each(
        &mut self,
        policy: &Idempotency,
        see: &mut dyn FnMut(&Record),
    ) -> Result<(), Refusal> {
        let keys = policy.keys();
        for server in &mut self.0 {
            scan(server, &keys, |server, name, scope| {
                if let Some(record) = Record::read(server, name, scope)? {
                    see(&record);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    pub fn find(&mut self, policy: &Idempotency, scope: &Scope) -> Result<Option<Record>, Refusal> {
        let name = policy.keys().record(scope);
        match self.with(&name)? {
            Some(server) => Record::read(server, &name, *scope),
            None => Ok(None),
        }
    }

    pub fn resolve(
        &mut self,
        policy: &Idempotency,
        (scope, fence): (&Scope, u64),
        force: bool,
        resolution: &Resolution,
    ) -> Result<Resolved, Refusal> {
        let keys = policy.keys();
        let command = Keys::whole(&keys.resolve(scope, fence, force, resolution));
        match self.with(&keys.record(scope))? {
            Some(server) => ask(server, &command, |reply| resolved(reply).ok()),
            None => Ok(Resolved::Absent),
        }
    }

    /// The one that has a key. One of a cluster that does not have it says so, or points to another.
    fn with(&mut self, key: &[u8]) -> Result<Option<&mut Connection>, Refusal> {
        for server in &mut self.0 {
            match redis::cmd("EXISTS").arg(key).query::<bool>(server) {
                Ok(true) => return Ok(Some(server)),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {}
                Err(error) => return Err(refusal(error)),
            }
        }
        Ok(None)
    }
}

/// Each record of one server, by its name.
pub(super) fn scan(
    server: &mut Connection,
    keys: &Keys,
    mut see: impl FnMut(&mut Connection, &[u8], Scope) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut cursor = 0u64;
    // SCAN may name one twice.
    let mut seen = BTreeSet::new();
    loop {
        let (next, names): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(keys.pattern())
            .arg("COUNT")
            .arg(STEP)
            .query(server)
            .map_err(refusal)?;
        for name in names {
            if let Some(scope) = keys.scope(&name).filter(|scope| seen.insert(*scope)) {
                see(server, &name, scope)?;
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}

/// The password of the policy, where the URL has none.
pub fn connect(url: &str, policy: &Redis) -> redis::RedisResult<Connection> {
    let info = url.into_connection_info()?;
    let mut settings = info.redis_settings().clone();
    if settings.password().is_none()
        && let Ok(login) = policy.login(environment)
        && let Some(password) = login.password
    {
        settings = settings.set_password(password);
        if let Some(user) = login.username {
            settings = settings.set_username(user);
        }
    }
    if settings.db() == 0 {
        settings = settings.set_db(policy.database.into());
    }
    let client = Client::open(info.set_redis_settings(settings))?;
    let connection = client.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}

pub fn refusal(error: redis::RedisError) -> Refusal {
    Refusal::Away(format!("redis: {error}"))
}

/// Sends a command that is encoded already, and has its reply read.
pub(super) fn ask<T>(
    server: &mut Connection,
    command: &[u8],
    read: impl FnOnce(&Reply<'_>) -> Option<T>,
) -> Result<T, Refusal> {
    let value = server.req_packed_command(command).map_err(refusal)?;
    reply(&value)
        .as_ref()
        .and_then(read)
        .ok_or_else(|| Refusal::Away(format!("redis: found {value:?}, expected a script's reply")))
}

/// As the decisions read it; none for what no script of theirs returns.
fn reply(value: &Value) -> Option<Reply<'_>> {
    Some(match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Integer(*number),
        Value::BulkString(bytes) => Reply::Bulk(bytes),
        Value::SimpleString(text) => Reply::Simple(text.as_bytes()),
        Value::Array(items) => Reply::Array(items.iter().map(reply).collect::<Option<_>>()?),
        _ => return None,
    })
}
