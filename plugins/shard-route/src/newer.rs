//! Newer tables, from Redis or from another worker of this process.

use sluice_core::gcra::Ps;
use sluice_core::policy::shard_route::{ShardRoute, Source};
use sluice_core::redis::trouble::Trouble;
use sluice_core::shard::published::{Board, Published};
use sluice_core::shard::refresh::{Counts, News, Refresh};
use sluice_host::configuration;
use sluice_host::link::{Ended, Link};
use sluice_host::shared::GatewayShared;

pub struct Newer {
    /// The policy, whose tables are replaced.
    text: Vec<u8>,
    refresh: Refresh,
    link: Link,
    board: Board<GatewayShared>,
    /// Tables that did not count.
    pub rejected: u64,
}

impl Newer {
    pub fn new(text: &[u8], source: &Source) -> Result<Self, String> {
        Ok(Self {
            text: text.to_vec(),
            refresh: Refresh::new(source.settings(configuration::environment)?),
            link: Link::new(&source.redis),
            board: Board::new(GatewayShared, &source.place),
            rejected: 0,
        })
    }

    /// Whether it has to be known first what is published.
    pub fn is_waiting(&self) -> bool {
        self.refresh.is_waiting()
    }

    /// A request has come.
    pub fn needed(&mut self) {
        self.refresh.needed();
    }

    pub fn version(&self) -> u64 {
        self.refresh.version()
    }

    pub fn take_counts(&mut self) -> (Counts, u64) {
        let counts = std::mem::take(&mut self.refresh.counts);
        (counts, std::mem::take(&mut self.rejected))
    }

    /// What another worker has taken, if it is newer. What others know this one knows too.
    pub fn look_at_others(&mut self) -> Option<Published> {
        let found = self.board.newer(self.refresh.version());
        let found = found.filter(|found| !self.refresh.is_refused(found.version));
        if found.is_none() && self.is_waiting() && self.board.is_known() {
            self.refresh.known();
        }
        found
    }

    /// The policy with these tables; none when they do not fit it.
    pub fn policy(&mut self, published: &Published) -> Option<ShardRoute> {
        let version = published.version;
        let policy = ShardRoute::load_with(&self.text, &published.tables)
            .map_err(|problem| problem.to_string())
            .and_then(|mut policy| {
                policy.bind(configuration::environment)?;
                Ok(policy)
            });
        policy
            .inspect_err(|problem| {
                log::error!("shard-route: tables of version {version} are refused: {problem}");
                self.refused(version);
            })
            .ok()
    }

    /// The tables of this version do not fit.
    pub fn refused(&mut self, version: u64) {
        self.refresh.refused(version);
        self.rejected += 1;
    }

    /// The tables are in force: for the others too.
    pub fn adopted(&mut self, published: &Published) {
        log::info!(
            "shard-route: tables of version {} are in force",
            published.version
        );
        self.refresh.adopted(published.version);
        self.board.offer(published);
    }

    /// Asks Redis, if it is time to.
    pub fn tick(&mut self, now: Ps) -> Option<Published> {
        let mut overdue = self.link.tick(now);
        let given_up = self.refresh.overdue(now).into_iter();
        overdue.extend(given_up.map(|token| (token, Err(Trouble::Timeout))));
        let found = self.ended(overdue, now);
        let Self { refresh, link, .. } = self;
        let (login, replies) = refresh.login();
        let login = login.to_vec();
        let news = refresh.ask(now, |batch| {
            link.send(
                &batch.body,
                batch.replies(),
                batch.deadline,
                now,
                (&login, replies),
            )
        });
        found.or(self.told(news))
    }

    /// A callout has come to its end.
    pub fn replied(
        &mut self,
        token: u32,
        reply: Result<Vec<u8>, Trouble>,
        now: Ps,
    ) -> Option<Published> {
        self.ended(vec![(token, reply)], now)
    }

    /// A message of the stream to Redis has come.
    pub fn message(&mut self, token: u32, size: usize, now: Ps) -> Option<Published> {
        let ended = self.link.message(token, size);
        self.ended(ended, now)
    }

    /// The stream to Redis has ended.
    pub fn closed(&mut self, token: u32, status: u32, now: Ps) -> Option<Published> {
        let ended = self.link.closed(token, status);
        self.ended(ended, now)
    }

    fn ended(&mut self, ended: Ended, now: Ps) -> Option<Published> {
        let waited = self.is_waiting();
        let mut found = None;
        for (token, reply) in ended {
            let reply = reply.as_deref().map_err(|trouble| *trouble);
            let Self { refresh, link, .. } = self;
            let (login, replies) = refresh.login();
            let login = login.to_vec();
            let news = refresh.replied(token, reply, now, |batch| {
                link.send(
                    &batch.body,
                    batch.replies(),
                    batch.deadline,
                    now,
                    (&login, replies),
                )
            });
            found = self.told(news).or(found);
        }
        if waited && !self.is_waiting() {
            self.board.known();
        }
        found
    }

    fn told(&mut self, news: Option<News>) -> Option<Published> {
        match news? {
            News::Newer(published) => return Some(published),
            News::Unfit(why) => {
                self.rejected += 1;
                log::error!(
                    "shard-route: what is published does not count: {}",
                    why.text()
                );
            }
            News::Failed(trouble) => {
                log::warn!(
                    "shard-route: Redis does not say whether there are newer tables: {}",
                    trouble.name()
                );
            }
        }
        None
    }
}
