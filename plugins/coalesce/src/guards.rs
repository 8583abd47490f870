//! The guards of one worker, and the host services they need.

use crate::metrics::Metrics;
use crate::redis::Tag;
use sluice_core::flight::machine::Reply;
use sluice_core::guard::{self, Guards, Why};
use sluice_core::headers::Headers;
use sluice_core::policy::coalesce::Coalesce;
use sluice_core::redis::line::Line;
use sluice_core::redis::resp;
use sluice_core::redis::trouble::Trouble;
use sluice_core::selector::Request;
use sluice_host::clock;
use sluice_host::message::CurrentRequest;
use sluice_host::shared::GatewayShared;

pub struct Guarding {
    guards: Guards<GatewayShared>,
    /// Of each guard: its name, and why every request passes, as the log has it.
    told: Vec<(String, Option<Why>)>,
}

impl Guarding {
    /// Those of a policy, if it has any.
    pub fn load(policy: &mut Coalesce) -> Option<Self> {
        let guards = std::mem::take(&mut policy.guards);
        let redis = policy.redis.as_ref().filter(|_| !guards.is_empty())?;
        let names = guards.iter().map(|guard| guard.name.clone());
        let told = names.map(|name| (name, None)).collect();
        let client_ip = policy.client_ip.clone();
        let now = clock::steady();
        Some(Self {
            guards: Guards::new(guards, client_ip, redis, &GatewayShared, now),
            told,
        })
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

    pub fn tick(&mut self, line: &mut Line<Tag>) {
        self.guards.tick(line, clock::steady());
    }

    /// A command was not sent.
    pub fn not_sent(&mut self, tag: guard::Tag) {
        self.guards.not_sent(tag, clock::steady());
    }

    /// What has become of a command: the trouble, or what is wrong with the reply.
    pub fn replied(
        &mut self,
        tag: guard::Tag,
        reply: Result<resp::Reply<'_>, Trouble>,
    ) -> Result<(), Trouble> {
        self.guards.replied(tag, reply, clock::steady())
    }

    /// A batch has come to its end, with replies or without.
    pub fn heard(&mut self, replied: bool, line: &mut Line<Tag>) {
        self.guards.heard(replied, line, clock::steady());
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
    }

    /// The plugin is going.
    pub fn close(&mut self, metrics: &mut Metrics) {
        self.publish(metrics);
        metrics.unguard();
    }
}
