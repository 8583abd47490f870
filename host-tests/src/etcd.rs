//! An etcd of one member: started, frozen, killed and started again on the same port, with what it had.

use std::net::SocketAddr;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Client, Response};
use crate::process::Process;
use crate::tls::Certificates;
use crate::{ports, tools};

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Etcd {
    // Before the folder, so that the process is gone when its folder goes.
    process: Option<Process>,
    folder: TempDir,
    port: u16,
    peers: u16,
    /// Speaks TLS at its port, and says of its health at another.
    tls: Option<(u16, Certificates)>,
}

impl Etcd {
    /// # Panics
    /// When the server does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with(None)
    }

    /// One that speaks TLS, showing [`Certificates::server`]; [`Etcd::send`] does not.
    ///
    /// # Panics
    /// When the server does not start.
    #[must_use]
    pub fn start_tls() -> Self {
        Self::with(Some((ports::free(), Certificates::new())))
    }

    fn with(tls: Option<(u16, Certificates)>) -> Self {
        let mut etcd = Self {
            process: None,
            folder: TempDir::with_prefix("sluice-etcd-").expect("a temporary folder"),
            port: ports::free(),
            peers: ports::free(),
            tls,
        };
        etcd.restart();
        etcd
    }

    /// The certificates of TLS, if it speaks that.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.tls.as_ref().map(|(_, certificates)| certificates)
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Starts it (again) with what it had; a running one is killed first.
    pub fn restart(&mut self) {
        self.kill();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let clients = format!("{scheme}://127.0.0.1:{}", self.port);
        let peers = format!("http://127.0.0.1:{}", self.peers);
        let mut command = Command::new(tools::etcd());
        command
            .current_dir(self.folder.path())
            .args(["--data-dir", "data", "--name", "one"])
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("one={peers}")]);
        let mut health = self.port;
        if let Some((port, certificates)) = &self.tls {
            health = *port;
            command
                .args(["--listen-metrics-urls", &format!("http://127.0.0.1:{port}")])
                .arg("--cert-file")
                .arg(certificates.server())
                .arg("--key-file")
                .arg(certificates.server_key());
        }
        let log = self.folder.path().join("etcd.log");
        let mut process = Process::start("etcd", &mut command, &log);
        process.until_ready(|| {
            let address = ([127, 0, 0, 1], health).into();
            let answer = Client::new(address).get::<&str>("/health", &[]);
            answer.is_ok_and(|answer| answer.status == 200)
        });
        self.process = Some(process);
    }

    /// Ends it with SIGKILL: connections are reset, what it has acknowledged stays.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Freezes it: connections stay open and are accepted, but nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen one go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the etcd is running");
        process.signal(signal);
    }

    /// What it says, whatever that is.
    ///
    /// # Panics
    /// When it cannot be reached.
    #[must_use]
    pub fn send(&self, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Response {
        let answer = Client::new(self.address()).send("POST", path, fields, body);
        answer.expect("the etcd answers")
    }

    /// Asks for something that it grants.
    ///
    /// # Panics
    /// When it refuses.
    #[must_use]
    pub fn ask(&self, path: &str, body: &Value) -> Value {
        let answer = self.send(path, &[], body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// All keys that begin so, with their values and the revisions that made and changed them.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<Kv> {
        // Up to the first that does not.
        let end = format!("{prefix}\u{7f}");
        let found = self.ask(
            "/v3/kv/range",
            &json!({"key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end)}),
        );
        let all = found["kvs"].as_array().cloned().unwrap_or_default();
        all.iter().map(Kv::read).collect()
    }

    /// From now on only `user` may ask, and for keys that begin with `prefix` only.
    pub fn require_login(&self, (user, password): (&str, &str), prefix: &str) {
        let end = STANDARD.encode(format!("{prefix}\u{7f}"));
        let permission = json!({
            "permType": "READWRITE", "key": STANDARD.encode(prefix), "range_end": end,
        });
        for (path, body) in [
            ("role/add", json!({"name": "root"})),
            ("user/add", json!({"name": "root", "password": "toor"})),
            ("user/grant", json!({"user": "root", "role": "root"})),
            ("role/add", json!({"name": "records"})),
            ("role/grant", json!({"name": "records", "perm": permission})),
            ("user/add", json!({"name": user, "password": password})),
            ("user/grant", json!({"user": user, "role": "records"})),
            ("enable", json!({})),
        ] {
            let _ = self.ask(&format!("/v3/auth/{path}"), &body);
        }
    }

    /// Writes a key, to stay.
    pub fn put(&self, key: &str, value: &[u8]) {
        let body = json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)});
        let _ = self.ask("/v3/kv/put", &body);
    }
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kv {
    pub key: String,
    pub value: Vec<u8>,
    pub created: u64,
    pub modified: u64,
    pub lease: i64,
}

impl Kv {
    fn read(kv: &Value) -> Self {
        let bytes = |name: &str| {
            let text = kv[name].as_str().unwrap_or_default();
            STANDARD.decode(text).expect("base64")
        };
        let number = |name: &str| kv[name].as_str().unwrap_or("0");
        Self {
            key: String::from_utf8(bytes("key")).expect("text"),
            value: bytes("value"),
            created: number("create_revision").parse().expect("a number"),
            modified: number("mod_revision").parse().expect("a number"),
            lease: number("lease").parse().expect("a number"),
        }
    }
}
