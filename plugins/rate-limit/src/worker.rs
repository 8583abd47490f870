//! One worker's limits: the limiter, and the host services it needs.

use crate::metrics::Metrics;
use sluice_core::gcra::{PS_PER_S, Ps};
use sluice_core::rate_limit::answer::{self, Style};
use sluice_core::rate_limit::check::{Reason, Standing, Verdict};
use sluice_core::rate_limit::limiter::Limiter;
use sluice_core::rate_limit::plan::Plan;
use sluice_core::redis::trouble::Trouble;
use sluice_core::selector::Request;
use sluice_host::gathering::Gathering;
use sluice_host::link::{Ended, Link};
use sluice_host::shared::{self, GatewayShared};
use sluice_host::stream::Others;
use sluice_host::wakeup::Wakeup;
use sluice_host::{clock, configuration, message, random};
use std::collections::HashMap;

/// Deadlines are kept to a quarter of the time that a request may wait, within these bounds.
const TICK_MIN: Ps = PS_PER_S / 200;
const TICK_MAX: Ps = PS_PER_S / 10;

/// What a new request comes to.
pub enum Decided {
    /// It goes on; its response is to say how the client stands.
    Admitted(Vec<Standing>),
    /// It has been answered.
    Denied,
    /// It waits for the root context to resume or answer it.
    Later,
}

pub struct Worker {
    root: u32,
    plan: Plan,
    limiter: Limiter<GatewayShared>,
    /// None without a Redis.
    redis: Option<Way>,
    metrics: Metrics,
    /// Standings of requests that waited and were admitted, until their responses pass.
    admitted: HashMap<u32, Vec<Standing>>,
}

/// The way to Redis, and when it is taken.
struct Way {
    link: Link,
    gathering: Gathering,
}

impl Worker {
    /// Loads the policy for root context `root`.
    pub fn load(root: u32, configuration: &[u8]) -> Result<Self, String> {
        let secret = shared::process_secret();
        let plan = Plan::load(configuration, secret).map_err(|problem| problem.to_string())?;
        let settings = plan.settings(configuration::environment)?;
        let rules = plan.rules();
        let timeout = settings
            .redis
            .as_ref()
            .map_or(TICK_MAX * 4, |redis| redis.timeout);
        let redis = match &plan.policy().redis {
            Some(redis) => Some(Way {
                link: Link::new(redis),
                gathering: Gathering::new(Wakeup::register()?),
            }),
            None => None,
        };
        clock::tick_every((timeout / 4).clamp(TICK_MIN, TICK_MAX));
        // Leases have a table of their own.
        let tables = if redis.is_some() { 2 } else { 1 };
        log::info!(
            "rate-limit: {} limits loaded; the local tables take {} KiB at most",
            rules.len(),
            plan.policy().local.memory_bytes() * tables / 1024,
        );
        Ok(Self {
            root,
            metrics: Metrics::define(&rules, redis.is_some()),
            limiter: Limiter::new(GatewayShared, settings, rules),
            plan,
            redis,
            admitted: HashMap::new(),
        })
    }

    pub fn decide(&mut self, id: u32, request: &impl Request, now: Ps) -> Decided {
        let checks = self.plan.checks(request);
        if checks.is_empty() {
            return Decided::Admitted(Vec::new());
        }
        let verdict = self.limiter.begin(id, checks, now);
        self.gather();
        match verdict {
            None => Decided::Later,
            Some(Verdict::Admitted { standings }) => Decided::Admitted(standings),
            Some(Verdict::Denied {
                rule,
                reason,
                standings,
            }) => {
                let denial = self.denial(rule, reason, &standings);
                message::answer(denial.status, &denial.headers(), &denial.body);
                Decided::Denied
            }
        }
    }

    /// Has the gathered commands sent soon.
    fn gather(&mut self) {
        if self.limiter.is_ready()
            && let Some(way) = &mut self.redis
        {
            way.gathering.call(self.limiter.gathered());
        }
    }

    /// A wake-up has come.
    pub fn woken(&mut self, queue: u32, now: Ps) {
        let gathered = self.limiter.gathered();
        let way = self.redis.as_mut();
        if way.is_some_and(|way| way.gathering.woken(queue, gathered)) {
            self.send(now);
        }
        self.release();
    }

    /// A callout has come to its end.
    pub fn replied(&mut self, token: u32, reply: Result<Vec<u8>, Trouble>, now: Ps) {
        self.ended(vec![(token, reply)], now);
        self.go_on();
    }

    /// A message of the stream to Redis has come.
    pub fn message(&mut self, token: u32, size: usize, now: Ps) {
        if let Some(way) = &mut self.redis {
            let ended = way.link.message(token, size);
            self.ended(ended, now);
            self.go_on();
        }
    }

    /// The stream to Redis has ended.
    pub fn closed(&mut self, token: u32, status: u32, now: Ps) {
        if let Some(way) = &mut self.redis {
            let ended = way.link.closed(token, status);
            self.ended(ended, now);
            self.go_on();
        }
    }

    fn ended(&mut self, ended: Ended, now: Ps) {
        for (token, reply) in ended {
            let reply = reply.as_deref().map_err(|trouble| *trouble);
            self.limiter.replied(token, reply, now);
        }
    }

    fn go_on(&mut self) {
        self.release();
        // Those that go on make room for others, which may be here in a moment.
        self.gather();
    }

    pub fn tick(&mut self, now: Ps) {
        if let Some(way) = &mut self.redis {
            way.gathering.ticked();
            let overdue = way.link.tick(now);
            self.ended(overdue, now);
        }
        self.limiter.tick(now);
        self.send(now);
        self.go_on();
        self.metrics.publish(&mut self.limiter);
    }

    /// Sends what can be sent.
    fn send(&mut self, now: Ps) {
        let Self {
            limiter,
            redis: Some(Way { link, .. }),
            metrics,
            ..
        } = self
        else {
            return;
        };
        let (login, login_replies) = limiter.login();
        let login = login.to_vec();
        limiter.send(now, |batch| {
            link.send(
                &batch.body,
                batch.len(),
                batch.deadline,
                now,
                (&login, login_replies),
            )
        });
        metrics.batches(limiter);
    }

    /// Lets streams go on whose verdict is there, once in a callback: some of them, and has itself woken for the others.
    fn release(&mut self) {
        let settled = self.limiter.settled();
        if settled.is_empty() {
            return;
        }
        let others = Others::of(self.root);
        for (id, verdict) in settled {
            match verdict {
                Verdict::Admitted { standings } => {
                    if others.resume_request(id) && self.plan.style() != Style::Off {
                        self.admitted.insert(id, standings);
                    }
                }
                Verdict::Denied {
                    rule,
                    reason,
                    standings,
                } => {
                    let denial = self.denial(rule, reason, &standings);
                    others.answer(id, denial.status, &denial.headers(), &denial.body);
                }
            }
        }
        drop(others);
        if self.limiter.has_settled()
            && let Some(way) = &mut self.redis
        {
            way.gathering.call(self.limiter.gathered());
        }
    }

    /// Whether stream `id` has no verdict yet.
    pub fn waits(&self, id: u32) -> bool {
        self.limiter.waits(id)
    }

    /// The stream has ended.
    pub fn forget(&mut self, id: u32) {
        self.limiter.forget(id);
        self.admitted.remove(&id);
    }

    pub fn take_standings(&mut self, id: u32) -> Vec<Standing> {
        self.admitted.remove(&id).unwrap_or_default()
    }

    pub fn add_fields(&self, standings: &[Standing]) {
        for (name, value) in
            answer::fields(self.plan.style(), standings, |rule| self.plan.name(rule))
        {
            message::add_response_header(name, &value);
        }
    }

    fn denial(&self, rule: usize, reason: Reason, standings: &[Standing]) -> answer::Denial {
        let jitter = match self.plan.jitter() {
            0 => 0,
            most => random::up_to(most),
        };
        self.plan.denial(rule, reason, standings, jitter)
    }

    /// The plugin is going: hands over the last counts.
    pub fn close(&mut self) {
        self.metrics.close(&mut self.limiter);
    }
}
