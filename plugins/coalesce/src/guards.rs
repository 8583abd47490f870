//! The guards of one worker, and the host services they need.

use crate::metrics::Metrics;
use sluice_core::flight::machine::Reply;
use sluice_core::guard::{Guards, Why};
use sluice_core::headers::Headers;
use sluice_core::policy::coalesce::Coalesce;
use sluice_core::redis::trouble::Trouble;
use sluice_core::selector::Request;
use sluice_host::link::{Ended, Link};
use sluice_host::message::CurrentRequest;
use sluice_host::shared::GatewayShared;
use sluice_host::{clock, configuration};

pub struct Guarding {
    guards: Guards<GatewayShared>,
    link: Link,
    /// Of each guard: its name, and why every request passes, as the log has it.
    told: Vec<(String, Option<Why>)>,
}

impl Guarding {
    /// Those of a policy, if it has any.
    pub fn load(policy: &mut Coalesce) -> Result<Option<Self>, String> {
        let Some(redis) = &policy.redis else {
            return Ok(None);
        };
        let login = redis.login(configuration::environment)?;
        let guards = std::mem::take(&mut policy.guards);
        let names = guards.iter().map(|guard| guard.name.clone());
        let told = names.map(|name| (name, None)).collect();
        let client_ip = policy.client_ip.clone();
        let now = clock::steady();
        Ok(Some(Self {
            guards: Guards::new(guards, client_ip, redis, &login, &GatewayShared, now),
            link: Link::new(redis),
            told,
        }))
    }

    /// The answer to a request for what does not exist.
    pub fn check(&mut self, request: &CurrentRequest) -> Option<Reply> {
        self.guards.check(request, clock::steady())
    }

    /// The head of a request whose answer is to be told.
    pub fn awaits(&self, request: &CurrentRequest) -> Option<Headers> {
        let awaits = self.guards.awaits(request);
        awaits.then(|| request.headers().clone())
    }

    pub fn answered(&mut self, request: Headers, response: &Headers) {
        let request = CurrentRequest::from(request);
        self.guards.answered(&request, response, clock::steady());
    }

    /// A callout has come to its end.
    pub fn replied(&mut self, token: u32, reply: Result<Vec<u8>, Trouble>, metrics: &mut Metrics) {
        self.ended(vec![(token, reply)], metrics);
    }

    /// A message of the stream to Redis has come.
    pub fn message(&mut self, token: u32, size: usize, metrics: &mut Metrics) {
        let ended = self.link.message(token, size);
        self.ended(ended, metrics);
    }

    /// The stream to Redis has ended.
    pub fn closed(&mut self, token: u32, status: u32, metrics: &mut Metrics) {
        let ended = self.link.closed(token, status);
        self.ended(ended, metrics);
    }

    pub fn tick(&mut self, metrics: &mut Metrics) {
        let now = clock::steady();
        let mut ended = self.link.tick(now);
        let given_up = self.guards.pipe().overdue(now).into_iter();
        ended.extend(given_up.map(|token| (token, Err(Trouble::Timeout))));
        self.guards.tick(now);
        self.ended(ended, metrics);
        self.publish(metrics);
    }

    /// Takes what has come, and sends what is to be asked next.
    fn ended(&mut self, ended: Ended, metrics: &mut Metrics) {
        let now = clock::steady();
        for (token, reply) in ended {
            let reply = reply.as_deref().map_err(|trouble| *trouble);
            self.guards.replied(token, reply, now);
        }
        let Self { guards, link, .. } = self;
        let (login, login_replies) = guards.pipe().login();
        let login = login.to_vec();
        guards.send(now, |batch| {
            let token = link.send(
                &batch.body,
                batch.replies(),
                batch.deadline,
                now,
                (&login, login_replies),
            )?;
            metrics.batch(batch.len());
            Ok(token)
        });
    }

    /// Hands the counts over, and tells the log what has changed.
    pub fn publish(&mut self, metrics: &mut Metrics) {
        if !self.guards.is_awake() {
            return;
        }
        let now = clock::steady();
        let counts = self.guards.take_counts(now);
        for (index, ((name, told), (counts, open))) in self.told.iter_mut().zip(counts).enumerate()
        {
            metrics.guard(index, counts, open.is_some());
            if *told != open {
                match open {
                    None => log::info!("coalesce: guard {name}: what does not exist is refused"),
                    Some(why) => {
                        log::warn!("coalesce: guard {name}: all passes: {}", why.name());
                    }
                }
                *told = open;
            }
        }
        let open = self.guards.pipe().breaker.is_open();
        metrics.redis(&mut self.guards.troubles, open);
    }

    /// The plugin is going.
    pub fn close(&mut self, metrics: &mut Metrics) {
        self.publish(metrics);
        metrics.unguard();
        metrics.redis(&mut self.guards.troubles, false);
    }
}
