//! What Redis says to those who ask.

use super::super::{Event, MOST_ROUNDS, Machine, Release, Waiting};
use super::{Asks, Held};
use crate::cache::Millis;
use crate::flight::bus::Posts;
use crate::flight::entry::Entry;
use crate::flight::fleet::{self, Act, Told};
use crate::flight::message::Outcome;
use crate::flight::shelf::Put;
use crate::flight::table::End;
use crate::redis::resp::Reply;
use crate::redis::trouble::Trouble;
use crate::slots::SharedData;

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// Redis has replied, or has not.
    ///
    /// # Errors
    /// The trouble, or what is wrong with the reply.
    pub fn told(
        &mut self,
        token: u64,
        reply: Result<Reply<'_>, Trouble>,
        now: Millis,
    ) -> Result<(), Trouble> {
        self.see(now);
        let left = self.left.iter().position(|(left, _)| *left == token);
        if let Some(place) = left.map(|at| self.left.swap_remove(at).1) {
            let told = reply.and_then(|reply| fleet::told(&reply).map(leads));
            // It may lead, and will not.
            if told == Ok(true) || may_lead(told.err()) {
                self.tell_fleet(None, token, place, Act::Release);
            }
            return told.map(drop);
        }
        let Some(mut asks) = self.asks.remove(&token) else {
            return reply.map(drop);
        };
        let sent = asks.asked.take().unwrap_or(now);
        let told = reply
            .as_ref()
            .map_err(|trouble| *trouble)
            .and_then(fleet::told);
        match told {
            Ok(Told::Lead { at }) => {
                self.count(Event::FleetLead);
                let Asks { base, place, .. } = *asks;
                asks.trip.fleet = Some(Held {
                    token,
                    base,
                    place,
                    at,
                });
                self.lead_fleet(*asks, now);
            }
            Ok(Told::Busy) => {
                self.count(Event::FleetWait);
                // By then answers may depend on other fields, or on none.
                asks.place = asks.base;
                asks.vary.clear();
                if asks.deadline <= now {
                    self.count(Event::WaitedOut);
                    self.lead_fleet(*asks, now);
                } else {
                    self.asks.insert(token, asks);
                }
            }
            Ok(Told::Own) => {
                self.count(Event::FleetOwn);
                self.lead_fleet(*asks, now);
            }
            Ok(Told::Varies(names)) if asks.place == asks.base => {
                asks.place = asks.base.variant(&names, &asks.ask.request);
                asks.vary = names;
                self.ask_again(token, asks, now);
            }
            Ok(Told::Answer { age, id, blob }) => {
                let most = self
                    .route(&asks.ask)
                    .map_or(0, |route| route.flight.max_body);
                let requested_at = sent.saturating_sub(age);
                let Some(entry) = fleet::decode(blob, id, &asks.vary, most, requested_at, now)
                else {
                    return self.not_read(token, asks, id, now);
                };
                let answer = entry.answer();
                if answer.is_some_and(|answer| answer.terms.keep_until() > now) {
                    self.adopt(*asks, entry, now);
                } else {
                    // It is a little older here than there, and so of no more use.
                    asks.unwanted = Some(id);
                    self.ask_again(token, asks, now);
                }
            }
            // A variant has none.
            Ok(Told::Varies(_)) => {
                return self.without_fleet(token, *asks, Trouble::Malformed, now);
            }
            Err(trouble) => return self.without_fleet(token, *asks, trouble, now),
        }
        Ok(())
    }

    /// This gateway asks the upstream.
    pub(super) fn lead_fleet(&mut self, mut asks: Asks, now: Millis) {
        asks.trip.requested_at = self.stamp(&asks.ask, now);
        asks.trip.epoch = self.shelf.epoch();
        match asks.who {
            None => self.fetch(&asks.ask, asks.trip),
            Some(id) => {
                let changes = self.go(id, asks.ask, asks.trip);
                self.released.push_back((id, Release::Send(changes)));
            }
        }
    }

    /// The same, because Redis is no help.
    fn without_fleet(
        &mut self,
        token: u64,
        asks: Asks,
        trouble: Trouble,
        now: Millis,
    ) -> Result<(), Trouble> {
        self.count(Event::FleetTrouble);
        if may_lead(Some(trouble)) {
            self.tell_fleet(None, token, asks.place, Act::Release);
        }
        self.lead_fleet(asks, now);
        Err(trouble)
    }

    /// What is there is no answer: another is to take its place.
    fn not_read(
        &mut self,
        token: u64,
        mut asks: Box<Asks>,
        id: u64,
        now: Millis,
    ) -> Result<(), Trouble> {
        asks.rounds += 1;
        if asks.rounds >= MOST_ROUNDS {
            return self.without_fleet(token, *asks, Trouble::Malformed, now);
        }
        self.count(Event::FleetTrouble);
        asks.unwanted = Some(id);
        self.ask_again(token, asks, now);
        Err(Trouble::Malformed)
    }

    /// What another gateway got is this one's as well, unless it has something better.
    fn adopt(&mut self, asks: Asks, mut entry: Entry, now: Millis) {
        let Asks {
            who,
            ask,
            mut trip,
            vary,
            deadline,
            rounds,
            ..
        } = asks;
        trip.requested_at = entry.requested_at;
        entry.epoch = trip.epoch;
        entry.uri = ask.name.uri;
        let mut end = End::Stored;
        if !self.is_void(&ask, &trip) && !self.is_older(&ask, &trip, now) {
            let put = Put {
                name: &ask.name,
                request: &ask.request,
                vary,
                entry,
                max_variants: self.route(&ask).map_or(1, |route| route.max_variants),
                fresh: (self.random)(),
            };
            if self.shelf.put(put, now) {
                self.count(Event::FleetAnswer);
            } else {
                end = self.unshared(&ask, now);
            }
        }
        let hash = trip.hash;
        self.finish(&mut trip, end, now);
        let outcome = match end {
            End::Stored => Outcome::Stored,
            _ => Outcome::Unshared,
        };
        let waiting = Waiting {
            ask,
            hash,
            deadline,
            rounds,
        };
        self.decide_again(who, waiting, outcome, now);
    }

    /// What it led has ended.
    pub(super) fn decide_again(
        &mut self,
        who: Option<u32>,
        waiting: Waiting,
        outcome: Outcome,
        now: Millis,
    ) {
        if let Some(id) = who {
            self.streams.remove(&id);
            self.wake_one(id, waiting, outcome, now);
        }
    }
}

/// Whether it leads.
fn leads(told: Told<'_>) -> bool {
    matches!(told, Told::Lead { .. })
}

/// Whether a command with this trouble may have been carried out.
fn may_lead(trouble: Option<Trouble>) -> bool {
    matches!(
        trouble,
        Some(Trouble::Timeout | Trouble::Reset | Trouble::Truncated | Trouble::Malformed)
    )
}
