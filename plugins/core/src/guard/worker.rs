//! The guards of one worker: which requests they look at, and the way of each to Redis and to the other workers.

use std::rc::Rc;

use super::MAX_ID_BYTES;
use super::copy::{Asked, Copy, Read, Verdict};
use super::created::{Kept, request_for};
use super::events::{EVENTS, Event, Why};
use super::recent::Recent;
use super::scripts::{self, Keys};
use crate::cache::Millis;
use crate::flight::machine::Reply;
use crate::gcra::{PS_PER_S, Ps};
use crate::headers::Headers;
use crate::policy::coalesce::Guard;
use crate::policy::redis::Redis;
use crate::redis::line::Line;
use crate::redis::resp::Reply as Told;
use crate::redis::trouble::Trouble;
use crate::selector::{ClientIp, Key, Request};
use crate::slots::SharedData;

/// Looks in vain after which a worker that nobody has asked yet waits until somebody does: Envoy's main thread, which has
/// the filter as well and no way to Redis, is never asked.
const IN_VAIN: u32 = 3;

/// What a command was for.
#[derive(Debug, Clone, Copy)]
pub struct Tag {
    guard: usize,
    asked: Asked,
}

struct Watch<S> {
    guard: Guard,
    keys: Keys,
    copy: Copy,
    /// Only where ids are learnt.
    recent: Option<Recent<S>>,
    counts: [u64; EVENTS.len()],
}

/// The guards of one worker, at least one. Time is a clock that never goes back.
pub struct Guards<S> {
    watches: Vec<Watch<S>>,
    client_ip: ClientIp,
    /// Redis has answered, or a request has come.
    awake: bool,
    in_vain: u32,
}

impl<S: SharedData + Clone> Guards<S> {
    /// `guards` are those of a policy.
    pub fn new(guards: Vec<Guard>, client_ip: ClientIp, redis: &Redis, store: &S, now: Ps) -> Self {
        let mut guards = Self {
            watches: guards
                .into_iter()
                .map(|guard| Watch::new(guard, redis, store))
                .collect(),
            client_ip,
            awake: false,
            in_vain: 0,
        };
        for watch in &mut guards.watches {
            // Whoever learnt them may have gone before Redis knew.
            for id in watch.look_around(millis(now)) {
                watch.copy.learn(id, millis(now));
            }
        }
        guards
    }

    /// The answer to a request that asks for what does not exist.
    pub fn check(&mut self, request: &impl Request, now: Ps) -> Option<Reply> {
        self.awake = true;
        let (now, client_ip) = (millis(now), &self.client_ip);
        let mut watches = self.watches.iter_mut();
        watches.find_map(|watch| watch.check(request, client_ip, now))
    }

    /// Whether what it counts means anything: it does of no worker that is never asked.
    pub fn is_awake(&self) -> bool {
        self.awake
    }

    /// Whether the answer to a request may say that something new exists: then it is to be told, by [`Guards::answered`].
    pub fn awaits(&self, request: &impl Request) -> bool {
        let mut learning = self
            .watches
            .iter()
            .filter_map(|watch| watch.guard.learn.as_ref());
        learning.any(|learn| learn.matcher.matches(request))
    }

    /// The answer to a request is here, and its client does not have it yet.
    pub fn answered(&mut self, request: &impl Kept, response: &Headers, now: Ps) {
        let status = response.first(":status").unwrap_or_default();
        let status = std::str::from_utf8(status)
            .ok()
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        for watch in &mut self.watches {
            watch.answered(request, status, response, &self.client_ip, millis(now));
        }
    }

    /// Finds out what is to be asked of Redis, and asks it.
    pub fn tick<T: From<Tag>>(&mut self, line: &mut Line<T>, now: Ps) {
        for watch in &mut self.watches {
            watch.look_around(millis(now));
        }
        if !self.awake {
            line.troubles.fill(0);
        }
        if self.awake || self.in_vain < IN_VAIN {
            self.ask(line, now);
        }
    }

    fn ask<T: From<Tag>>(&mut self, line: &mut Line<T>, now: Ps) {
        let at = millis(now);
        for (guard, watch) in self.watches.iter_mut().enumerate() {
            let Watch { keys, copy, .. } = watch;
            let read = copy.read(at).map(|(read, asked)| {
                let command = match read {
                    Read::Look { cursor, most } => keys.look(cursor, most),
                    Read::Piece { header, range } => keys.piece(&header, &range),
                };
                (command, asked)
            });
            let add = copy.add(at).map(|(ids, asked)| (keys.add(ids), asked));
            for (command, asked) in read.into_iter().chain(add) {
                if line.ask(command, Tag { guard, asked }.into(), now).is_err() {
                    copy.failed(asked, at);
                }
            }
        }
    }

    /// A command was not sent.
    pub fn not_sent(&mut self, tag: Tag, now: Ps) {
        self.in_vain = self.in_vain.saturating_add(1);
        if let Some(watch) = self.watches.get_mut(tag.guard) {
            watch.copy.failed(tag.asked, millis(now));
        }
    }

    /// What has become of a command.
    ///
    /// # Errors
    /// The trouble, or what is wrong with the reply.
    pub fn replied(
        &mut self,
        tag: Tag,
        reply: Result<Told<'_>, Trouble>,
        now: Ps,
    ) -> Result<(), Trouble> {
        let Some(watch) = self.watches.get_mut(tag.guard) else {
            return Ok(());
        };
        let at = millis(now);
        let outcome = reply.and_then(|reply| match tag.asked {
            Asked::Look { began, side } => {
                let found = scripts::look(&reply)?;
                if watch.copy.looked(&found, began, side, at) {
                    watch.loaded();
                }
                Ok(())
            }
            Asked::Piece => scripts::piece(&reply).map(|piece| watch.copy.piece(piece, at)),
            Asked::Add(ids) => scripts::added(&reply).map(|room| watch.copy.added(ids, room, at)),
        });
        if outcome.is_err() {
            watch.copy.failed(tag.asked, at);
        }
        outcome
    }

    /// A callout has come to its end, with replies or without; the next commands are asked.
    pub fn heard<T: From<Tag>>(&mut self, replied: bool, line: &mut Line<T>, now: Ps) {
        self.awake |= replied;
        self.in_vain = self.in_vain.saturating_add(1);
        if self.awake {
            self.ask(line, now);
        }
    }

    /// Of each guard: what was counted since the last time, in the order of [`EVENTS`], and why every request passes now.
    pub fn take_counts(
        &mut self,
        now: Ps,
    ) -> impl Iterator<Item = ([u64; EVENTS.len()], Option<Why>)> {
        let counts = move |watch: &mut Watch<S>| {
            let counts = std::mem::take(&mut watch.counts);
            (counts, watch.copy.open(millis(now)))
        };
        self.watches.iter_mut().map(counts)
    }
}

impl<S: SharedData + Clone> Watch<S> {
    fn new(guard: Guard, redis: &Redis, store: &S) -> Self {
        let keys = Keys::new(&redis.key_prefix, &guard.key);
        let name = [&redis.cluster_name, "/", &keys.filter].concat();
        let recent = || Recent::new(store.clone(), &name);
        Self {
            copy: Copy::new(&guard),
            recent: guard.learn.is_some().then(recent),
            guard,
            keys,
            counts: [0; EVENTS.len()],
        }
    }

    fn count(&mut self, event: Event) {
        if let Some(count) = self.counts.get_mut(event as usize) {
            *count += 1;
        }
    }

    fn check(
        &mut self,
        request: &impl Request,
        client_ip: &ClientIp,
        now: Millis,
    ) -> Option<Reply> {
        if !self.guard.matcher.matches(request) {
            return None;
        }
        let Some(id) = identify(&self.guard.id, request, client_ip) else {
            self.count(Event::Unidentified);
            return None;
        };
        let mut verdict = self.copy.check(&id, now);
        if verdict == Verdict::Absent && !self.look_around(now).is_empty() {
            verdict = self.copy.check(&id, now);
        }
        let (event, refused) = match verdict {
            Verdict::Perhaps => (Event::Passed, None),
            Verdict::Absent => (Event::Refused, Some(absent(self.guard.status))),
            Verdict::Open(why) => (why.event(), None),
        };
        self.count(event);
        refused
    }

    /// Takes in what other workers have learnt, and returns it.
    fn look_around(&mut self, now: Millis) -> Vec<Vec<u8>> {
        let Some(new) = self.recent.as_mut().and_then(Recent::look) else {
            return Vec::new();
        };
        for id in &new.ids {
            self.copy.insert(id);
        }
        if new.missed {
            self.copy.miss(now);
        }
        new.ids
    }

    /// Another filter has taken the place of the old one.
    fn loaded(&mut self) {
        self.count(Event::Loaded);
        for id in self.recent.iter().flat_map(Recent::all) {
            self.copy.insert(&id);
        }
    }

    fn answered(
        &mut self,
        request: &impl Kept,
        status: u16,
        response: &Headers,
        client_ip: &ClientIp,
        now: Millis,
    ) {
        let Some(learn) = &self.guard.learn else {
            return;
        };
        let counts = |(first, last): &(u16, u16)| (*first..=*last).contains(&status);
        if !learn.statuses.iter().any(counts) || !learn.matcher.matches(request) {
            return;
        }
        let created = request_for(request, response);
        let Some(id) = created.and_then(|created| identify(&learn.id, &created, client_ip)) else {
            return self.count(Event::Unlearnt);
        };
        self.count(Event::Learnt);
        if !self.recent.as_mut().is_some_and(|recent| recent.tell(&id)) {
            self.copy.lose(now);
        }
        self.copy.learn(id, now);
    }
}

fn identify(key: &Key, request: &impl Request, client_ip: &ClientIp) -> Option<Vec<u8>> {
    let mut id = Vec::new();
    key.extract(request, client_ip, &mut id).ok()?;
    (id.len() <= MAX_ID_BYTES).then_some(id)
}

/// The answer to who asks for what does not exist. It may exist in a moment, so nobody is to keep this.
fn absent(status: u16) -> Reply {
    let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let body = [
        "{\"type\":\"urn:sluice:problem:coalesce-absent\",\"title\":\"There is no such thing\",\"status\":",
        &status.to_string(),
        "}\n",
    ];
    Reply {
        status,
        fields: vec![
            field("content-type", "application/problem+json"),
            field("cache-control", "no-store"),
        ],
        body: Rc::new(body.concat().into_bytes()),
    }
}

fn millis(now: Ps) -> Millis {
    u64::try_from(now / (PS_PER_S / 1_000)).unwrap_or(u64::MAX)
}
