//! How many requests each shard may have: the counts of the process, caps that find themselves, and who waits.

use sluice_core::gcra::{PS_PER_US, Ps};
use sluice_core::policy::shard_route::{Cap, ShardRoute};
use sluice_core::shard::gradient::{Bounds, Gradient};
use sluice_core::shard::in_flight::{Entrance, InFlight};
use sluice_core::shard::queue::Queue;
use sluice_core::shard::seats::Seats;
use sluice_host::shared::GatewayShared;

/// What a request comes to that wants to go to a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing is counted there.
    Free,
    /// It is in, since then; [`Caps::leave`] when it ends.
    In(Ps),
    /// It waits; [`Caps::forget`] when it ends before its turn.
    Waits,
    /// There is no room. Whole seconds to wait.
    Busy(u64),
}

/// The caps of one worker. Shards are given by their [`Seats`].
pub struct Caps {
    in_flight: InFlight<GatewayShared>,
    /// None of a shard that never had a cap.
    shards: Vec<Option<Capped>>,
    queue: Queue,
}

struct Capped {
    /// Its number among those that are counted.
    number: usize,
    /// None: it has no cap any more.
    cap: Option<Cap>,
    most: u32,
    found: Option<(Gradient, Bounds)>,
}

impl Capped {
    fn most(&self) -> u32 {
        match &self.found {
            Some((gradient, _)) => gradient.limit(),
            None => self.most,
        }
    }
}

impl Caps {
    pub fn new(worker: u64) -> Self {
        Self {
            in_flight: InFlight::new(GatewayShared, worker),
            shards: Vec::new(),
            queue: Queue::default(),
        }
    }

    /// Takes the caps of other tables. What is under way stays counted.
    pub fn take(&mut self, policy: &ShardRoute, seats: &Seats) {
        let Self {
            in_flight, shards, ..
        } = self;
        shards.resize_with(seats.len(), || None);
        for shard in shards.iter_mut().flatten() {
            (shard.cap, shard.most, shard.found) = (None, u32::MAX, None);
        }
        for (place, table) in policy.tables.iter().enumerate() {
            for (shard, host) in (0..).zip(&table.directory.hosts) {
                let capped = seats.of(place, shard).and_then(|seat| shards.get_mut(seat));
                let (Some(capped), Some((cap, most))) = (capped, table.cap.zip(host.max_in_flight))
                else {
                    continue;
                };
                let number = match capped {
                    Some(known) => known.number,
                    None => in_flight.add(&table.directory.name, &host.name),
                };
                let bounds = cap.bounds(most);
                *capped = Some(Capped {
                    number,
                    cap: Some(cap),
                    most,
                    found: bounds.map(|bounds| (Gradient::new(bounds), bounds)),
                });
            }
        }
    }

    fn of(&self, seat: usize) -> Option<&Capped> {
        self.shards.get(seat)?.as_ref()
    }

    /// A request of `stream` wants to go there.
    pub fn enter(&mut self, seat: usize, stream: u32, now: impl FnOnce() -> Ps) -> Turn {
        let Self {
            in_flight,
            shards,
            queue,
        } = self;
        let shard = shards.get(seat).and_then(Option::as_ref);
        let Some((shard, cap)) = shard.and_then(|shard| Some((shard, shard.cap?))) else {
            return Turn::Free;
        };
        let now = now();
        // Nobody overtakes those who wait.
        if !queue.has(seat) && in_flight.enter(shard.number, shard.most(), now) == Entrance::Open {
            return Turn::In(now);
        }
        let waits = cap.queue.is_some_and(|rule| {
            let until = now + rule.wait.as_micros() * PS_PER_US;
            queue.push(seat, stream, until, rule.most)
        });
        if waits {
            Turn::Waits
        } else {
            Turn::Busy(cap.retry_after)
        }
    }

    /// What a request to this shard is told to wait that has waited for nothing.
    pub fn retry_after(&self, seat: usize) -> u64 {
        let cap = self.of(seat).and_then(|shard| shard.cap);
        cap.map_or(1, |cap| cap.retry_after)
    }

    /// A request that was in has ended.
    pub fn leave(&mut self, seat: usize, now: Ps) {
        if let Some(number) = self.of(seat).map(|shard| shard.number) {
            self.in_flight.leave(number, now);
        }
    }

    /// A request that waited has ended.
    pub fn forget(&mut self, seat: usize, stream: u32) {
        self.queue.forget(seat, stream);
    }

    /// An answer has come after `took`.
    pub fn answered(&mut self, seat: usize, took: Ps) {
        let Some(Some(shard)) = self.shards.get_mut(seat) else {
            return;
        };
        if let Some((gradient, bounds)) = &mut shard.found {
            let under_way = self.in_flight.own(shard.number);
            *gradient = gradient.answered(took, under_way, *bounds);
        }
    }

    /// Whether anybody waits.
    pub fn is_waited_for(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Those whose waiting is over, at most `most`: in (true), or too late.
    pub fn turns(&mut self, now: Ps, most: usize) -> Vec<(u32, bool)> {
        let Self {
            queue,
            in_flight,
            shards,
            ..
        } = self;
        queue.pump(now, most, |seat, _| {
            let shard = shards.get(seat).and_then(Option::as_ref);
            // One that is not counted takes all.
            shard.is_none_or(|shard| {
                in_flight.enter(shard.number, shard.most(), now) == Entrance::Open
            })
        })
    }

    /// Those who wait, to be put back.
    pub fn take_queue(&mut self) -> Queue {
        std::mem::take(&mut self.queue)
    }

    pub fn put_back(&mut self, queue: Queue) {
        self.queue = queue;
    }

    pub fn tick(&mut self, now: Ps) {
        self.in_flight.tick(now);
    }

    /// What this worker has at a shard; none where that is not counted.
    pub fn own(&self, seat: usize) -> Option<u32> {
        Some(self.in_flight.own(self.of(seat)?.number))
    }

    /// The plugin is going.
    pub fn close(&mut self, now: Ps) {
        self.in_flight.close(now);
    }
}
