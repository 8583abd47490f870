//! Leaders that ask the fleet before they ask the upstream, on routes that say so.
//!
//! Who leads the process's flight asks Redis whether it leads that of the fleet, or what another gateway got. Whatever
//! another got goes into the shelf, and then everybody of this process decides for itself, as when the answer had come
//! here. Whatever goes wrong with Redis, this process asks the upstream as if there were no fleet.

mod held;
mod told;

use super::trip::Trip;
use super::{Ask, Changes, Event, Machine, Stream, Waiting};
use crate::cache::Millis;
use crate::flight::bus::Posts;
use crate::flight::fleet::{Act, Place};
use crate::flight::message::Outcome;
use crate::flight::table::End;
use crate::flight::voids::after;
use crate::redis::command::Command;
use crate::slots::SharedData;

/// A flight of the fleet that is led here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    token: u64,
    /// That of the key, and that of the variant, if it is another.
    base: Place,
    place: Place,
    /// When Redis said that the lead began.
    at: u64,
}

/// A leader of this process that has not gone yet.
pub(super) struct Asks {
    /// Its stream; none of a fetch without a client.
    who: Option<u32>,
    ask: Box<Ask>,
    trip: Box<Trip>,
    base: Place,
    place: Place,
    /// The fields that [`Asks::place`] is of a variant of.
    vary: Vec<String>,
    /// Then it waits for no other gateway any more.
    deadline: Millis,
    /// Then it goes whatever Redis does.
    last: Millis,
    rounds: u8,
    /// When it asked, if it was not told yet.
    asked: Option<Millis>,
    /// An answer that is none, or of no use any more.
    unwanted: Option<u64>,
}

impl Asks {
    /// A client waits for it.
    pub fn is_request(&self) -> bool {
        self.who.is_some()
    }
}

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// A request goes upstream: at once, with these changes, or after the fleet was asked.
    pub(super) fn depart(
        &mut self,
        id: u32,
        ask: Box<Ask>,
        trip: Box<Trip>,
        (deadline, rounds): (Millis, u8),
        now: Millis,
    ) -> Option<Changes> {
        if trip.flight.is_some() && self.in_fleet(&ask) {
            let token = self.ask_fleet(Some(id), ask, trip, (deadline, rounds), now);
            self.streams.insert(id, Stream::Asking(token));
            return None;
        }
        Some(self.go(id, ask, trip))
    }

    fn go(&mut self, id: u32, ask: Box<Ask>, trip: Box<Trip>) -> Changes {
        if trip.flight.is_some() {
            self.count(Event::Lead);
        }
        let changes = trip.changes(&ask);
        self.streams.insert(id, Stream::Trip(ask, trip));
        changes
    }

    /// An answer is fetched without a client: at once, or after the fleet was asked.
    pub(super) fn depart_alone(&mut self, ask: &Ask, trip: Box<Trip>, now: Millis) {
        if self.in_fleet(ask) {
            let deadline = self.deadline(ask, now);
            self.ask_fleet(None, Box::new(ask.clone()), trip, (deadline, 0), now);
        } else {
            self.fetch(ask, trip);
        }
    }

    fn in_fleet(&self, ask: &Ask) -> bool {
        self.fleet_body(ask).is_some() && self.settings.fleet.is_some()
    }

    /// The longest body that goes to other gateways.
    fn fleet_body(&self, ask: &Ask) -> Option<usize> {
        self.route(ask).and_then(|route| route.flight.fleet)
    }

    fn ask_fleet(
        &mut self,
        who: Option<u32>,
        ask: Box<Ask>,
        trip: Box<Trip>,
        (deadline, rounds): (Millis, u8),
        now: Millis,
    ) -> u64 {
        let token = (self.random)() | 1;
        // The key begins with a number that only this process has.
        let key = ask.name.key.get(SALT..).unwrap_or_default();
        let fleet = self.settings.fleet.as_ref();
        let Some((base, timeout)) = fleet.map(|(fleet, timeout)| (fleet.place(key), *timeout))
        else {
            return token;
        };
        let asks = Box::new(Asks {
            who,
            ask,
            trip,
            base,
            place: base,
            vary: Vec::new(),
            deadline,
            // Whoever may not wait for another still asks whether there is an answer.
            last: deadline.max(now.saturating_add(timeout)),
            rounds,
            asked: None,
            unwanted: None,
        });
        self.ask_again(token, asks, now);
        token
    }

    fn ask_again(&mut self, token: u64, mut asks: Box<Asks>, now: Millis) {
        let Asks {
            ask,
            trip,
            unwanted,
            ..
        } = &mut *asks;
        let most = self.fleet_body(ask).unwrap_or(0).saturating_add(HEAD);
        let stale = trip.stale.as_ref();
        // What was asked for at one of these times or before is of no use here.
        let not_since = [
            self.shelf.voids.at(ask.name.uri),
            self.shelf.epoch_at(),
            self.leapt,
            if ask.lookup.stored { 0 } else { ask.arrived },
            stale.map_or(0, |stale| stale.requested_at),
        ];
        let last = not_since.into_iter().max().unwrap_or_default();
        let sent = now.max(after(last));
        trip.epoch = self.shelf.epoch();
        let act = Act::Lead {
            lease: self.times(ask).lease,
            within: sent - last,
            but: unwanted.or(stale.map(|stale| stale.id)).unwrap_or(0),
            most,
        };
        asks.asked = Some(sent);
        self.tell_fleet(Some(token), token, asks.place, act);
        self.asks.insert(token, asks);
    }

    /// `replies`: whose reply is wanted.
    fn tell_fleet(&mut self, replies: Option<u64>, token: u64, place: Place, act: Act<'_>) {
        if let Some((fleet, _)) = &self.settings.fleet {
            let command = fleet.command(place, token, act);
            if self.commands.is_empty() {
                self.wake_root();
            }
            self.commands.push((replies.unwrap_or(0), command));
        }
    }

    /// What is to be asked of Redis, and the token that [`Machine::told`] wants with the reply.
    pub fn take_commands(&mut self) -> Vec<(u64, Command)> {
        std::mem::take(&mut self.commands)
    }

    /// Who asks the fleet has left.
    pub(super) fn no_longer_asks(&mut self, token: u64, now: Millis) {
        if let Some(mut asks) = self.asks.remove(&token) {
            self.leave_fleet(token, &asks);
            self.finish(&mut asks.trip, End::Abandoned, now);
        }
    }

    /// Should it be told that it leads, another is to.
    fn leave_fleet(&mut self, token: u64, asks: &Asks) {
        if asks.asked.is_some() {
            self.left.push((token, asks.place));
        }
    }

    /// Who was told that another leads asks again, until its time is over.
    pub(super) fn tick_fleet(&mut self, now: Millis) {
        let tokens: Vec<u64> = self.asks.keys().copied().collect();
        for token in tokens {
            let Some(mut asks) = self.asks.remove(&token) else {
                continue;
            };
            self.renew(&asks.ask, &mut asks.trip, now);
            if asks.trip.flight.is_none() {
                // Somebody else of this process leads by now.
                self.leave_fleet(token, &asks);
                let Asks {
                    who,
                    ask,
                    trip,
                    deadline,
                    rounds,
                    ..
                } = *asks;
                let hash = trip.hash;
                let waiting = Waiting {
                    ask,
                    hash,
                    deadline,
                    rounds,
                };
                self.decide_again(who, waiting, Outcome::Again, now);
            } else if asks.last <= now || asks.asked.is_none() && asks.deadline <= now {
                self.leave_fleet(token, &asks);
                self.count(Event::WaitedOut);
                self.lead_fleet(*asks, now);
            } else if asks.asked.is_none() {
                self.ask_again(token, asks, now);
            } else {
                self.asks.insert(token, asks);
            }
        }
    }

    /// The gateway's clock went back: nobody waits longer for it.
    pub(super) fn set_back_fleet(&mut self, back: Millis) {
        for asks in self.asks.values_mut() {
            asks.deadline = asks.deadline.saturating_sub(back);
            asks.last = asks.last.saturating_sub(back);
        }
    }
}

/// What an answer may have besides its body, about.
const HEAD: usize = 64 << 10;

/// The part of a name's key that only this process has.
const SALT: usize = 8;
