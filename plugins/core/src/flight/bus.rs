//! The workers of the process, by number, and the way to each of them.
//!
//! A worker takes a number of 64 in shared data and writes there how it is reached. It says by the tick that it is still
//! there; the number of one that is not heard of for a while goes to the next. A worker without a number is told nothing: it
//! looks for itself.

use super::table::Workers;
use crate::cache::Millis;
use crate::slots::{ABSENT, SharedData};

/// Of a worker that is not heard of for so long somebody else may have the number.
const SILENCE: Millis = 30_000;
/// How often a worker says that it is there.
const HEARTBEAT: Millis = 5_000;
const NUMBERS: u8 = 64;

/// The way to a worker's queue.
pub trait Posts {
    /// Puts `bytes` into the queue with this token; false when there is none.
    fn post(&self, token: u32, bytes: &[u8]) -> bool;
}

/// What is at a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Which worker this is, even if two had the same token.
    owner: u64,
    until: Millis,
    token: u32,
}

/// This worker among the others.
pub struct Bus<S, P> {
    store: S,
    posts: P,
    owner: u64,
    token: u32,
    number: Option<u8>,
    next_heartbeat: Millis,
}

impl<S: SharedData, P: Posts> Bus<S, P> {
    /// The worker whose queue is `token`; `owner` is random.
    pub fn join(store: S, posts: P, token: u32, owner: u64, now: Millis) -> Self {
        let mut bus = Self {
            store,
            posts,
            owner,
            token,
            number: None,
            next_heartbeat: 0,
        };
        bus.tick(now);
        bus
    }

    /// This worker's number, by which others wake it.
    pub fn number(&self) -> Option<u8> {
        self.number
    }

    /// Says that the worker is there, from time to time; takes a number if it has none (any more).
    pub fn tick(&mut self, now: Millis) {
        if now < self.next_heartbeat {
            return;
        }
        self.next_heartbeat = now + HEARTBEAT;
        if let Some(number) = self.number
            && !self.take(number, now)
        {
            self.number = None;
        }
        if self.number.is_none() {
            self.number = (0..NUMBERS).find(|number| self.take(*number, now));
        }
    }

    fn take(&self, number: u8, now: Millis) -> bool {
        let key = key(number);
        let (bytes, version) = self.store.get(&key).unwrap_or((Vec::new(), ABSENT));
        let taken = Place::decode(&bytes)
            .is_some_and(|place| place.owner != self.owner && place.until > now);
        let mine = Place {
            owner: self.owner,
            until: now + SILENCE,
            token: self.token,
        };
        !taken && self.store.set(&key, &mine.encode(), version).is_ok()
    }

    /// Sends a message to each of these workers.
    pub fn tell(&self, workers: Workers, bytes: &[u8]) {
        for number in (0..NUMBERS).filter(|number| workers >> number & 1 != 0) {
            if Some(number) == self.number {
                self.posts.post(self.token, bytes);
            } else if let Some((place, _)) = self.store.get(&key(number))
                && let Some(place) = Place::decode(&place)
            {
                self.posts.post(place.token, bytes);
            }
        }
    }

    /// Sends a message to this worker, for its root context.
    pub fn tell_self(&self, bytes: &[u8]) {
        self.posts.post(self.token, bytes);
    }

    /// Sends a message to every worker but this one.
    pub fn tell_others(&self, bytes: &[u8], now: Millis) {
        for number in (0..NUMBERS).filter(|number| Some(*number) != self.number) {
            if let Some((place, _)) = self.store.get(&key(number))
                && let Some(place) = Place::decode(&place)
                && place.until > now
            {
                self.posts.post(place.token, bytes);
            }
        }
    }

    /// The worker is going; its number is free.
    pub fn leave(&mut self) {
        if let Some(number) = self.number.take() {
            let key = key(number);
            if let Some((bytes, version)) = self.store.get(&key)
                && Place::decode(&bytes).is_some_and(|place| place.owner == self.owner)
            {
                let _ = self.store.set(&key, &[], version);
            }
        }
    }
}

fn key(number: u8) -> String {
    format!("sluice/worker/{number}")
}

impl Place {
    fn encode(self) -> Vec<u8> {
        let mut bytes = self.owner.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.until.to_le_bytes());
        bytes.extend_from_slice(&self.token.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (owner, rest) = bytes.split_first_chunk()?;
        let (until, rest) = rest.split_first_chunk()?;
        Some(Self {
            owner: u64::from_le_bytes(*owner),
            until: u64::from_le_bytes(*until),
            token: u32::from_le_bytes(*rest.first_chunk()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::tests::FakeShared;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[derive(Clone, Default)]
    struct Sent(Rc<RefCell<Vec<u32>>>);

    impl Posts for Sent {
        fn post(&self, token: u32, bytes: &[u8]) -> bool {
            self.0.borrow_mut().push(token);
            assert_eq!(bytes, b"m");
            true
        }
    }

    fn join(store: &FakeShared, sent: &Sent, token: u32, now: Millis) -> Bus<FakeShared, Sent> {
        Bus::join(store.clone(), sent.clone(), token, token.into(), now)
    }

    #[test]
    fn each_worker_has_a_number_and_is_reached_by_it() {
        let (store, sent) = (FakeShared::default(), Sent::default());
        let workers: Vec<_> = (0..4)
            .map(|number| join(&store, &sent, 10 + number, 0))
            .collect();
        let numbers: Vec<_> = workers.iter().map(|worker| worker.number()).collect();
        assert_eq!(numbers, [Some(0), Some(1), Some(2), Some(3)]);
        workers[1].tell(0b1011, b"m");
        assert_eq!(*sent.0.borrow(), [10, 11, 13]);
        sent.0.borrow_mut().clear();
        workers[1].tell_others(b"m", 1);
        assert_eq!(*sent.0.borrow(), [10, 12, 13]);
    }

    #[test]
    fn the_number_of_a_worker_that_vanished_is_given_again_and_not_before() {
        let (store, sent) = (FakeShared::default(), Sent::default());
        let mut old = join(&store, &sent, 1, 0);
        let mut second = join(&store, &sent, 2, 0);
        old.tick(HEARTBEAT);
        assert_eq!(join(&store, &sent, 3, SILENCE + 1).number(), Some(1));
        assert_eq!(
            join(&store, &sent, 4, SILENCE + HEARTBEAT + 1).number(),
            Some(0)
        );
        // Both come back after all, and get others.
        second.tick(SILENCE + HEARTBEAT + 2);
        assert_eq!(second.number(), Some(2));
        old.tick(SILENCE + HEARTBEAT + 2);
        assert_eq!(old.number(), Some(3));
    }

    #[test]
    fn a_number_that_is_given_back_is_free_at_once() {
        let (store, sent) = (FakeShared::default(), Sent::default());
        join(&store, &sent, 1, 0).leave();
        assert_eq!(join(&store, &sent, 2, 0).number(), Some(0));
    }

    #[test]
    fn more_workers_than_numbers_do_without() {
        let (store, sent) = (FakeShared::default(), Sent::default());
        let workers: Vec<_> = (0..70).map(|token| join(&store, &sent, token, 0)).collect();
        assert!(workers[..64].iter().all(|worker| worker.number().is_some()));
        assert!(workers[64..].iter().all(|worker| worker.number().is_none()));
    }
}
