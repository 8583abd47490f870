//! One worker: it is told what happens to its streams, and says what to do with them.
//!
//! What may be decided in a stream's own callback is returned from it. Other streams go on from the root context only, by
//! [`Machine::take_released`] after whatever the root was told: a message, a tick, the reply to a call.

mod arrive;
mod background;
mod body;
mod decide;
mod fleet;
mod head;
mod purge;
mod reply;
#[cfg(test)]
mod tests;
mod trip;
mod wake;

use super::bus::{Bus, Posts};
use super::fleet::{Fleet, Place};
use super::message::Message;
use super::shelf::{Name, Shelf};
use super::table::{FlightTable, Times};
use crate::cache::{Bypass, Lookup, Millis};
use crate::headers::Headers;
use crate::policy::coalesce::{Coalesce, Route};
use crate::redis::command::Command;
use crate::release::MOST_AT_ONCE;
use crate::slots::SharedData;
use ahash::RandomState;
use background::Fetch;
use fleet::Asks;
use std::collections::{HashMap, VecDeque};
use trip::{Meter, Trip};

pub use background::Call;
pub use reply::Reply;

/// Flights that there is room for, by eights.
const BUCKETS: u32 = 2_048;
/// How often a worker looks for an epoch that it was not told of.
const EPOCH_LOOK: Millis = 1_000;
/// How long an upstream may work on an answer before a flight is taken from whoever leads it.
const LONGEST_WORK: Millis = 600_000;
/// A worker that was told nothing for so long cannot know whether its clock was put forward.
const LEAP: Millis = 5_000;
/// A request that was woken so often in vain goes alone.
const MOST_ROUNDS: u8 = 6;

/// Fields of a request to set, or to remove.
pub type Changes = Vec<(&'static str, Option<Vec<u8>>)>;

/// What becomes of a request at once.
#[derive(Debug)]
pub enum Step {
    /// It goes on as it is.
    Pass,
    /// It goes on with these changes.
    Send(Changes),
    /// It waits: the root context will hear of it.
    Hold,
    /// It is answered here.
    Answer(Reply),
}

/// What becomes of the head of an answer from upstream.
#[derive(Debug)]
pub enum HeadStep {
    /// It goes on, with this Cache-Status if there is one.
    Pass(Option<String>),
    /// Something else goes in its place.
    Replace(Reply),
}

/// What becomes of a request that waited.
#[derive(Debug)]
pub enum Release {
    Send(Changes),
    Answer(Reply),
}

/// What the worker counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Answered from the store.
    Hit,
    /// Of these, stale.
    Stale,
    /// Asked upstream for all.
    Lead,
    /// Answered with what another one got.
    Collapsed,
    /// Went upstream alone although it was looked up.
    Alone,
    /// Waited as long as it may.
    WaitedOut,
    /// Not looked up at all.
    Bypass,
    /// An answer was stored.
    Stored,
    /// An answer was not to be shared.
    Unshared,
    /// A leader failed, or left.
    LeaderLost,
    /// Fetched without a client.
    Background,
    /// URIs invalidated.
    Invalidated,
    /// Asked upstream for the whole fleet.
    FleetLead,
    /// Another gateway's answer was stored.
    FleetAnswer,
    /// Asked the fleet in vain: another gateway leads.
    FleetWait,
    /// Asked upstream because each gateway is to.
    FleetOwn,
    /// Asked upstream, or once more, because Redis was no help.
    FleetTrouble,
}

/// All of them, with their names for metrics.
pub const EVENTS: [(Event, &str); 17] = [
    (Event::Hit, "hit"),
    (Event::Stale, "stale"),
    (Event::Lead, "lead"),
    (Event::Collapsed, "collapsed"),
    (Event::Alone, "alone"),
    (Event::WaitedOut, "waited_out"),
    (Event::Bypass, "bypass"),
    (Event::Stored, "stored"),
    (Event::Unshared, "unshared"),
    (Event::LeaderLost, "leader_lost"),
    (Event::Background, "background"),
    (Event::Invalidated, "invalidated"),
    (Event::FleetLead, "fleet_lead"),
    (Event::FleetAnswer, "fleet_answer"),
    (Event::FleetWait, "fleet_wait"),
    (Event::FleetOwn, "fleet_own"),
    (Event::FleetTrouble, "fleet_trouble"),
];

/// What a worker starts with.
pub struct Settings {
    policy: Coalesce,
    purge_token: Option<String>,
    secret: [u64; 4],
    /// Part of all keys: answers of another policy are not found.
    salt: u64,
    /// With the time that Redis has; none where the policy has no Redis.
    fleet: Option<(Fleet, Millis)>,
}

impl Settings {
    /// A policy, what its purges must know, a secret that all workers of the process share, and the text that the policy
    /// was read from.
    #[must_use]
    pub fn new(
        policy: Coalesce,
        purge_token: Option<String>,
        secret: [u64; 4],
        text: &[u8],
    ) -> Self {
        let [a, b, c, d] = secret;
        let fleet = policy.redis.as_ref().map(|redis| {
            let timeout = u64::try_from(redis.timeout.as_millis());
            let fleet = Fleet::new(&redis.key_prefix, text);
            (fleet, timeout.unwrap_or(Millis::MAX))
        });
        Self {
            fleet,
            policy,
            purge_token,
            secret,
            salt: RandomState::with_seeds(a, b, c, d).hash_one(text),
        }
    }
}

/// A request that is looked up.
#[derive(Debug, Clone)]
struct Ask {
    route: usize,
    request: Headers,
    lookup: Lookup,
    name: Name,
    /// Who wants nothing stored takes what was asked for after this.
    arrived: Millis,
}

/// A stream that the worker has something to do with.
enum Stream {
    Bypass(Bypassed),
    /// It may change something.
    Unsafe(Headers),
    Waiting(Waiting),
    /// It leads, and asks the fleet.
    Asking(u64),
    /// It has gone upstream.
    Trip(Box<Ask>, Box<Trip>),
}

#[derive(Clone, Copy)]
enum Bypassed {
    By(Bypass),
    /// It does not say whose answers it may get.
    Key,
}

struct Waiting {
    ask: Box<Ask>,
    hash: u64,
    deadline: Millis,
    rounds: u8,
}

/// Those of this worker that wait for one flight.
#[derive(Default)]
struct Group {
    streams: Vec<u32>,
    next_look: Millis,
}

/// One worker.
pub struct Machine<S, P> {
    settings: Settings,
    table: FlightTable<S>,
    shelf: Shelf<S>,
    bus: Bus<S, P>,
    random: Box<dyn FnMut() -> u64>,
    streams: HashMap<u32, Stream>,
    groups: HashMap<u64, Group>,
    waiting: usize,
    fetches: HashMap<u64, Fetch>,
    asks: HashMap<u64, Box<Asks>>,
    /// Those of them that did not wait for the reply.
    left: Vec<(u64, Place)>,
    commands: Vec<(u64, Command)>,
    copying: Meter,
    released: VecDeque<(u32, Release)>,
    calls: Vec<Call>,
    next_epoch_look: Millis,
    /// The last time that the worker was told.
    latest: Millis,
    /// When the clock last went on by more than it should.
    leapt: Millis,
    counts: [u64; EVENTS.len()],
}

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// A worker whose queue has this token.
    pub fn new(
        settings: Settings,
        store: S,
        posts: P,
        token: u32,
        mut random: Box<dyn FnMut() -> u64>,
        now: Millis,
    ) -> Self {
        let policy = &settings.policy;
        let mut machine = Self {
            table: FlightTable::new(store.clone(), BUCKETS),
            shelf: Shelf::new(
                store.clone(),
                policy.store.worker,
                policy.store.shared,
                policy.max_body(),
                settings.secret,
            ),
            bus: Bus::join(store, posts, token, random(), now),
            settings,
            random,
            streams: HashMap::new(),
            groups: HashMap::new(),
            waiting: 0,
            fetches: HashMap::new(),
            asks: HashMap::new(),
            left: Vec::new(),
            commands: Vec::new(),
            copying: Meter::default(),
            released: VecDeque::new(),
            calls: Vec::new(),
            next_epoch_look: 0,
            latest: now,
            leapt: 0,
            counts: [0; EVENTS.len()],
        };
        machine.shelf.untold = machine.bus.number().is_none();
        machine
    }

    /// What waiting requests are to do now. To be asked after whatever the root context was told, never in a stream's
    /// callback. Some at a time: a wake-up comes for the others.
    pub fn take_released(&mut self) -> Vec<(u32, Release)> {
        let count = self.released.len().min(MOST_AT_ONCE);
        let now = self.released.drain(..count).collect();
        if !self.released.is_empty() {
            self.wake_root();
        }
        now
    }

    /// The calls that are to be made, by the root context.
    pub fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    /// What was counted since the last time, in the order of [`EVENTS`].
    pub fn take_counts(&mut self) -> [u64; EVENTS.len()] {
        std::mem::take(&mut self.counts)
    }

    /// How many requests of this worker wait.
    pub fn waiting(&self) -> usize {
        let asking = self.asks.values().filter(|asks| asks.is_request());
        self.waiting + asking.count()
    }

    /// Whether the worker wants to hear of a stream.
    pub fn knows(&self, id: u32) -> bool {
        self.streams.contains_key(&id)
    }

    /// How many streams the worker has something to do with.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The bytes of the answers in this worker's own memory.
    pub fn near_bytes(&self) -> usize {
        self.shelf.near_bytes()
    }

    /// The worker is going.
    pub fn leave(&mut self) {
        self.bus.leave();
    }

    fn count(&mut self, event: Event) {
        if let Some(count) = self.counts.get_mut(event as usize) {
            *count += 1;
        }
    }

    fn route(&self, ask: &Ask) -> Option<&Route> {
        self.settings.policy.routes.get(ask.route)
    }

    fn times(&self, ask: &Ask) -> Times {
        let flight = self.route(ask).map(|route| route.flight);
        Times {
            lease: flight.map_or(1, |flight| flight.lease),
            longest: flight.map_or(1, |flight| flight.max_time.saturating_add(LONGEST_WORK)),
        }
    }

    /// The bytes of bodies that this worker may copy at once, so that many that come together are no flood.
    fn most_copying(&self) -> usize {
        let policy = &self.settings.policy;
        policy.store.worker.max(policy.max_body().saturating_mul(8))
    }

    /// When the gateway's clock goes back, nobody can tell any more how old what is stored is, nor whether it was
    /// invalidated since: it is forgotten. Who waits does not wait longer for it.
    fn see(&mut self, now: Millis) {
        let back = self.latest.saturating_sub(now);
        if now > self.latest.saturating_add(LEAP) {
            self.leapt = now;
        }
        self.latest = now;
        if back == 0 {
            return;
        }
        for stream in self.streams.values_mut() {
            if let Stream::Waiting(waiting) = stream {
                waiting.deadline = waiting.deadline.saturating_sub(back);
            }
        }
        for group in self.groups.values_mut() {
            group.next_look = group.next_look.saturating_sub(back);
        }
        self.set_back_fleet(back);
        self.next_epoch_look = 0;
        self.forget_all(now);
    }

    /// Has the root context of this worker called soon.
    fn wake_root(&self) {
        self.bus.tell_self(&Message::Wake.encode());
    }
}
