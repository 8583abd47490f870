//! The ways to the stores of one worker: what they are to be sent leaves by its own link, and what comes back is for the
//! store of that link.

use crate::metrics::Metrics;
use sluice_core::gcra::Ps;
use sluice_core::idempotency::redis_store::RedisStore;
use sluice_core::idempotency::redlock::Redlock;
use sluice_core::policy::idempotency::Idempotency;
use sluice_core::redis::trouble::Trouble;
use sluice_host::link::{Ended, Link};

/// One Redis, or several that vote.
pub type Records = Redlock<RedisStore>;

/// A link to each Redis, in the order of the stores.
pub struct Ways(Vec<Link>);

impl Ways {
    /// As the policy names them; nothing is opened before there is something to send.
    pub fn new(policy: &Idempotency) -> Self {
        let clusters = policy.clusters();
        Self(
            clusters
                .map(|cluster| Link::to(&policy.redis, cluster))
                .collect(),
        )
    }

    /// Commands that could be sent now, if there are any.
    pub fn ready(records: &mut Records) -> Option<usize> {
        let ready = records.stores().iter().any(|store| store.pipe().is_ready());
        ready.then(|| Self::gathered(records))
    }

    /// How many commands wait to be sent.
    pub fn gathered(records: &mut Records) -> usize {
        let stores = records.stores().iter();
        stores.map(|store| store.pipe().gathered()).sum()
    }

    /// Whether one of the stores is left alone because it failed.
    pub fn breaker_is_open(records: &mut Records) -> bool {
        let mut stores = records.stores().iter();
        stores.any(|store| store.pipe().breaker.is_open())
    }

    /// Sends what can be sent.
    pub fn send(&mut self, records: &mut Records, metrics: &mut Metrics, now: Ps) {
        for (link, store) in self.0.iter_mut().zip(records.stores()) {
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
    pub fn replied(
        &self,
        records: &mut Records,
        token: u32,
        reply: Result<&[u8], Trouble>,
        now: Ps,
    ) {
        for store in records.stores() {
            store.replied(token, reply, now);
        }
    }

    /// A message of a stream has come.
    pub fn message(&mut self, records: &mut Records, token: u32, size: usize, now: Ps) {
        self.each(records, now, |link, _| link.message(token, size));
    }

    /// A stream has ended.
    pub fn closed(&mut self, records: &mut Records, token: u32, status: u32, now: Ps) {
        self.each(records, now, |link, _| link.closed(token, status));
    }

    /// Gives up what should have been answered long ago.
    pub fn tick(&mut self, records: &mut Records, now: Ps) {
        self.each(records, now, |link, store| {
            let mut overdue = link.tick(now);
            let given_up = store.pipe().overdue(now).into_iter();
            overdue.extend(given_up.map(|token| (token, Err(Trouble::Timeout))));
            overdue
        });
    }

    fn each(
        &mut self,
        records: &mut Records,
        now: Ps,
        mut ended: impl FnMut(&mut Link, &RedisStore) -> Ended,
    ) {
        for (link, store) in self.0.iter_mut().zip(records.stores()) {
            for (token, reply) in ended(link, store) {
                store.replied(token, reply.as_deref().map_err(|trouble| *trouble), now);
            }
        }
    }
}
