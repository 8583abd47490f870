//! What to do for a request that is looked up: answer it, have it wait, or let it go upstream.

use super::reply::Reply;
use super::trip::{Lead, Trip};
use super::{Ask, Event, MOST_ROUNDS, Machine};
use crate::cache::{Forward, Hit, Join, Millis, Outcome, refresh_early};
use crate::flight::bus::Posts;
use crate::flight::entry::{Answer, Entry};
use crate::flight::shelf::Found;
use crate::flight::table::{Begun, End, Wish};
use crate::flight::voids::after;
use crate::slots::SharedData;
use std::rc::Rc;

pub(super) enum Decision {
    Answer(Reply),
    Wait { hash: u64 },
    Go(Box<Trip>),
}

/// How a request looks at what is stored.
#[derive(Clone, Copy)]
struct Look {
    /// It waited for a flight.
    followed: bool,
    /// For early refreshes.
    roll: u64,
}

/// What an entry does for a request.
enum Use {
    Serve {
        age: u64,
    },
    /// It is served, and another one fetched.
    Refresh {
        age: u64,
    },
    Revalidate,
    /// It is not for this request.
    Never,
    Nothing,
}

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// `followed`: it waited for a flight, and takes what that brought.
    pub(super) fn decide(&mut self, ask: &Ask, followed: bool, now: Millis) -> Decision {
        // One draw for each request, however often it looks.
        let look = Look {
            followed,
            roll: (self.random)(),
        };
        let near = self.shelf.near(&ask.name, &ask.request);
        if let Some(entry) = &near.entry
            && let Use::Serve { age } = self.use_of(ask, entry, look, now)
        {
            return Decision::Answer(self.serve(ask, entry, age, followed, now));
        }
        for _ in 0..MOST_ROUNDS {
            let found = self.shelf.far(&ask.name, &ask.request, now);
            if let Some(decision) = self.with_found(ask, &found, look, now) {
                return decision;
            }
        }
        self.alone(ask, None, Forward::UriMiss, now)
    }

    /// None when what is stored changed meanwhile.
    fn with_found(
        &mut self,
        ask: &Ask,
        found: &Found,
        look: Look,
        now: Millis,
    ) -> Option<Decision> {
        let (mut stale, mut alone) = (None, false);
        let mut why = if found.varies {
            Forward::VaryMiss
        } else {
            Forward::UriMiss
        };
        if let Some(entry) = &found.entry {
            match self.use_of(ask, entry, look, now) {
                Use::Serve { age } => {
                    return Some(Decision::Answer(self.serve(
                        ask,
                        entry,
                        age,
                        look.followed,
                        now,
                    )));
                }
                Use::Refresh { age } => return Some(self.refresh(ask, found, entry, age, now)),
                Use::Revalidate => {
                    let fresh = |answer: &Answer| answer.terms.expires_at() > now;
                    why = if entry.answer().is_some_and(fresh) {
                        Forward::Request
                    } else {
                        Forward::Stale
                    };
                    stale = Some(Rc::clone(entry));
                }
                // It must not lead: what it gets is not for those who share this, and would end their sharing.
                Use::Never => (why, alone) = (Forward::Request, true),
                Use::Nothing => {}
            }
        }
        if ask.lookup.only_if_cached {
            let status = self.cache_status(
                Outcome::Forward {
                    reason: why,
                    status: None,
                    stored: false,
                    collapsed: false,
                },
                None,
                Some("only-if-cached"),
            );
            let mut reply = Reply::plain(504);
            let fields = status.map(|status| (b"cache-status".to_vec(), status.into_bytes()));
            reply.fields.extend(fields);
            return Some(Decision::Answer(reply));
        }
        if alone {
            return Some(self.alone(ask, None, why, now));
        }
        let void = self.shelf.voids.at(ask.name.uri);
        let wish = Wish {
            lead: ask.lookup.leads,
            follow: match ask.lookup.join {
                Join::Any => Some(0),
                Join::Newer => Some(ask.arrived),
                Join::None => None,
            },
            void,
            waited: look.followed,
        };
        match self.begin(ask, found.hash, wish, now) {
            Begun::Follow { .. } if self.may_wait(ask, found.hash) => {
                Some(Decision::Wait { hash: found.hash })
            }
            Begun::Lead { id, attempt } => {
                let lead = Lead {
                    hash: found.hash,
                    id,
                    attempt,
                    renewed: now,
                };
                self.lead(ask, lead, stale, (why, look), now)
            }
            Begun::Failed => Some(self.in_vain(ask, found.entry.as_deref(), now)),
            _ => Some(self.alone(ask, stale, why, now)),
        }
    }

    fn begin(&mut self, ask: &Ask, hash: u64, wish: Wish, now: Millis) -> Begun {
        // 0 is no name.
        let fresh = (self.random)() | 1;
        let (number, times) = (self.bus.number(), self.times(ask));
        self.table.begin(hash, number, wish, fresh, times, now)
    }

    fn may_wait(&self, ask: &Ask, hash: u64) -> bool {
        let most = self
            .route(ask)
            .map_or(0, |route| route.flight.max_followers);
        let group = self
            .groups
            .get(&hash)
            .map_or(0, |group| group.streams.len());
        group < most && self.waiting < self.settings.policy.max_waiting
    }

    /// The leader looks once more: the answer may have come between its look and its flight.
    fn lead(
        &mut self,
        ask: &Ask,
        lead: Lead,
        stale: Option<Rc<Entry>>,
        (why, look): (Forward, Look),
        now: Millis,
    ) -> Option<Decision> {
        let id = |entry: &Option<Rc<Entry>>| entry.as_ref().map(|entry| entry.id);
        let again = self.shelf.far(&ask.name, &ask.request, now);
        let servable = again
            .entry
            .as_ref()
            .is_some_and(|entry| matches!(self.use_of(ask, entry, look, now), Use::Serve { .. }));
        if again.hash != lead.hash || (servable && id(&again.entry) != id(&stale)) {
            self.finish_flight(lead, End::Stored, now);
            return None;
        }
        let mut trip = self.trip(ask, again.entry.or(stale), again.hash, why, now);
        trip.flight = Some(lead);
        Some(Decision::Go(trip))
    }

    /// What it waited for has failed for the last time.
    pub(super) fn in_vain(&mut self, ask: &Ask, stale: Option<&Entry>, now: Millis) -> Decision {
        match self.on_error(ask, stale, None, now) {
            Some(reply) => Decision::Answer(reply),
            None => self.alone(ask, None, Forward::UriMiss, now),
        }
    }

    pub(super) fn alone(
        &mut self,
        ask: &Ask,
        stale: Option<Rc<Entry>>,
        why: Forward,
        now: Millis,
    ) -> Decision {
        self.count(Event::Alone);
        Decision::Go(self.trip(ask, stale, ask.name.hash, why, now))
    }

    /// The time of what is asked now: later than any invalidation so far.
    pub(super) fn stamp(&self, ask: &Ask, now: Millis) -> Millis {
        now.max(after(self.shelf.voids.at(ask.name.uri)))
    }

    pub(super) fn trip(
        &self,
        ask: &Ask,
        stale: Option<Rc<Entry>>,
        hash: u64,
        why: Forward,
        now: Millis,
    ) -> Box<Trip> {
        Box::new(Trip {
            flight: None,
            fleet: None,
            stale: stale.filter(|entry| entry.answer().is_some()),
            hash,
            requested_at: self.stamp(ask, now),
            epoch: self.shelf.epoch(),
            why,
            capture: None,
        })
    }

    fn use_of(&self, ask: &Ask, entry: &Entry, look: Look, now: Millis) -> Use {
        let Some(answer) = entry.answer() else {
            return Use::Nothing;
        };
        let terms = &answer.terms;
        // What came after the request is as new as it asked for, whatever it asked for.
        if look.followed
            && (ask.lookup.stored || entry.requested_at > ask.arrived)
            && let Some(age) = terms.follow(&ask.lookup, now)
        {
            return Use::Serve { age };
        }
        match terms.hit(&ask.lookup, now) {
            Hit::Serve { age, stale: false } => {
                let beta = self.route(ask).map_or(0.0, |route| route.early_refresh);
                let early = beta > 0.0
                    && refresh_early(now, answer.took, beta, terms.expires_at(), look.roll);
                if early {
                    Use::Refresh { age }
                } else {
                    Use::Serve { age }
                }
            }
            Hit::Serve { age, stale: true } => Use::Serve { age },
            Hit::ServeAndRefresh { age } => Use::Refresh { age },
            Hit::Revalidate => Use::Revalidate,
            Hit::Never => Use::Never,
        }
    }

    fn serve(&mut self, ask: &Ask, entry: &Entry, age: u64, followed: bool, now: Millis) -> Reply {
        let Some(answer) = entry.answer() else {
            return Reply::plain(500);
        };
        let outcome = if followed {
            self.count(Event::Collapsed);
            Outcome::Forward {
                reason: Forward::UriMiss,
                status: None,
                stored: false,
                collapsed: true,
            }
        } else {
            self.count(Event::Hit);
            if answer.terms.expires_at() <= now {
                self.count(Event::Stale);
            }
            Outcome::Hit
        };
        self.stored_reply(ask, answer, age, outcome, now)
    }

    /// Serves what is there while one request, of all workers, fetches another.
    fn refresh(
        &mut self,
        ask: &Ask,
        found: &Found,
        entry: &Rc<Entry>,
        age: u64,
        now: Millis,
    ) -> Decision {
        let background = self.can_fetch(ask);
        if background || ask.lookup.leads {
            let wish = Wish {
                void: self.shelf.voids.at(ask.name.uri),
                ..Wish::LEAD
            };
            if let Begun::Lead { id, attempt } = self.begin(ask, found.hash, wish, now) {
                let lead = Lead {
                    hash: found.hash,
                    id,
                    attempt,
                    renewed: now,
                };
                let again = self.shelf.far(&ask.name, &ask.request, now);
                if again
                    .entry
                    .as_ref()
                    .is_some_and(|again| again.id != entry.id)
                {
                    // Somebody has just done it.
                    self.finish_flight(lead, End::Stored, now);
                } else {
                    let mut trip =
                        self.trip(ask, Some(Rc::clone(entry)), found.hash, Forward::Stale, now);
                    trip.flight = Some(lead);
                    if !background {
                        return Decision::Go(trip);
                    }
                    self.depart_alone(ask, trip, now);
                }
            }
        }
        Decision::Answer(self.serve(ask, entry, age, false, now))
    }
}
