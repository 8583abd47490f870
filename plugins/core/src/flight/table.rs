//! The flights of the process: which keys are being fetched, by whom, and which workers wait for them.
//!
//! A flight is a record in shared data with a lease. Who begins one leads: it asks the upstream, renews the lease while it
//! gets on, and ends the flight with what came of it, which also tells it whom to wake. A leader that vanishes lets the
//! lease run out, and the next one leads. So no record blocks a key for longer than a lease, whatever happened to its
//! owner, and a record without meaning is one that has expired.
//!
//! "Hit-for-miss" is Varnish's word: a record that says that the key's answers cannot be shared, so that requests do not
//! queue for them one by one.

use super::voids::after;
use crate::cache::Millis;
use crate::slots::{Counters, SharedData, SlotTable, Step};

/// Names one flight; random, so that a worker that was gone for a while cannot take another's flight for its own.
pub type FlightId = u64;

/// Workers are numbered; a set of them is a mask.
pub type Workers = u64;

/// How often a flight may fail before its waiters go their own ways.
pub const ATTEMPTS: u8 = 2;

/// How long the number of attempts is kept.
const REMEMBERED: Millis = 2_000;

const BYTES: usize = 32;
const WAYS: u32 = 8;

/// How long flights last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A leader that is not heard of for so long has vanished.
    pub lease: Millis,
    /// No flight lasts longer than this and a lease, whatever its leader says.
    pub longest: Millis,
}

impl Times {
    fn until(self, begun: Millis, now: Millis) -> Millis {
        let last = begun
            .saturating_add(self.longest)
            .saturating_add(self.lease);
        now.saturating_add(self.lease.max(1)).min(last)
    }
}

/// What a request may do about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// It may ask the upstream for the others.
    pub lead: bool,
    /// It may wait for another's answer. That of a flight begun at this time or before does not do.
    pub follow: Option<Millis>,
    /// What was fetched at this time or before is no longer true: such a flight is no flight.
    pub void: Millis,
    /// It has waited for a flight of this key already.
    pub waited: bool,
}

impl Wish {
    /// It takes whichever flight there is.
    pub const ANY: Self = Self {
        lead: true,
        follow: Some(0),
        void: 0,
        waited: false,
    };
    /// It leads or does without.
    pub const LEAD: Self = Self {
        lead: true,
        follow: None,
        void: 0,
        waited: false,
    };
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// This request asks the upstream. `attempt` counts from 1.
    Lead { id: FlightId, attempt: u8 },
    /// This worker will be told how the flight ended.
    Follow { id: FlightId },
    /// Somebody leads, and this request does not wait for it.
    Busy,
    /// Answers of this key cannot be shared.
    HitForMiss,
    /// Nobody leads, and this request may not.
    Nobody,
    /// What it waited for has failed for the last time.
    Failed,
    /// No room for a flight.
    NoRoom,
}

/// How a flight ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The answer is in the shared tier.
    Stored,
    /// The upstream failed. After the first time another one tries.
    Failed,
    /// The leader left before it knew. Another one leads, as often as that happens.
    Abandoned,
    /// The answer cannot be shared, and so will be the next ones until then.
    Unshared { until: Millis },
}

/// How a flight stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Nothing,
    Flight { id: FlightId },
    HitForMiss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No flight. The next one is this attempt, for those who have waited; after the last one they wait no more.
    Vacant {
        next: u8,
    },
    Flight {
        attempt: u8,
    },
    HitForMiss,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    id: FlightId,
    waiting: Workers,
    until: Millis,
    begun: Millis,
    kind: Kind,
}

const FLIGHT: u8 = 0x10;
const HIT_FOR_MISS: u8 = 0x20;

impl Record {
    fn encode(&self) -> [u8; BYTES] {
        let kind = match self.kind {
            Kind::Vacant { next } => next & 0x0f,
            Kind::Flight { attempt } => FLIGHT | attempt & 0x0f,
            Kind::HitForMiss => HIT_FOR_MISS,
        };
        let last = self.begun << 8 | u64::from(kind);
        let mut bytes = [0; BYTES];
        let words = [self.id, self.waiting, self.until, last];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; BYTES]) -> Self {
        let mut words = bytes.chunks_exact(8).map(|word| {
            let word = word.first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(word)
        });
        let mut next = || words.next().unwrap_or_default();
        let (id, waiting, until, last) = (next(), next(), next(), next());
        let number = last as u8 & 0x0f;
        Self {
            id,
            waiting,
            until,
            begun: last >> 8,
            kind: match last as u8 & 0xf0 {
                FLIGHT => Kind::Flight { attempt: number },
                HIT_FOR_MISS => Kind::HitForMiss,
                _ => Kind::Vacant { next: number },
            },
        }
    }

    /// The kind, or a vacancy when the record's time is over.
    fn kind(&self, now: Millis) -> Kind {
        if self.until > now {
            self.kind
        } else {
            Kind::Vacant { next: 1 }
        }
    }

    /// The same for somebody to whom nothing counts that was fetched at `void` or before.
    fn valid(&self, now: Millis, void: Millis) -> Kind {
        match self.kind(now) {
            Kind::Flight { .. } if self.begun <= void => Kind::Vacant { next: 1 },
            kind => kind,
        }
    }
}

/// The table; one for each worker, all over the same shared data.
pub struct FlightTable<S> {
    slots: SlotTable<S, BYTES>,
}

impl<S: SharedData> FlightTable<S> {
    /// Room for `buckets` x 8 flights.
    pub fn new(store: S, buckets: u32) -> Self {
        Self {
            slots: SlotTable::new(store, "flight", buckets, WAYS),
        }
    }

    /// Leads or follows the flight of key `hash`. `worker` is this one's number; without one it is not woken, and has to
    /// look how the flight stands. `fresh` is the flight's name if it is a new one.
    pub fn begin(
        &mut self,
        hash: u64,
        worker: Option<u8>,
        wish: Wish,
        fresh: FlightId,
        times: Times,
        now: Millis,
    ) -> Begun {
        let until = times.until(now, now);
        let decide = |old: Option<Record>| {
            match old.map_or(Kind::Vacant { next: 1 }, |old| old.valid(now, wish.void)) {
                Kind::HitForMiss => Step::Keep(Begun::HitForMiss),
                Kind::Flight { .. } => {
                    let (Some(old), Some(newer)) = (old, wish.follow) else {
                        return Step::Keep(Begun::Busy);
                    };
                    if old.begun <= newer {
                        return Step::Keep(Begun::Busy);
                    }
                    let bit = worker.and_then(|worker| 1u64.checked_shl(worker.into()));
                    let bit = bit.unwrap_or_default();
                    let begun = Begun::Follow { id: old.id };
                    if old.waiting & bit == bit {
                        return Step::Keep(begun);
                    }
                    let joined = Record {
                        waiting: old.waiting | bit,
                        ..old
                    };
                    Step::Write(joined.encode(), begun)
                }
                Kind::Vacant { .. } if !wish.lead => Step::Keep(Begun::Nobody),
                Kind::Vacant { next } if next > ATTEMPTS && wish.waited => {
                    Step::Keep(Begun::Failed)
                }
                Kind::Vacant { next } => {
                    let attempt = if next > ATTEMPTS { 1 } else { next.max(1) };
                    let record = Record {
                        id: fresh,
                        // Of a flight that this one replaces: its waiters are told of this one's end.
                        waiting: old.map_or(0, |old| old.waiting),
                        until,
                        begun: now.max(after(wish.void)),
                        kind: Kind::Flight { attempt },
                    };
                    Step::Write(record.encode(), Begun::Lead { id: fresh, attempt })
                }
            }
        };
        // What is not shared must not fill the table: a flight may take the place of what is only remembered.
        let is_flight = |record: Record| matches!(record.kind(now), Kind::Flight { .. });
        self.change(hash, now, decide)
            .or_else(|| self.change_if(hash, is_flight, decide))
            .unwrap_or(Begun::NoRoom)
    }

    /// The leader gets on. False when the flight is no longer its own: what comes of it is not to be shared.
    pub fn renew(&mut self, hash: u64, id: FlightId, times: Times, now: Millis) -> bool {
        self.own(hash, id, now, |record, now| {
            let until = times.until(record.begun, now);
            (until > now).then_some(Record { until, ..record })
        })
        .is_some()
    }

    /// Ends the flight: whom to wake. None when it is no longer the leader's own.
    pub fn finish(&mut self, hash: u64, id: FlightId, end: End, now: Millis) -> Option<Workers> {
        self.own(hash, id, now, |record, now| {
            let attempt = match record.kind {
                Kind::Flight { attempt } => attempt,
                _ => 1,
            };
            // Somebody of those who are woken leads at once. Others hear of it later, maybe when the next attempt is over
            // as well, so the number of attempts is kept for a while.
            let soon = now.saturating_add(REMEMBERED);
            let (kind, until) = match end {
                End::Failed => (Kind::Vacant { next: attempt + 1 }, soon),
                End::Stored => (Kind::Vacant { next: 1 }, 0),
                End::Abandoned => (Kind::Vacant { next: attempt }, soon),
                End::Unshared { until } => (Kind::HitForMiss, until),
            };
            Some(Record {
                id: 0,
                waiting: 0,
                until,
                begun: record.begun,
                kind,
            })
        })
        .map(|record| record.waiting)
    }

    /// Takes a hit-for-miss away: the answers can be shared again.
    pub fn share_again(&mut self, hash: u64, now: Millis) {
        let done = self.change(hash, now, |old| match old {
            Some(old) if old.kind(now) == Kind::HitForMiss => {
                let gone = Record { until: 0, ..old };
                Step::Write(gone.encode(), ())
            }
            _ => Step::Keep(()),
        });
        // Without a turn it ends by time.
        done.unwrap_or_default();
    }

    /// How the key's flight stands.
    pub fn look(&mut self, hash: u64, now: Millis) -> Seen {
        self.change(hash, now, |old| {
            Step::Keep(match old.map(|old| (old.kind(now), old.id)) {
                Some((Kind::Flight { .. }, id)) => Seen::Flight { id },
                Some((Kind::HitForMiss, _)) => Seen::HitForMiss,
                _ => Seen::Nothing,
            })
        })
        .unwrap_or(Seen::Nothing)
    }

    /// Takes the counters of the table.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.slots.counters)
    }

    /// Changes the record if it is flight `id`; returns what it was.
    fn own(
        &mut self,
        hash: u64,
        id: FlightId,
        now: Millis,
        change: impl Fn(Record, Millis) -> Option<Record>,
    ) -> Option<Record> {
        self.change(hash, now, |old| {
            let own =
                old.filter(|old| old.id == id && matches!(old.kind(now), Kind::Flight { .. }));
            match own.and_then(|own| Some((own, change(own, now)?))) {
                Some((own, new)) => Step::Write(new.encode(), Some(own)),
                None => Step::Keep(None),
            }
        })
        .flatten()
    }

    fn change<T>(
        &mut self,
        hash: u64,
        now: Millis,
        decide: impl Fn(Option<Record>) -> Step<T, BYTES>,
    ) -> Option<T> {
        self.change_if(hash, |record| record.until > now, decide)
    }

    /// The same; records of other keys stay only if `stays` says so.
    fn change_if<T>(
        &mut self,
        hash: u64,
        stays: impl Fn(Record) -> bool,
        decide: impl Fn(Option<Record>) -> Step<T, BYTES>,
    ) -> Option<T> {
        let alive = |bytes: &[u8; BYTES]| stays(Record::decode(bytes));
        self.slots
            .update(hash, alive, |old| decide(old.as_ref().map(Record::decode)))
            .ok()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
