//! A Redis server of one's own: started, frozen, killed and started again on the same port.

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, ConnectionLike, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, Value,
};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::tls::Certificates;
use crate::{ports, tools};

/// What a server is started with.
#[derive(Debug, Default)]
pub struct Builder {
    arguments: Vec<String>,
    password: Option<String>,
    tls: bool,
}

impl Builder {
    /// A line of `redis.conf`, for example `option("maxmemory", "2mb")`.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.arguments.push(format!("--{name}"));
        self.arguments.extend(value.split(' ').map(str::to_owned));
        self
    }

    /// Clients must give this password (of the user `default`).
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.option("requirepass", password)
    }

    /// Listens with TLS on [`Redis::tls_port`] too, showing [`Certificates::server`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// # Panics
    /// When the server does not start.
    #[must_use]
    pub fn start(self) -> Redis {
        let mut redis = Redis {
            folder: TempDir::with_prefix("sluice-redis-").expect("a temporary folder"),
            port: ports::free(),
            tls: self.tls.then(|| (ports::free(), Certificates::new())),
            arguments: self.arguments,
            password: self.password,
            process: None,
        };
        redis.restart();
        redis
    }
}

/// Whether the redis-server found is one that speaks TLS; Debian's does.
#[must_use]
pub fn speaks_tls() -> bool {
    // Without certificates it complains about those, or, when built without TLS, about the option.
    let mut command = Command::new(tools::redis_server());
    command.args(["--port", "0", "--tls-port", "1"]);
    let output = command.output().expect("redis-server runs");
    String::from_utf8_lossy(&output.stdout).contains("tls-cert-file")
}

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    // Before the folder, so that the process is gone when its folder goes.
    process: Option<Process>,
    folder: TempDir,
    port: u16,
    tls: Option<(u16, Certificates)>,
    arguments: Vec<String>,
    password: Option<String>,
}

impl Redis {
    /// A server with nothing but a port.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The port that speaks TLS.
    ///
    /// # Panics
    /// When the server was started without.
    #[must_use]
    pub fn tls_port(&self) -> u16 {
        self.tls.as_ref().expect("started with tls()").0
    }

    /// The certificates of TLS.
    ///
    /// # Panics
    /// When the server was started without.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.tls.as_ref().expect("started with tls()").1
    }

    /// A Unix socket of the same server.
    #[must_use]
    pub fn unix_socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Starts it (again), empty, on the same port; a running one is killed first.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(tools::redis_server());
        command
            .current_dir(self.folder.path())
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(["--unixsocket", "redis.sock"])
            .args(&self.arguments);
        if let Some((port, certificates)) = &self.tls {
            command
                .args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
                .arg("--tls-cert-file")
                .arg(certificates.server())
                .arg("--tls-key-file")
                .arg(certificates.server_key());
        }
        let mut process =
            Process::start("redis", &mut command, &self.folder.path().join("redis.log"));
        process.until_ready(|| self.try_cmd(&["PING"]).is_some());
        self.process = Some(process);
    }

    /// Ends it with SIGKILL: connections are reset, data is lost.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Freezes it: connections stay open and are accepted, but nothing answers.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pause(&self) {
        self.running().signal(Signal::STOP);
    }

    /// Lets a frozen one go on.
    ///
    /// # Panics
    /// When it is not running.
    pub fn resume(&self) {
        self.running().signal(Signal::CONT);
    }

    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn running(&self) -> &Process {
        self.process.as_ref().expect("the Redis is running")
    }

    /// A connection of one's own, with a timeout on every answer.
    ///
    /// # Panics
    /// When the server cannot be reached.
    #[must_use]
    pub fn connect(&self) -> Connection {
        self.try_connect()
            .expect("a connection to the test's Redis")
    }

    fn try_connect(&self) -> redis::RedisResult<Connection> {
        let mut settings = RedisConnectionInfo::default();
        if let Some(password) = &self.password {
            settings = settings.set_password(password.as_str());
        }
        let info: ConnectionInfo = ConnectionAddr::Tcp("127.0.0.1".to_owned(), self.port)
            .into_connection_info()?
            .set_redis_settings(settings);
        let connection = Client::open(info)?.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(connection)
    }

    fn try_cmd(&self, words: &[&str]) -> Option<Value> {
        command(words).query(&mut self.try_connect().ok()?).ok()
    }

    /// Runs one command.
    ///
    /// # Panics
    /// When the server cannot be reached or answers an error.
    #[must_use]
    pub fn cmd(&self, words: &[&str]) -> Value {
        self.query(words)
    }

    /// Runs one command and converts its answer, for example to `i64`, `String` or `Vec<String>`.
    ///
    /// # Panics
    /// When the server cannot be reached, answers an error or something else.
    #[must_use]
    pub fn query<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.connect();
        let mut answer = connection.req_command(&command(words));
        // So ends a wait with a timeout when the machine stops the process for a moment.
        while answer.as_ref().is_err_and(is_interruption) {
            answer = connection.recv_response();
        }
        answer
            .and_then(Value::extract_error)
            .and_then(|answer| Ok(redis::from_redis_value(answer)?))
            .unwrap_or_else(|error| panic!("{words:?} answers {error}"))
    }
}

fn is_interruption(error: &RedisError) -> bool {
    let cause = error.source();
    let cause = cause.and_then(|cause| cause.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == ErrorKind::Interrupted)
}

fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_told_from_other_errors() {
        let error = |kind| RedisError::from(std::io::Error::from(kind));
        assert!(is_interruption(&error(ErrorKind::Interrupted)));
        assert!(!is_interruption(&error(ErrorKind::TimedOut)));
    }
}
