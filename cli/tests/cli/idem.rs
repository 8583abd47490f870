//! `sluice idem` on a real Redis.

mod list;
mod redlock;
mod resolve;
mod secrets;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::common::Store;
use sluice_core::idempotency::stored::Stored;
use tempfile::TempDir;

const POLICY: &str = r#"{"redis": {"cluster": "redis"}, "partitions": 7,
    "routes": [{"name": "pay", "scope": [{"header": "x-account"}]}]}"#;

const MINUTE: Duration = Duration::from_secs(60);

struct Desk {
    store: Store,
    folder: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

struct Said {
    code: i32,
    out: String,
    error: String,
}

impl Desk {
    fn new(policy: &str) -> Self {
        Self::on(Store::start(policy), policy)
    }

    fn on(store: Store, policy: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("policy.json"), policy).unwrap();
        Self {
            store,
            folder,
            environment: Vec::new(),
        }
    }

    fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// `sluice idem`, with so much to read at its standard input.
    fn told(&self, arguments: &[&str], input: &str) -> Said {
        let url = format!("redis://127.0.0.1:{}", self.store.redis.port());
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["idem", arguments[0], "--redis", &url, "--policy"])
            .arg(self.folder.path().join("policy.json"))
            .args(&arguments[1..])
            .env_clear()
            .envs(self.environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that does not ask closes it unread.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        said(&child.wait_with_output().unwrap())
    }

    fn idem(&self, arguments: &[&str]) -> Said {
        self.told(arguments, "")
    }

    fn list(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let said = self.idem(&[&["list", "--json"], arguments].concat());
        assert_eq!(said.code, 0, "{}", said.error);
        said.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        error: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

fn answer(body: &[u8]) -> Stored {
    Stored {
        status: 201,
        fields: vec![(b"x-charge".to_vec(), b"17".to_vec())],
        body: body.to_vec().into(),
    }
}
