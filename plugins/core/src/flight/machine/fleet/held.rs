//! Leading for the fleet: what other gateways are told meanwhile, and at the end.

use super::super::trip::Trip;
use super::super::{Ask, Machine};
use super::Held;
use crate::cache::Millis;
use crate::flight::bus::Posts;
use crate::flight::entry::Entry;
use crate::flight::fleet::{self, Act};
use crate::flight::shelf::LONGEST;
use crate::flight::table::End;
use crate::slots::SharedData;

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// The flight of the fleet ends without an answer for all.
    pub(in crate::flight::machine) fn end_fleet(&mut self, held: Held, end: End, now: Millis) {
        let act = match end {
            End::Unshared { until } => Act::Own {
                keep: until.saturating_sub(now).max(HEARD),
            },
            _ => Act::Release,
        };
        self.tell_fleet(None, held.token, held.place, act);
    }

    pub(in crate::flight::machine) fn renew_fleet(&mut self, held: Held, lease: Millis) {
        self.tell_fleet(None, held.token, held.place, Act::Renew { lease });
    }

    /// A body of so many bytes is on its way. If it is too long for other gateways, they are told at once.
    pub(in crate::flight::machine) fn fits_fleet(
        &mut self,
        ask: &Ask,
        trip: &mut Trip,
        length: usize,
        now: Millis,
    ) {
        if trip.fleet.is_some()
            && self.fleet_body(ask).is_none_or(|most| length > most)
            && let Some(held) = trip.fleet.take()
        {
            let end = self.unshared(ask, now);
            self.end_fleet(held, end, now);
        }
    }

    /// Hands an answer to other gateways. The lead ends.
    pub(in crate::flight::machine) fn publish(
        &mut self,
        ask: &Ask,
        held: Held,
        (entry, vary): (&Entry, &[String]),
        now: Millis,
    ) {
        let Held {
            token,
            base,
            place,
            at,
        } = held;
        let until = entry.answer().map_or(0, |answer| answer.terms.keep_until());
        let keep = until.saturating_sub(now).min(LONGEST);
        let to = if vary.is_empty() {
            base
        } else {
            base.variant(vary, &ask.request)
        };
        let blob = fleet::encode(entry, vary);
        let publish = Act::Publish {
            at,
            keep,
            id: entry.id,
            blob: &blob,
        };
        self.tell_fleet(None, token, to, publish);
        if to != base {
            let vary = Act::Vary {
                at,
                keep,
                names: vary,
            };
            self.tell_fleet(None, token, base, vary);
        }
        if place != base && place != to {
            self.tell_fleet(None, token, place, Act::Release);
        }
    }
}

/// For so long at least each gateway is told to ask for itself: those who wait are to hear of it, and ask from time to time.
const HEARD: Millis = 250;
