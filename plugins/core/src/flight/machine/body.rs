//! The body of an answer comes, and ends; or its stream does.

use super::trip::{Capture, Trip};
use super::{Ask, Event, Machine, Stream};
use crate::cache::{Millis, Share, is_complete, jittered};
use crate::flight::bus::Posts;
use crate::flight::entry::{Answer, Content, Entry};
use crate::flight::shelf::Put;
use crate::flight::table::End;
use crate::policy::coalesce::OnLeaderGone;
use crate::slots::SharedData;
use std::rc::Rc;

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// Whether the pieces of this stream's response are wanted.
    pub fn wants_body(&self, id: u32) -> bool {
        matches!(self.streams.get(&id), Some(Stream::Trip(_, trip)) if trip.capture.is_some())
    }

    /// A piece of the response's body, which passes.
    pub fn response_body(&mut self, id: u32, piece: &[u8], end: bool, now: Millis) {
        let Some(Stream::Trip(ask, mut trip)) = self.take_trip(id) else {
            return;
        };
        let most = self.route(&ask).map_or(0, |route| route.flight.max_body);
        if let Some(capture) = &mut trip.capture {
            let room = capture.metered.add(piece.len(), self.most_copying());
            if !room || capture.body.len() + piece.len() > most {
                trip.capture = None;
                let until = self.unshared(&ask, now);
                self.finish(&mut trip, until, now);
            } else {
                capture.body.extend_from_slice(piece);
                let length = capture.body.len();
                self.fits_fleet(&ask, &mut trip, length, now);
                self.renew(&ask, &mut trip, now);
            }
        }
        if end {
            self.complete(&ask, &mut trip, now);
        } else if trip.capture.is_some() {
            self.streams.insert(id, Stream::Trip(ask, trip));
        }
    }

    /// The response ends with trailers, which are not kept.
    pub fn response_trailers(&mut self, id: u32, now: Millis) {
        if let Some(Stream::Trip(ask, mut trip)) = self.take_trip(id) {
            self.complete(&ask, &mut trip, now);
        }
    }

    fn take_trip(&mut self, id: u32) -> Option<Stream> {
        let is_trip = matches!(self.streams.get(&id), Some(Stream::Trip(..)));
        if is_trip {
            self.streams.remove(&id)
        } else {
            None
        }
    }

    /// The answer has come to its end.
    pub(super) fn complete(&mut self, ask: &Ask, trip: &mut Trip, now: Millis) {
        let Some(capture) = trip.capture.take() else {
            // A flight that still waits for a body has lost it.
            return self.finish(trip, End::Failed, now);
        };
        let Capture {
            share,
            fields,
            body,
            took,
            metered: _,
        } = capture;
        if is_complete(&fields, body.len() as u64) {
            self.store(ask, trip, share, Rc::new(body), took, now);
        } else {
            self.finish(trip, End::Failed, now);
        }
    }

    /// Stores an answer, and then ends the flight: whoever is woken finds it.
    pub(super) fn store(
        &mut self,
        ask: &Ask,
        trip: &mut Trip,
        share: Share,
        body: Rc<Vec<u8>>,
        took: Millis,
        now: Millis,
    ) {
        let Share {
            head,
            mut terms,
            vary,
        } = share;
        let (jitter, max_variants) = self
            .route(ask)
            .map_or((0, 1), |route| (route.jitter, route.max_variants));
        terms.lifetime = jittered(terms.lifetime, jitter, (self.random)());
        let entry = Entry {
            key: Vec::new(),
            id: (self.random)() | 1,
            uri: ask.name.uri,
            epoch: trip.epoch,
            requested_at: trip.requested_at,
            content: Content::Answer(Answer {
                head,
                terms,
                body,
                took,
            }),
        };
        // What was invalidated meanwhile is of no use, and one that went alone, or whose flight was taken from it, may be
        // older than what is there: neither takes its place.
        if self.is_void(ask, trip) || self.is_older(ask, trip, now) {
            return self.finish(trip, End::Stored, now);
        }
        self.fits_fleet(
            ask,
            trip,
            entry.answer().map_or(0, |answer| answer.body.len()),
            now,
        );
        // It is another's only when it is this one's.
        let held = trip.fleet.take();
        let published = held.map(|held| (held, entry.clone(), vary.clone()));
        let put = Put {
            name: &ask.name,
            request: &ask.request,
            vary,
            entry,
            max_variants,
            fresh: (self.random)(),
        };
        if self.shelf.put(put, now) {
            self.count(Event::Stored);
            if let Some((held, entry, vary)) = published {
                self.publish(ask, held, (&entry, &vary), now);
            }
            let shared = trip.flight.is_some();
            self.finish(trip, End::Stored, now);
            if !shared && terms.age(now) < terms.lifetime && !terms.no_cache {
                self.table.share_again(ask.name.hash, now);
                if trip.hash != ask.name.hash {
                    self.table.share_again(trip.hash, now);
                }
            }
        } else {
            trip.fleet = held;
            let until = self.unshared(ask, now);
            self.finish(trip, until, now);
        }
    }

    /// What a trip brings was forgotten before it came.
    pub(super) fn is_void(&self, ask: &Ask, trip: &Trip) -> bool {
        trip.epoch != self.shelf.epoch() || trip.requested_at <= self.shelf.voids.at(ask.name.uri)
    }

    /// What is there was asked for later.
    pub(super) fn is_older(&mut self, ask: &Ask, trip: &Trip, now: Millis) -> bool {
        let found = self.shelf.far(&ask.name, &ask.request, now).entry;
        found.is_some_and(|found| found.requested_at > trip.requested_at)
    }

    /// The stream has ended. `cut`: by the upstream, in the middle of its answer; else the client may have left.
    pub fn ended(&mut self, id: u32, cut: bool, now: Millis) {
        match self.streams.remove(&id) {
            Some(Stream::Waiting(waiting)) => self.no_longer_waits(id, waiting.hash),
            Some(Stream::Asking(token)) => self.no_longer_asks(token, now),
            Some(Stream::Trip(ask, mut trip)) => {
                trip.capture = None;
                if trip.flight.is_none() {
                    return;
                }
                let on_gone = self.route(&ask).map(|route| route.flight.on_leader_gone);
                if cut {
                    self.finish(&mut trip, End::Failed, now);
                } else if on_gone == Some(OnLeaderGone::Finish) && self.can_fetch(&ask) {
                    self.count(Event::LeaderLost);
                    trip.requested_at = self.stamp(&ask, now);
                    self.fetch(&ask, trip);
                } else {
                    self.finish(&mut trip, End::Abandoned, now);
                }
            }
            _ => {}
        }
    }
}
