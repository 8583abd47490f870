//! What goes wrong with a server, when it is told to.

use crate::inspect::Key;
use crate::random::Random;
use crate::script::Scripts;
use crate::server::Server;
use crate::state::Mode;
use crate::store::DATABASES;

impl Server {
    /// Ends and starts again: connections are closed, scripts are forgotten, the data is kept (as with an append-only
    /// file) or lost.
    pub fn restart(&mut self, keep_data: bool) {
        self.drop_connections();
        self.scripts = Scripts::new();
        self.state.mode = Mode::Normal;
        self.state.random = Random::default();
        if !keep_data {
            for db in 0..DATABASES {
                self.state.store.clear(db);
            }
            // The replicas take over the empty data as well.
            self.state.store.commit();
            self.state.store.settle();
        }
    }

    /// Closes all connections, and nothing else.
    pub fn drop_connections(&mut self) {
        self.age += 1;
    }

    pub fn set_mode(&mut self, mode: Mode) {
        self.state.mode = mode;
    }

    #[must_use]
    pub fn mode(&self) -> Mode {
        self.state.mode
    }

    /// Whether replicas have all writes at once, as they do at first; WAIT counts them only then.
    pub fn set_replicas_follow(&mut self, follow: bool) {
        self.state.replicas_follow = follow;
    }

    /// The master is lost and the replica that has most takes over, without the last `lost_writes` writes (commands,
    /// scripts and transactions that wrote, each as a whole; what WAIT has confirmed is not lost). Connections are
    /// closed, and the new master knows no scripts. Returns how many writes were lost.
    pub fn failover(&mut self, lost_writes: usize) -> usize {
        self.drop_connections();
        self.scripts = Scripts::new();
        self.state.mode = Mode::Normal;
        self.state.random = Random::default();
        self.state.store.undo(lost_writes)
    }

    /// How many writes a failover could lose.
    #[must_use]
    pub fn unconfirmed_writes(&self) -> usize {
        self.state.store.undoable()
    }

    /// Drops a share of the keys of all databases, chosen by the seed, as a server with an eviction policy does when
    /// memory is full. Returns them.
    pub fn evict(&mut self, fraction: f64) -> Vec<Key> {
        let mut keys = self.keys();
        keys.retain(|_| self.random.f64() < fraction);
        self.remove(&keys);
        keys
    }

    /// Drops these keys.
    pub fn remove(&mut self, keys: &[Key]) {
        for key in keys {
            self.state.store.remove(key.database, &key.name);
        }
        self.state.store.commit();
    }
}
