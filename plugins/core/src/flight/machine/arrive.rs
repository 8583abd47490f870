//! A request comes.

use super::decide::Decision;
use super::{Ask, Bypassed, Event, Machine, Step, Stream, Waiting};
use crate::cache::{Admission, Millis, admission, is_unsafe, uri_key};
use crate::flight::bus::Posts;
use crate::flight::shelf::Name;
use crate::selector::Request;
use crate::slots::SharedData;

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// The head of a request. `ends`: it is all of it.
    pub fn request(&mut self, id: u32, request: &impl Request, ends: bool, now: Millis) -> Step {
        self.see(now);
        // All of it is needed for almost every request: fetched first, it answers all that is asked one by one.
        let headers = request.headers();
        if let Some(reply) = self.purge(request, now) {
            return Step::Answer(reply);
        }
        if is_unsafe(headers.first(":method").unwrap_or_default()) {
            let stream = Stream::Unsafe(headers.clone());
            self.streams.insert(id, stream);
            return Step::Pass;
        }
        let policy = &self.settings.policy;
        let Some((index, route)) = policy.route(request) else {
            return Step::Pass;
        };
        let lookup = match admission(headers, &route.rule, ends) {
            Admission::Unsafe => return Step::Pass,
            Admission::Bypass(why) => return self.bypass(id, Bypassed::By(why)),
            Admission::Lookup(lookup) => lookup,
        };
        let Some(identity) = route.identity(request, &policy.client_ip) else {
            return self.bypass(id, Bypassed::Key);
        };
        let target = headers.first(":path").unwrap_or_default();
        let uri = uri_key(headers, target, &route.rule.query);
        let mut key = Vec::with_capacity(uri.len() + identity.len() + 24);
        key.extend_from_slice(&self.settings.salt.to_le_bytes());
        key.extend_from_slice(&(index as u64).to_le_bytes());
        key.extend_from_slice(&(uri.len() as u64).to_le_bytes());
        key.extend_from_slice(&uri);
        key.extend_from_slice(&identity);
        let mut ask = Box::new(Ask {
            route: index,
            request: headers.clone(),
            lookup,
            name: Name {
                hash: self.shelf.hash(&key),
                uri: self.shelf.hash(&uri),
                key,
            },
            arrived: now,
        });
        if !ask.lookup.stored {
            // It wants what is asked for after this.
            ask.arrived = self.stamp(&ask, now);
        }
        match self.decide(&ask, false, now) {
            Decision::Answer(reply) => Step::Answer(reply),
            Decision::Wait { hash } => {
                let waiting = Waiting {
                    deadline: self.deadline(&ask, now),
                    ask,
                    hash,
                    rounds: 0,
                };
                self.wait(id, waiting, now);
                Step::Hold
            }
            Decision::Go(trip) => {
                let deadline = self.deadline(&ask, now);
                match self.depart(id, ask, trip, (deadline, 0), now) {
                    None => Step::Hold,
                    Some(changes) if changes.is_empty() => Step::Pass,
                    Some(changes) => Step::Send(changes),
                }
            }
        }
    }

    /// Until when a request may be held.
    pub(super) fn deadline(&self, ask: &Ask, now: Millis) -> Millis {
        let wait = self.route(ask).map_or(0, |route| route.flight.wait);
        now.saturating_add(wait)
    }

    fn bypass(&mut self, id: u32, why: Bypassed) -> Step {
        self.count(Event::Bypass);
        if self.settings.policy.cache_status.is_some() {
            self.streams.insert(id, Stream::Bypass(why));
        }
        Step::Pass
    }

    pub(super) fn wait(&mut self, id: u32, waiting: Waiting, now: Millis) {
        let (route, hash) = (self.route(&waiting.ask), waiting.hash);
        let lease = route.map_or(0, |route| route.flight.lease);
        self.streams.insert(id, Stream::Waiting(waiting));
        self.waiting += 1;
        let told = self.bus.number().is_some();
        let group = self.groups.entry(hash).or_default();
        if group.streams.is_empty() {
            // Who is not woken looks at each tick.
            group.next_look = if told {
                now.saturating_add(lease / 2)
            } else {
                now
            };
        }
        group.streams.push(id);
    }
}
