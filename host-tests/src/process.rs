//! A server as a child process: its output in a file, its life bound to a value.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// How much of a log a failed test shows.
const TAIL: usize = 60;

/// What a process keeps in memory, in KiB.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.expect("the process runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a process has memory");
    let size = line.trim().trim_end_matches(" kB").parse();
    size.expect("a number of KiB")
}

/// A running child; dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    ///
    /// # Panics
    /// When the program cannot be run.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log file opens");
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file handle can be cloned"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({command:?}): {error}"));
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it keeps in memory, in KiB.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn resident(&self) -> usize {
        resident(self.pid())
    }

    /// Sends a signal: [`Signal::STOP`] freezes the process, [`Signal::CONT`] thaws it.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a child has an id");
        kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }

    /// Ends it the hard way, as a crash or the OOM killer would, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        if self.exited().is_none() {
            self.signal(Signal::TERM);
        }
        self.wait(wait::PATIENCE)
            .unwrap_or_else(|| panic!("{} ignores SIGTERM", self.name))
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait::poll(limit, || self.exited())
    }

    /// Waits until `ready` holds.
    ///
    /// # Panics
    /// With the end of the log, when it takes too long or the process ends before.
    pub fn until_ready(&mut self, mut ready: impl FnMut() -> bool) {
        let outcome = wait::poll(wait::PATIENCE, || {
            if ready() {
                return Some(Ok(()));
            }
            self.exited().map(Err)
        });
        match outcome {
            Some(Ok(())) => {}
            Some(Err(status)) => panic!(
                "{} ended at start ({status}):\n{}",
                self.name,
                self.log_tail()
            ),
            None => panic!(
                "{} is not ready after {:?}:\n{}",
                self.name,
                wait::PATIENCE,
                self.log_tail()
            ),
        }
    }

    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "--- the end of {}'s log ---\n{}\n---",
                self.name,
                self.log_tail()
            );
        }
    }
}
