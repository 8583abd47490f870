//! Tables that take the place of those in force.

use super::{ROUND, TICK, Worker};
use crate::newer::Newer;
use sluice_core::gcra::Ps;
use sluice_core::policy::shard_route::ShardRoute;
use sluice_core::redis::trouble::Trouble;
use sluice_core::shard::published::Published;
use sluice_core::shard::seats::MAX_SEATS;
use sluice_host::clock;

impl Worker {
    /// Goes by this policy from now on. False when there have been too many shards.
    pub(super) fn take(&mut self, policy: ShardRoute) -> bool {
        let directories = policy.tables.iter().map(|table| &table.directory);
        if self.seats.take(directories).is_err() {
            return false;
        }
        self.policy = policy;
        self.caps.take(&self.policy, &self.seats);
        self.metrics.take(&self.policy, &self.seats, &self.caps);
        self.set_pace();
        self.plan_anew();
        true
    }

    fn set_pace(&self) {
        let waits = self.policy.queues() || self.policy.reads_bodies() || self.is_waiting();
        clock::tick_every(if waits { TICK } else { ROUND });
    }

    /// Whether it has to be known first which tables are in force.
    pub(super) fn is_waiting(&self) -> bool {
        self.newer.as_ref().is_some_and(Newer::is_waiting)
    }

    /// Takes what another worker has found, this process's VMs before this one included.
    pub(super) fn look_at_others(&mut self) {
        self.news(Newer::look_at_others);
    }

    /// Tables have come that are newer.
    fn adopt(&mut self, found: Option<Published>) {
        let (Some(published), Some(newer)) = (found, &mut self.newer) else {
            return;
        };
        let Some(policy) = newer.policy(&published) else {
            return;
        };
        if self.take(policy) {
            if let Some(newer) = &mut self.newer {
                newer.adopted(&published);
            }
            self.set_pace();
        } else if let Some(newer) = &mut self.newer {
            log::error!(
                "shard-route: there have been more than {MAX_SEATS} shards: load the policy anew"
            );
            newer.refused(published.version);
        }
    }

    /// A callout has come to its end.
    pub fn replied(&mut self, token: u32, reply: Result<Vec<u8>, Trouble>, now: Ps) {
        self.news(|newer| newer.replied(token, reply, now));
    }

    /// A message of the stream to Redis has come.
    pub fn message(&mut self, token: u32, size: usize, now: Ps) {
        self.news(|newer| newer.message(token, size, now));
    }

    /// The stream to Redis has ended.
    pub fn closed(&mut self, token: u32, status: u32, now: Ps) {
        self.news(|newer| newer.closed(token, status, now));
    }

    pub(super) fn news(&mut self, ask: impl FnOnce(&mut Newer) -> Option<Published>) {
        let waited = self.is_waiting();
        let found = self.newer.as_mut().and_then(ask);
        self.adopt(found);
        if waited != self.is_waiting() {
            self.set_pace();
        }
    }
}
