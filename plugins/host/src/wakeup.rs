//! A call back to this worker's root context as soon as the running events are done: an entry in a shared queue that
//! only this worker listens to.

use proxy_wasm::hostcalls;

/// This worker's own queue.
#[derive(Debug, Clone, Copy)]
pub struct Wakeup {
    queue: u32,
}

impl Wakeup {
    /// Registers a queue under a name that nobody else has: registering a name again would take it away from its
    /// owner.
    ///
    /// # Errors
    /// When the host has no random numbers or no queues.
    pub fn register() -> Result<Self, &'static str> {
        let queue = own_queue()?;
        Ok(Self { queue })
    }

    /// Has `on_queue_ready` called once for this call.
    pub fn call(self) -> bool {
        hostcalls::enqueue_shared_queue(self.queue, None).is_ok()
    }

    /// Takes the entry that `on_queue_ready` announces; false when it was another queue's.
    pub fn taken(self, queue: u32) -> bool {
        if queue == self.queue {
            let _ = hostcalls::dequeue_shared_queue(queue);
        }
        queue == self.queue
    }
}

/// Registers a queue under a name that nobody else has.
pub(crate) fn own_queue() -> Result<u32, &'static str> {
    let mut name = [0; 16];
    getrandom::fill(&mut name).map_err(|_| "the host has no random numbers")?;
    let name = format!("sluice/{:032x}", u128::from_le_bytes(name));
    hostcalls::register_shared_queue(&name)
        .map_err(|_| "the host refused to register a shared queue")
}
