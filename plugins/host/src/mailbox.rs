//! Messages from worker to worker: each worker has a shared queue that only it listens to, and others know by its token.

use crate::wakeup;
use proxy_wasm::hostcalls;
use sluice_core::flight::bus::Posts;

/// This worker's own queue.
#[derive(Debug, Clone, Copy)]
pub struct Mailbox {
    queue: u32,
}

impl Mailbox {
    /// # Errors
    /// When the host has no random numbers or no queues.
    pub fn register() -> Result<Self, &'static str> {
        let queue = wakeup::own_queue()?;
        Ok(Self { queue })
    }

    /// What others write on their messages.
    #[must_use]
    pub fn token(self) -> u32 {
        self.queue
    }

    /// Takes the message that `on_queue_ready` announces, with its argument; none when it was another queue's.
    #[must_use]
    pub fn take(self, queue: u32) -> Option<Vec<u8>> {
        if queue != self.queue {
            return None;
        }
        hostcalls::dequeue_shared_queue(queue).ok().flatten()
    }
}

/// The way to the other workers.
#[derive(Debug, Clone, Copy, Default)]
pub struct GatewayPosts;

impl Posts for GatewayPosts {
    fn post(&self, token: u32, bytes: &[u8]) -> bool {
        hostcalls::enqueue_shared_queue(token, Some(bytes)).is_ok()
    }
}
