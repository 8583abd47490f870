//! When the next piece of a body is sent: as soon as the gateway's filter has had the one before, so that each comes to
//! it by itself, however slow the machine is.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crate::wait;

/// What the probe logs of a piece.
const HAD: &str = "_body size=";

/// A filter that is paused, or that logs nothing, had it by then.
const MOST: Duration = Duration::from_millis(300);

/// What the gateway does between the filter and its next read.
const AFTER: Duration = Duration::from_millis(15);

/// Knows the gateway's log, once there is a gateway.
#[derive(Clone, Default)]
pub struct Pace(Arc<OnceLock<PathBuf>>);

impl Pace {
    pub fn follow(&self, log: PathBuf) {
        let _ = self.0.set(log);
    }

    /// How many pieces the filter had so far.
    #[must_use]
    pub fn had(&self) -> usize {
        let log = self.0.get().and_then(|log| std::fs::read(log).ok());
        String::from_utf8_lossy(&log.unwrap_or_default())
            .matches(HAD)
            .count()
    }

    /// Waits until the filter had more than `before`.
    pub fn wait(&self, before: usize) {
        let _ = wait::poll(MOST, || (self.had() > before).then_some(()));
        thread::sleep(AFTER);
    }
}
