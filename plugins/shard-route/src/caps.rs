//! How many requests each shard may have: the counts of the process, caps that find themselves, and who waits.

use sluice_core::gcra::{PS_PER_US, Ps};
use sluice_core::policy::shard_route::{Cap, ShardRoute};
use sluice_core::shard::gradient::{Bounds, Gradient};
use sluice_core::shard::in_flight::{Entrance, InFlight};
use sluice_core::shard::queue::Queue;
use sluice_host::shared::GatewayShared;

/// What a request comes to that wants to go to a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing is counted there.
    Free,
    /// It is in; [`Caps::leave`] when it ends.
    In(usize),
    /// It waits; [`Caps::forget`] when it ends before its turn.
    Waits(usize),
    /// There is no room. Whole seconds to wait.
    Busy(u64),
}

/// The caps of one worker. Shards are given by their numbers among those that have a cap.
pub struct Caps {
    in_flight: InFlight<GatewayShared>,
    shards: Vec<Capped>,
    /// By table and by shard: its number.
    numbers: Vec<Vec<Option<usize>>>,
    queue: Queue,
}

struct Capped {
    cap: Cap,
    most: u32,
    found: Option<(Gradient, Bounds)>,
}

impl Capped {
    fn most(&self) -> u32 {
        self.found
            .as_ref()
            .map_or(self.most, |(gradient, _)| gradient.limit())
    }
}

impl Caps {
    pub fn new(policy: &ShardRoute, worker: u64) -> Self {
        let mut in_flight = InFlight::new(GatewayShared, worker);
        let (mut shards, mut numbers) = (Vec::new(), Vec::new());
        for table in &policy.tables {
            let hosts = table.directory.hosts.iter().map(|host| {
                let (cap, most) = table.cap.zip(host.max_in_flight)?;
                let bounds = cap.bounds(most);
                shards.push(Capped {
                    cap,
                    most,
                    found: bounds.map(|bounds| (Gradient::new(bounds), bounds)),
                });
                Some(in_flight.add(&table.directory.name, &host.name))
            });
            numbers.push(hosts.collect());
        }
        Self {
            in_flight,
            shards,
            numbers,
            queue: Queue::default(),
        }
    }

    /// The number of a shard of a table.
    pub fn number(&self, table: usize, shard: u16) -> Option<usize> {
        let shards = self.numbers.get(table)?;
        shards.get(usize::from(shard)).copied().flatten()
    }

    /// A request of `stream` wants to go there.
    pub fn enter(&mut self, number: Option<usize>, stream: u32, now: Ps) -> Turn {
        let Some((number, shard)) =
            number.and_then(|number| Some((number, self.shards.get(number)?)))
        else {
            return Turn::Free;
        };
        // Nobody overtakes those who wait.
        if !self.queue.has(number)
            && self.in_flight.enter(number, shard.most(), now) == Entrance::Open
        {
            return Turn::In(number);
        }
        let waits = shard.cap.queue.is_some_and(|queue| {
            let until = now + queue.wait.as_micros() * PS_PER_US;
            self.queue.push(number, stream, until, queue.most)
        });
        if waits {
            Turn::Waits(number)
        } else {
            Turn::Busy(shard.cap.retry_after)
        }
    }

    /// What a request to this shard is told to wait that has waited for nothing.
    pub fn retry_after(&self, number: usize) -> u64 {
        self.shards
            .get(number)
            .map_or(1, |shard| shard.cap.retry_after)
    }

    /// A request that was in has ended.
    pub fn leave(&mut self, number: usize, now: Ps) {
        self.in_flight.leave(number, now);
    }

    /// A request that waited has ended.
    pub fn forget(&mut self, number: usize, stream: u32) {
        self.queue.forget(number, stream);
    }

    /// An answer has come after `took`.
    pub fn answered(&mut self, number: usize, took: Ps) {
        let under_way = self.in_flight.own(number);
        if let Some(Capped {
            found: Some((gradient, bounds)),
            ..
        }) = self.shards.get_mut(number)
        {
            *gradient = gradient.answered(took, under_way, *bounds);
        }
    }

    /// Whether anybody waits.
    pub fn is_waited_for(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Those whose waiting is over: in (true), or too late.
    pub fn turns(&mut self, now: Ps) -> Vec<(u32, bool)> {
        let Self {
            queue,
            in_flight,
            shards,
            ..
        } = self;
        queue.pump(now, |number, _| {
            let most = shards.get(number).map_or(0, Capped::most);
            in_flight.enter(number, most, now) == Entrance::Open
        })
    }

    pub fn tick(&mut self, now: Ps) {
        self.in_flight.tick(now);
    }

    /// What this worker has at a shard.
    pub fn own(&self, number: usize) -> u32 {
        self.in_flight.own(number)
    }

    /// The plugin is going.
    pub fn close(&mut self, now: Ps) {
        self.in_flight.close(now);
    }
}
