//! One worker's requests: the machine that decides, and the host services it needs.

use crate::guards::Guarding;
use crate::metrics::Metrics;
use crate::redis::{Tag, Way};
use proxy_wasm::types::Action;
use sluice_core::flight::machine::{Changes, HeadStep, Machine, Release, Reply, Settings, Step};
use sluice_core::gcra::{PS_PER_S, Ps};
use sluice_core::headers::Headers;
use sluice_core::policy::coalesce::Coalesce;
use sluice_host::link::Ended;
use sluice_host::mailbox::{GatewayPosts, Mailbox};
use sluice_host::message::CurrentRequest;
use sluice_host::shared::{self, GatewayShared};
use sluice_host::stream::Others;
use sluice_host::{callout, clock, configuration, message, random};
use std::collections::{HashMap, HashSet};

/// Deadlines and leases are kept to so much.
const TICK: Ps = PS_PER_S / 20;

/// What the gateway's log says of an answer of this filter.
const DETAILS: &str = "sluice_coalesce";

/// What a new request comes to.
pub enum Begun {
    /// It is none of this filter's business.
    Free,
    /// It has been answered; `untyped`: with an answer that has no content type.
    Answered { untyped: bool },
    /// The worker wants to hear of it.
    Known {
        action: Action,
        /// The head of a request whose answer a guard wants to hear of.
        awaited: Option<Headers>,
    },
}

pub struct Worker {
    root: u32,
    machine: Machine<GatewayShared, GatewayPosts>,
    /// None where the policy has no Redis.
    way: Option<Way>,
    /// None where the policy has no guards.
    guarding: Option<Guarding>,
    mailbox: Mailbox,
    metrics: Metrics,
    /// Calls that are under way: the machine's tags by the gateway's tokens.
    calls: HashMap<u32, u64>,
    /// Streams that have been answered here, whose answers pass them as responses. Those have no content type.
    untyped: HashSet<u32>,
}

impl Worker {
    /// Loads the policy for root context `root`.
    pub fn load(root: u32, configuration: &[u8]) -> Result<Self, String> {
        let mut policy = Coalesce::load(configuration).map_err(|problem| problem.to_string())?;
        let purge_token = policy.purge_token(configuration::environment)?;
        let metrics = Metrics::define(&policy);
        let way = policy.redis.as_ref().map(Way::load).transpose()?;
        let guarding = Guarding::load(&mut policy);
        let mailbox = Mailbox::register()?;
        log::info!(
            "coalesce: {} routes loaded; the store takes {} KiB, and {} KiB in each worker, at most",
            policy.routes.len(),
            policy.store.shared / 1024,
            policy.store.worker / 1024,
        );
        let settings = Settings::new(policy, purge_token, shared::process_secret(), configuration);
        clock::tick_every(TICK);
        Ok(Self {
            root,
            machine: Machine::new(
                settings,
                GatewayShared,
                GatewayPosts,
                mailbox.token(),
                Box::new(random::number),
                clock::millis(),
            ),
            way,
            guarding,
            mailbox,
            metrics,
            calls: HashMap::new(),
            untyped: HashSet::new(),
        })
    }

    /// A request has come.
    pub fn begin(&mut self, id: u32, end: bool, now: u64) -> Begun {
        let request = CurrentRequest::default();
        let mut awaited = None;
        if let Some(guarding) = &mut self.guarding {
            if let Some(reply) = guarding.check(&request) {
                answer(&reply);
                return Begun::Answered { untyped: false };
            }
            awaited = guarding.awaits(&request);
        }
        let action = match self.machine.request(id, &request, end, now) {
            Step::Pass if awaited.is_none() && !self.machine.knows(id) => return Begun::Free,
            Step::Pass => Action::Continue,
            Step::Send(changes) => {
                change_request(&changes);
                Action::Continue
            }
            Step::Hold => Action::Pause,
            Step::Answer(reply) => {
                return Begun::Answered {
                    untyped: answer(&reply),
                };
            }
        };
        Begun::Known { action, awaited }
    }

    /// The head of a response: what to do with it, and whether its body is wanted.
    pub fn response_head(
        &mut self,
        id: u32,
        awaited: Option<Headers>,
        end: bool,
        now: u64,
    ) -> (Action, bool) {
        if self.untyped.remove(&id) {
            message::remove_response_header("content-type");
        }
        if awaited.is_none() && !self.machine.knows(id) {
            return (Action::Continue, false);
        }
        let headers = message::response_headers();
        if let (Some(request), Some(guarding)) = (awaited, &mut self.guarding) {
            guarding.answered(request, &headers);
        }
        if !self.machine.knows(id) {
            return (Action::Continue, false);
        }
        match self.machine.response_head(id, &headers, end, now) {
            HeadStep::Pass(status) => {
                if let Some(status) = status {
                    message::add_response_header("cache-status", status.as_bytes());
                }
                (Action::Continue, self.machine.wants_body(id))
            }
            HeadStep::Replace(reply) => {
                if answer(&reply) {
                    self.untyped.insert(id);
                }
                (Action::Pause, false)
            }
        }
    }

    /// A piece of a response's body; whether more are wanted.
    pub fn response_body(&mut self, id: u32, piece: &[u8], end: bool, now: u64) -> bool {
        self.machine.response_body(id, piece, end, now);
        self.machine.wants_body(id)
    }

    pub fn response_trailers(&mut self, id: u32, now: u64) {
        self.machine.response_trailers(id, now);
    }

    /// The stream has ended.
    pub fn ended(&mut self, id: u32, cut: bool, now: u64) {
        self.untyped.remove(&id);
        self.machine.ended(id, cut, now);
    }

    /// A message has come.
    pub fn message(&mut self, queue: u32, now: u64) {
        if let Some(message) = self.mailbox.take(queue) {
            self.machine.message(&message, now);
            self.release(now);
        }
    }

    /// A call has come to its end: one that fetches, or one to Redis.
    pub fn called(&mut self, token: u32, headers: usize, body: usize, now: u64) {
        if let Some(tag) = self.calls.remove(&token) {
            self.machine
                .fetched(tag, callout::fetched(headers, body), now);
            self.release(now);
        } else {
            let reply = callout::reply(headers, body);
            self.replied(vec![(token, reply)], now);
        }
    }

    /// A message of the stream to Redis has come.
    pub fn redis_message(&mut self, token: u32, size: usize, now: u64) {
        let way = self.way.as_mut();
        let ended = way.map(|way| way.link.message(token, size));
        self.replied(ended.unwrap_or_default(), now);
    }

    /// The stream to Redis has ended.
    pub fn redis_closed(&mut self, token: u32, status: u32, now: u64) {
        let way = self.way.as_mut();
        let ended = way.map(|way| way.link.closed(token, status));
        self.replied(ended.unwrap_or_default(), now);
    }

    /// Batches have come to their end: what is told by them, and what follows.
    fn replied(&mut self, ended: Ended, now: u64) {
        let Self {
            way,
            guarding,
            machine,
            ..
        } = self;
        if let Some(Way { line, .. }) = way {
            for (token, reply) in ended {
                let reply = reply.as_deref().map_err(|trouble| *trouble);
                line.replied(token, reply, clock::steady(), |tag, reply| match tag {
                    Tag::Flight(token) => machine.told(token, reply, now),
                    Tag::Guard(tag) => guarding
                        .as_mut()
                        .map_or(Ok(()), |guarding| guarding.replied(tag, reply)),
                });
                if let Some(guarding) = guarding {
                    guarding.heard(reply.is_ok(), line);
                }
            }
        }
        self.release(now);
    }

    /// Asks Redis what is to be asked.
    fn converse(&mut self, now: u64) {
        let Self {
            way: Some(way),
            guarding,
            machine,
            metrics,
            ..
        } = self
        else {
            return;
        };
        for (token, command) in machine.take_commands() {
            let asked = way.line.ask(command, Tag::Flight(token), clock::steady());
            if let Err(trouble) = asked {
                // It is counted.
                let _ = machine.told(token, Err(trouble), now);
            }
        }
        for (tag, trouble) in way.send(metrics) {
            match (tag, &mut *guarding) {
                (Tag::Flight(token), _) => {
                    let _ = machine.told(token, Err(trouble), now);
                }
                (Tag::Guard(tag), Some(guarding)) => guarding.not_sent(tag),
                _ => {}
            }
        }
    }

    pub fn tick(&mut self, now: u64) {
        self.machine.tick(now);
        let mut ended = Ended::new();
        if let Some(way) = &mut self.way {
            ended = way.tick();
            if let Some(guarding) = &mut self.guarding {
                guarding.tick(&mut way.line);
            }
        }
        self.replied(ended, now);
        self.publish();
    }

    /// Lets those go on that waited, and makes the calls that are due.
    fn release(&mut self, now: u64) {
        self.converse(now);
        let released = self.machine.take_released();
        if !released.is_empty() {
            let others = Others::of(self.root);
            for (id, release) in released {
                match release {
                    Release::Send(changes) => {
                        let gone = others.act(id, || change_request(&changes)).is_none()
                            || !others.resume_request(id);
                        if gone {
                            self.machine.ended(id, false, now);
                        }
                    }
                    Release::Answer(reply) => {
                        if others.act(id, || answer(&reply)) == Some(true) {
                            self.untyped.insert(id);
                        }
                    }
                }
            }
        }
        for call in self.machine.take_calls() {
            match callout::fetch(&call.cluster, &call.fields, call.timeout) {
                Some(token) => {
                    self.calls.insert(token, call.tag);
                }
                None => self.machine.fetched(call.tag, None, now),
            }
        }
    }

    fn publish(&mut self) {
        let Self {
            machine, metrics, ..
        } = self;
        if let Some(guarding) = &mut self.guarding {
            guarding.publish(metrics);
        }
        if let Some(way) = &mut self.way {
            way.publish(metrics);
        }
        let counts = machine.take_counts();
        metrics.publish(counts, machine.waiting(), machine.near_bytes());
    }

    /// The plugin is going.
    pub fn close(&mut self) {
        self.machine.leave();
        let Self {
            machine, metrics, ..
        } = self;
        if let Some(guarding) = &mut self.guarding {
            guarding.close(metrics);
        }
        if let Some(way) = &mut self.way {
            metrics.redis(&mut way.line.troubles, false);
        }
        metrics.publish(machine.take_counts(), 0, 0);
    }
}

/// Answers the stream whose context is in effect. Whether the answer has no content type.
fn answer(reply: &Reply) -> bool {
    message::answer_bytes(reply.status, DETAILS, &reply.fields, &reply.body);
    !reply.body.is_empty() && !reply.fields.iter().any(|(name, _)| name == b"content-type")
}

fn change_request(changes: &Changes) {
    for (name, value) in changes {
        match value {
            Some(value) => {
                message::set_request_header(name.as_bytes(), value);
            }
            None => message::remove_request_header(name),
        }
    }
}
