//! A request on its way upstream and back, with a client or without.

use super::fleet::Held;
use super::{Ask, Changes, Event, Machine};
use crate::cache::{Forward, Millis, Share, lead_fields};
use crate::flight::bus::Posts;
use crate::flight::entry::Entry;
use crate::flight::message::{Message, Outcome};
use crate::flight::table::{ATTEMPTS, End, FlightId};
use crate::headers::Headers;
use crate::slots::SharedData;
use std::cell::Cell;
use std::rc::Rc;

pub(super) struct Trip {
    /// The flight that it leads. None: it asks for itself alone.
    pub flight: Option<Lead>,
    /// That of the fleet; only with one of the process.
    pub fleet: Option<Held>,
    /// What it revalidates.
    pub stale: Option<Rc<Entry>>,
    /// Where that is.
    pub hash: u64,
    pub requested_at: Millis,
    pub epoch: u64,
    pub why: Forward,
    pub capture: Option<Capture>,
}

/// A flight that is led here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lead {
    pub hash: u64,
    pub id: FlightId,
    pub attempt: u8,
    pub renewed: Millis,
}

/// An answer that is copied while it passes.
pub(super) struct Capture {
    pub share: Share,
    /// As they came, to tell whether the body is whole.
    pub fields: Headers,
    pub body: Vec<u8>,
    pub metered: Metered,
    /// How long it took until the head had come.
    pub took: Millis,
}

/// The bytes of all bodies that are being copied.
pub(super) type Meter = Rc<Cell<usize>>;

/// How many of them are one body's; given back when it is gone.
pub(super) struct Metered {
    bytes: usize,
    meter: Meter,
}

impl Metered {
    pub fn new(meter: &Meter) -> Self {
        Self {
            bytes: 0,
            meter: Rc::clone(meter),
        }
    }

    /// False when there are more than `most` then.
    pub fn add(&mut self, bytes: usize, most: usize) -> bool {
        self.bytes += bytes;
        let all = self.meter.get() + bytes;
        self.meter.set(all);
        all <= most
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.set(self.meter.get().saturating_sub(self.bytes));
    }
}

impl Trip {
    /// How the request has to change so that its answer serves everybody.
    pub fn changes(&self, ask: &Ask) -> Changes {
        let stale = self.stale.as_ref().and_then(|entry| entry.answer());
        if self.flight.is_none() && stale.is_none() {
            return Changes::new();
        }
        lead_fields(&ask.request, stale.map(|answer| &answer.head))
    }
}

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// Ends the flight that a trip leads, if it still does, and wakes those who wait.
    pub(super) fn finish(&mut self, trip: &mut Trip, end: End, now: Millis) {
        let Some(lead) = trip.flight.take() else {
            return;
        };
        if let Some(held) = trip.fleet.take() {
            self.end_fleet(held, end, now);
        }
        self.finish_flight(lead, end, now);
    }

    pub(super) fn finish_flight(&mut self, lead: Lead, end: End, now: Millis) {
        let outcome = match end {
            End::Stored => Outcome::Stored,
            End::Failed if lead.attempt >= ATTEMPTS => Outcome::Failed,
            End::Failed | End::Abandoned => Outcome::Again,
            End::Unshared { .. } => Outcome::Unshared,
        };
        match end {
            End::Stored => {}
            End::Failed | End::Abandoned => self.count(Event::LeaderLost),
            End::Unshared { .. } => self.count(Event::Unshared),
        }
        // When it is not this one's any more, whoever has it now wakes them.
        if let Some(workers) = self.table.finish(lead.hash, lead.id, end, now) {
            let Lead { hash, id, .. } = lead;
            let message = Message::Ended { hash, id, outcome };
            self.bus.tell(workers, &message.encode());
        }
    }

    /// For how long answers of a route are taken to be not shared.
    pub(super) fn unshared(&self, ask: &Ask, now: Millis) -> End {
        let hit_for_miss = self.route(ask).map_or(0, |route| route.hit_for_miss);
        End::Unshared {
            until: now.saturating_add(hit_for_miss),
        }
    }

    /// Renews the flight from time to time. False when it is another's now: what comes is not to be stored.
    pub(super) fn renew(&mut self, ask: &Ask, trip: &mut Trip, now: Millis) {
        let times = self.times(ask);
        let Some(lead) = &mut trip.flight else {
            return;
        };
        if now < lead.renewed.saturating_add(times.lease / 4) {
            return;
        }
        lead.renewed = now;
        let still = self.table.renew(lead.hash, lead.id, times, now);
        match trip.fleet {
            Some(held) if still => self.renew_fleet(held, times.lease),
            Some(held) => self.end_fleet(held, End::Abandoned, now),
            None => {}
        }
        if !still {
            trip.flight = None;
            trip.fleet = None;
            trip.capture = None;
        }
    }
}
