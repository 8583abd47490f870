//! One worker's way to Redis, which guards and flights of the fleet share.

use crate::metrics::Metrics;
use sluice_core::flight::fleet;
use sluice_core::guard;
use sluice_core::policy::redis::Redis;
use sluice_core::redis::line::Line;
use sluice_core::redis::trouble::Trouble;
use sluice_host::link::{Ended, Link};
use sluice_host::{clock, configuration};

/// Whose command it is.
#[derive(Debug, Clone, Copy)]
pub enum Tag {
    Guard(guard::Tag),
    /// 0: nobody wants the reply.
    Flight(u64),
}

impl From<guard::Tag> for Tag {
    fn from(tag: guard::Tag) -> Self {
        Self::Guard(tag)
    }
}

pub struct Way {
    pub line: Line<Tag>,
    pub link: Link,
}

impl Way {
    pub fn load(redis: &Redis) -> Result<Self, String> {
        let login = redis.login(configuration::environment)?;
        Ok(Self {
            line: Line::new(redis, &login, fleet::scripts()),
            link: Link::new(redis),
        })
    }

    /// What should have come to its end long ago.
    pub fn tick(&mut self) -> Ended {
        let now = clock::steady();
        let mut ended = self.link.tick(now);
        let given_up = self.line.pipe().overdue(now).into_iter();
        ended.extend(given_up.map(|token| (token, Err(Trouble::Timeout))));
        ended
    }

    /// Sends what is ready. The commands that were not sent, and why.
    pub fn send(&mut self, metrics: &mut Metrics) -> Vec<(Tag, Trouble)> {
        let now = clock::steady();
        let Self { line, link } = self;
        line.send(now, |pipe, batch| {
            let (body, replies) = (&batch.body, batch.replies());
            let token = link.send(body, replies, batch.deadline, now, pipe.login())?;
            metrics.batch(batch.len());
            Ok(token)
        })
    }

    /// Hands the counts over.
    pub fn publish(&mut self, metrics: &mut Metrics) {
        let open = self.line.pipe().breaker.is_open();
        metrics.redis(&mut self.line.troubles, open);
    }
}
