//! The public tests of HTTP caches, run against a gateway.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use tempfile::TempDir;

use crate::process::Process;
use crate::{tools, wait};

/// The server that the tests expect behind the cache.
pub struct Origin {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Outcome {
    pub kind: Kind,
    pub passed: bool,
    /// Why not.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A cache that fails does what the specification forbids.
    Required,
    /// A cache that fails asks the origin more often than it had to.
    Optimal,
    /// Neither way is wrong.
    Check,
}

/// By the tests' names.
pub type Report = BTreeMap<String, Outcome>;

impl Origin {
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("sluice-cache-tests-").expect("a temporary folder");
        let log = folder.path().join("origin.log");
        let process = Process::start("the origin", &mut node("origin.mjs"), &log);
        let port = wait::poll(wait::PATIENCE, || {
            let log = fs::read_to_string(&log).ok()?;
            log.lines()
                .find_map(|line| line.strip_prefix("port ")?.parse().ok())
        });
        let port: u16 = port.expect("the origin tells its port");
        Self {
            address: ([127, 0, 0, 1], port).into(),
            _process: process,
            _folder: folder,
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Runs all tests against the cache at `url`, which has the origin behind it.
///
/// # Panics
/// When they do not run to their end.
#[must_use]
pub fn run(url: &str) -> Report {
    let output = node("client.mjs").arg(url).output().expect("node runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        panic!("the tests print no report ({error}): {complaint}")
    })
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command
        .arg("--no-warnings")
        .arg(script_folder().join(script))
        .arg(tools::cache_tests());
    command
}

fn script_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cache-tests"))
}
