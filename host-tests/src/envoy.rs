//! A real Envoy as a child process, with its statistics.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Client, Response};
use crate::config::Config;
use crate::process::Process;
use crate::{ports, tools, wait};

/// A running Envoy; dropping it kills it. When the test fails, the end of its log is printed.
#[derive(Debug)]
pub struct Envoy {
    // Before the folder, so that the process is gone when its folder goes.
    process: Option<Process>,
    folder: TempDir,
    admin: SocketAddr,
    workers: usize,
    environment: Vec<(String, String)>,
}

impl Envoy {
    /// Starts it with `workers` worker threads and waits until it is ready.
    ///
    /// # Panics
    /// With its log, when it does not start.
    #[must_use]
    pub fn start(config: Config, workers: usize, environment: &[(String, String)]) -> Self {
        let mut envoy = Self::prepare(config, workers, environment);
        envoy.restart();
        envoy
    }

    /// Starts it with a configuration that it should refuse.
    ///
    /// # Errors
    /// Its log, when it ends instead of becoming ready.
    ///
    /// # Panics
    /// When it does neither.
    pub fn try_start(
        config: Config,
        workers: usize,
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        let mut envoy = Self::prepare(config, workers, environment);
        let mut process = envoy.spawn();
        let admin = envoy.admin;
        let ended = wait::poll(wait::PATIENCE, || match process.exited() {
            Some(_) => Some(true),
            None => is_ready(admin).then_some(false),
        });
        match ended {
            Some(false) => {
                envoy.process = Some(process);
                Ok(envoy)
            }
            Some(true) => Err(process.log()),
            // A busy machine: this says nothing of the configuration.
            None => panic!(
                "envoy neither ends nor is ready after {:?}:\n{}",
                wait::PATIENCE,
                process.log()
            ),
        }
    }

    fn prepare(mut config: Config, workers: usize, environment: &[(String, String)]) -> Self {
        let admin = ([127, 0, 0, 1], ports::free()).into();
        config.admin_port(SocketAddr::port(&admin));
        let envoy = Self {
            process: None,
            folder: TempDir::with_prefix("sluice-envoy-").expect("a temporary folder"),
            admin,
            workers,
            environment: environment.to_vec(),
        };
        fs::write(envoy.config_file(), config.text()).expect("a file in a temporary folder");
        envoy
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("envoy.json")
    }

    fn spawn(&self) -> Process {
        let mut command = Command::new(tools::envoy());
        command
            .arg("-c")
            .arg(self.config_file())
            .args([
                "--concurrency",
                &self.workers.to_string(),
                "--disable-hot-restart",
            ])
            .args([
                "--log-level",
                "warning",
                "--component-log-level",
                "wasm:info",
            ])
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::start("envoy", &mut command, &self.log_file())
    }

    /// Starts it (again) with the same configuration and ports; a running one is killed first.
    pub fn restart(&mut self) {
        self.kill();
        let mut process = self.spawn();
        let admin = self.admin;
        process.until_ready(|| is_ready(admin));
        self.process = Some(process);
    }

    /// Ends it with SIGKILL, as the kernel does when memory is short.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn running(&self) -> &Process {
        self.process.as_ref().expect("the Envoy is running")
    }

    #[must_use]
    pub fn log(&self) -> String {
        self.running().log()
    }

    /// Where it logs to.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("envoy.log")
    }

    /// Asks the admin interface.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn admin(&self, path: &str) -> Response {
        Client::new(self.admin)
            .get::<&str>(path, &[])
            .expect("the admin interface answers")
    }

    /// Every counter and gauge by its full name.
    ///
    /// # Panics
    /// When the admin interface does not answer.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<String, u64> {
        let body = self.admin("/stats?format=json").body;
        let stats: Value = serde_json::from_slice(&body).expect("the statistics are JSON");
        let stats = stats["stats"].as_array().expect("a list of statistics");
        stats
            .iter()
            .filter_map(|stat| Some((stat["name"].as_str()?.to_owned(), stat["value"].as_u64()?)))
            .collect()
    }

    /// One counter or gauge by its full name, such as `http.gateway.downstream_rq_2xx`; one that is not there is 0.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        self.stats().get(name).copied().unwrap_or_default()
    }

    /// The statistics as Prometheus reads them.
    #[must_use]
    pub fn prometheus(&self) -> String {
        self.admin("/stats/prometheus").text()
    }
}

fn is_ready(admin: SocketAddr) -> bool {
    Client::new(admin)
        .get::<&str>("/ready", &[])
        .is_ok_and(|response| response.status == 200)
}
