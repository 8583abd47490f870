//! When a batch of commands leaves: gathered from the events that the gateway hands out in one round, by a wake-up that
//! comes after them.

use crate::wakeup::Wakeup;

/// Rounds of events that a batch gathers for at most.
const MAX_ROUNDS: u32 = 8;

/// The batch of one worker.
#[derive(Debug)]
pub struct Gathering {
    wakeup: Wakeup,
    /// A wake-up has been called and has not come yet.
    waking: bool,
    /// How many commands there were when it was called.
    seen: usize,
    rounds: u32,
}

impl Gathering {
    #[must_use]
    pub fn new(wakeup: Wakeup) -> Self {
        Self {
            wakeup,
            waking: false,
            seen: 0,
            rounds: 0,
        }
    }

    /// There are commands that could be sent, `gathered` of them, or requests to be let go: has that done soon, by the
    /// wake-up that is under way, or by a new one. A host that refuses leaves them to the next tick.
    pub fn call(&mut self, gathered: usize) {
        if !self.waking {
            self.waking = self.wakeup.call();
            self.seen = gathered;
            self.rounds = 0;
        }
    }

    /// A wake-up of `queue` has come: one round of the gateway's events is over. True when what was gathered is to be
    /// sent now. As long as each round brings more commands, the batch is worth waiting for; a callout costs as much as a
    /// dozen commands.
    pub fn woken(&mut self, queue: u32, gathered: usize) -> bool {
        if !self.wakeup.taken(queue) {
            return false;
        }
        if gathered > self.seen && self.rounds < MAX_ROUNDS && self.wakeup.call() {
            self.seen = gathered;
            self.rounds += 1;
            return false;
        }
        self.waking = false;
        true
    }

    /// The tick sends whatever there is. Should a wake-up ever get lost, the next one is called all the same.
    pub fn ticked(&mut self) {
        self.waking = false;
    }
}
