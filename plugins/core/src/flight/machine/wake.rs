//! Those who wait go on: told by another worker, or by the time.

use super::decide::Decision;
use super::{EPOCH_LOOK, Event, MOST_ROUNDS, Machine, Release, Stream, Waiting};
use crate::cache::{Forward, Millis};
use crate::flight::bus::Posts;
use crate::flight::message::{Message, Outcome};
use crate::flight::table::Seen;
use crate::slots::SharedData;

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// A message has come into this worker's queue.
    pub fn message(&mut self, bytes: &[u8], now: Millis) {
        match Message::decode(bytes) {
            Some(Message::Ended { hash, outcome, .. }) => self.wake(hash, outcome, now),
            Some(Message::Forget { hash, at }) => self.shelf.voids.told(hash, at),
            Some(Message::ForgetAll) => self.shelf.read_epoch(),
            Some(Message::Wake) | None => {}
        }
    }

    /// All who wait for a flight see what is to be done now.
    fn wake(&mut self, hash: u64, outcome: Outcome, now: Millis) {
        let Some(group) = self.groups.remove(&hash) else {
            return;
        };
        self.waiting = self.waiting.saturating_sub(group.streams.len());
        for id in group.streams {
            if let Some(Stream::Waiting(waiting)) = self.streams.remove(&id) {
                self.wake_one(id, waiting, outcome, now);
            }
        }
    }

    pub(super) fn wake_one(&mut self, id: u32, waiting: Waiting, outcome: Outcome, now: Millis) {
        let Waiting {
            ask,
            rounds,
            deadline,
            ..
        } = waiting;
        let decision = match outcome {
            Outcome::Failed => {
                let found = self.shelf.far(&ask.name, &ask.request, now);
                self.in_vain(&ask, found.entry.as_deref(), now)
            }
            Outcome::Stored | Outcome::Again if rounds < MOST_ROUNDS => {
                self.decide(&ask, true, now)
            }
            _ => self.alone(&ask, None, Forward::UriMiss, now),
        };
        match decision {
            Decision::Answer(reply) => self.released.push_back((id, Release::Answer(reply))),
            // Leaders who leave are no fault of the one who waits: only what was stored in vain counts.
            Decision::Wait { hash } => {
                let rounds = rounds + u8::from(outcome == Outcome::Stored);
                let waiting = Waiting {
                    ask,
                    hash,
                    deadline,
                    rounds,
                };
                self.wait(id, waiting, now);
            }
            Decision::Go(trip) => {
                let rounds = rounds + u8::from(outcome == Outcome::Stored);
                if let Some(changes) = self.depart(id, ask, trip, (deadline, rounds), now) {
                    self.released.push_back((id, Release::Send(changes)));
                }
            }
        }
    }

    /// A released request did not go: its stream is gone, or could not be changed.
    pub fn not_sent(&mut self, id: u32, now: Millis) {
        self.ended(id, false, now);
    }

    pub(super) fn no_longer_waits(&mut self, id: u32, hash: u64) {
        let Some(group) = self.groups.get_mut(&hash) else {
            return;
        };
        let before = group.streams.len();
        group.streams.retain(|other| *other != id);
        self.waiting = self.waiting.saturating_sub(before - group.streams.len());
        if group.streams.is_empty() {
            self.groups.remove(&hash);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: Millis) {
        self.see(now);
        self.bus.tick(now);
        self.shelf.untold = self.bus.number().is_none();
        if now >= self.next_epoch_look {
            self.next_epoch_look = now.saturating_add(EPOCH_LOOK);
            self.shelf.read_epoch();
        }
        self.renew_trips(now);
        self.renew_fetches(now);
        self.tick_fleet(now);
        self.end_waits(now);
        self.look_after_flights(now);
    }

    /// Leaders whose upstream is slow are still there. One that takes too long is left to its own client.
    fn renew_trips(&mut self, now: Millis) {
        let leading = self.streams.iter().filter_map(|(id, stream)| match stream {
            Stream::Trip(_, trip) => trip.flight.map(|_| *id),
            _ => None,
        });
        for id in leading.collect::<Vec<_>>() {
            let Some(Stream::Trip(ask, mut trip)) = self.streams.remove(&id) else {
                continue;
            };
            let most = self.route(&ask).map_or(0, |route| route.flight.max_time);
            let late = trip.capture.as_ref().is_some_and(|capture| {
                let since = trip.requested_at.saturating_add(capture.took);
                now >= since.saturating_add(most)
            });
            if late {
                trip.capture = None;
                let end = self.unshared(&ask, now);
                self.finish(&mut trip, end, now);
            } else {
                self.renew(&ask, &mut trip, now);
            }
            self.streams.insert(id, Stream::Trip(ask, trip));
        }
    }

    fn end_waits(&mut self, now: Millis) {
        let late = self.streams.iter().filter_map(|(id, stream)| match stream {
            Stream::Waiting(waiting) if waiting.deadline <= now => Some((*id, waiting.hash)),
            _ => None,
        });
        for (id, hash) in late.collect::<Vec<_>>() {
            self.no_longer_waits(id, hash);
            if let Some(Stream::Waiting(waiting)) = self.streams.remove(&id) {
                self.count(Event::WaitedOut);
                self.wake_one(id, waiting, Outcome::Unshared, now);
            }
        }
    }

    /// A leader that vanished tells nobody.
    fn look_after_flights(&mut self, now: Millis) {
        let due = self
            .groups
            .iter()
            .filter(|(_, group)| group.next_look <= now);
        for hash in due.map(|(hash, _)| *hash).collect::<Vec<_>>() {
            match self.table.look(hash, now) {
                Seen::Flight { .. } => {
                    let told = self.bus.number().is_some();
                    if let Some(group) = self.groups.get_mut(&hash).filter(|_| told) {
                        group.next_look = now.saturating_add(LOOK);
                    }
                }
                Seen::Nothing => self.wake(hash, Outcome::Again, now),
                Seen::HitForMiss => self.wake(hash, Outcome::Unshared, now),
            }
        }
    }
}

/// How often a flight that is waited for is looked after.
const LOOK: Millis = 500;
