//! The ways to the Redis of one worker: what a store is to send leaves by its own link, and what comes back is for the
//! store of that link.

use crate::metrics::Metrics;
use bytes::Bytes;
use sluice_core::gcra::Ps;
use sluice_core::idempotency::redis_store::RedisStore;
use sluice_core::idempotency::redlock::Redlock;
use sluice_core::idempotency::settings::{Redis, Settings};
use sluice_core::policy::idempotency::Voters;
use sluice_core::redis::trouble::Trouble;
use sluice_host::link::{Ended, Link};

/// One Redis, or several that vote.
pub struct Ways {
    pub stores: Redlock<RedisStore>,
    /// In the order of the stores.
    links: Vec<Link>,
}

impl Ways {
    /// As the policy names them; nothing is opened before there is something to send.
    pub fn new(voters: &Voters, settings: &Settings, redis: &Redis) -> Self {
        let links = voters
            .clusters()
            .map(|cluster| Link::to(&voters.redis, cluster));
        let links: Vec<Link> = links.collect();
        let mut memory = settings.memory;
        memory.max_bytes /= links.len().max(1);
        let store = |_| RedisStore::new(settings, redis).remembering(memory);
        let stores = links.iter().map(store);
        Self {
            stores: Redlock::new(stores.collect(), settings.timeout),
            links,
        }
    }

    /// Whether commands could be sent now.
    pub fn is_ready(&mut self) -> bool {
        let mut stores = self.stores.stores().iter();
        stores.any(|store| store.pipe().is_ready())
    }

    /// How many commands wait to be sent.
    pub fn gathered(&mut self) -> usize {
        let stores = self.stores.stores().iter();
        stores.map(|store| store.pipe().gathered()).sum()
    }

    /// Whether one of the stores is left alone because it failed.
    pub fn breaker_is_open(&mut self) -> bool {
        let mut stores = self.stores.stores().iter();
        stores.any(|store| store.pipe().breaker.is_open())
    }

    /// Sends what can be sent.
    pub fn send(&mut self, metrics: &mut Metrics, now: Ps) {
        for (link, store) in self.links.iter_mut().zip(self.stores.stores()) {
            let (login, login_replies) = store.pipe().login();
            let login = login.to_vec();
            let sizes = store.send(now, |batch| {
                link.send(
                    &batch.body,
                    batch.replies(),
                    batch.deadline,
                    now,
                    (&login, login_replies),
                )
            });
            sizes.into_iter().for_each(|size| metrics.batch(size));
        }
    }

    /// A callout has come to its end. The gateway gives each callout a token of its own, so one store at most knows it.
    pub fn replied(&mut self, token: u32, reply: Result<Bytes, Trouble>, now: Ps) {
        for store in self.stores.stores() {
            store.replied(token, reply.clone(), now);
        }
    }

    /// A message of a stream has come.
    pub fn message(&mut self, token: u32, size: usize, now: Ps) {
        self.each(now, |link, _| link.message(token, size));
    }

    /// A stream has ended.
    pub fn closed(&mut self, token: u32, status: u32, now: Ps) {
        self.each(now, |link, _| link.closed(token, status));
    }

    /// Gives up what should have been answered long ago.
    pub fn tick(&mut self, now: Ps) {
        self.each(now, |link, store| {
            let mut overdue = link.tick(now);
            let given_up = store.pipe().overdue(now).into_iter();
            overdue.extend(given_up.map(|token| (token, Err(Trouble::Timeout))));
            overdue
        });
    }

    fn each(&mut self, now: Ps, mut ended: impl FnMut(&mut Link, &RedisStore) -> Ended) {
        for (link, store) in self.links.iter_mut().zip(self.stores.stores()) {
            for (token, reply) in ended(link, store) {
                store.replied(token, reply.map(Bytes::from), now);
            }
        }
    }
}
