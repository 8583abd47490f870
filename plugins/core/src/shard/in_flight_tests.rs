use super::*;
use crate::slots::{Mismatch, Version};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

const NOW: Ps = 1_700_000_000 * PS_PER_S;

type Map = HashMap<String, (Vec<u8>, Version)>;

/// Shared data of one process; the next so many writes are lost to somebody else.
#[derive(Default, Clone)]
struct Store {
    map: Rc<RefCell<Map>>,
    last: Rc<Cell<Version>>,
    lost: Rc<Cell<u32>>,
}

impl SharedData for Store {
    fn put(&self, key: &str, value: &[u8]) {
        let version = self.get(key).map_or(ABSENT, |(_, version)| version);
        let _ = self.set(key, value, version);
    }

    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        self.map.borrow().get(key).cloned()
    }

    fn set(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch> {
        if self.lost.get() > 0 {
            self.lost.set(self.lost.get() - 1);
            return Err(Mismatch);
        }
        let mut map = self.map.borrow_mut();
        if map
            .get(key)
            .is_some_and(|(_, version)| *version != expected)
        {
            return Err(Mismatch);
        }
        self.last.set(self.last.get() + 1);
        map.insert(key.to_owned(), (value.to_vec(), self.last.get()));
        Ok(())
    }
}

fn worker(store: &Store, id: u64) -> InFlight<Store> {
    let mut worker = InFlight::new(store.clone(), id);
    assert_eq!(worker.add("t", "a"), 0);
    assert_eq!(worker.add("t", "b"), 1);
    assert_eq!(worker.add("t", "a"), 0);
    worker
}

#[test]
fn workers_count_together_and_shards_apart() {
    let store = Store::default();
    let (mut one, mut two) = (worker(&store, 1), worker(&store, 2));
    assert_eq!(one.enter(0, 3, NOW), Entrance::Open);
    assert_eq!(two.enter(0, 3, NOW), Entrance::Open);
    assert_eq!(one.enter(0, 3, NOW), Entrance::Open);
    assert_eq!(one.enter(0, 3, NOW), Entrance::Full);
    assert_eq!(two.enter(0, 3, NOW), Entrance::Full);
    assert_eq!(two.enter(1, 3, NOW), Entrance::Open);
    assert_eq!((one.own(0), two.own(0), two.total(0, NOW)), (2, 1, 3));
    one.leave(0, NOW);
    assert_eq!(two.enter(0, 3, NOW), Entrance::Open);
    for _ in 0..2 {
        two.leave(0, NOW);
    }
    one.leave(0, NOW);
    assert_eq!(one.total(0, NOW), 0);
}

#[test]
fn what_a_crashed_worker_had_counts_until_its_lease_ends() {
    let store = Store::default();
    let mut gone = worker(&store, 1);
    assert_eq!(gone.enter(0, 1, NOW), Entrance::Open);
    drop(gone);
    let mut next = worker(&store, 2);
    assert_eq!(next.enter(0, 1, NOW + LEASE - PS_PER_S), Entrance::Full);
    assert_eq!(next.enter(0, 1, NOW + LEASE), Entrance::Open);
}

#[test]
fn a_long_request_keeps_its_place() {
    let store = Store::default();
    let (mut one, mut two) = (worker(&store, 1), worker(&store, 2));
    assert_eq!(one.enter(0, 1, NOW), Entrance::Open);
    for tick in 1..100 {
        let now = NOW + tick * PS_PER_S;
        one.tick(now);
        assert_eq!(two.enter(0, 1, now), Entrance::Full);
    }
    one.close(NOW + 100 * PS_PER_S);
    assert_eq!(two.enter(0, 1, NOW + 100 * PS_PER_S), Entrance::Open);
}

#[test]
fn a_write_that_was_lost_is_made_good() {
    let store = Store::default();
    let mut one = worker(&store, 1);
    assert_eq!(one.enter(0, 2, NOW), Entrance::Open);
    store.lost.set(MAX_TRIES);
    one.leave(0, NOW);
    assert_eq!((one.own(0), one.total(0, NOW)), (0, 1));
    one.tick(NOW);
    assert_eq!(one.total(0, NOW), 0);
    store.lost.set(MAX_TRIES - 1);
    assert_eq!(one.enter(0, 2, NOW), Entrance::Open);
    assert_eq!(one.total(0, NOW), 1);
}

proptest! {
    /// Whoever comes and goes in whatever order: never more than the cap, and nothing stays.
    #[test]
    fn the_cap_holds_and_all_comes_back(
        steps in prop::collection::vec((0_usize..3, any::<bool>()), 0..200),
        most in 1_u32..8,
    ) {
        let store = Store::default();
        let mut workers = [worker(&store, 1), worker(&store, 2), worker(&store, 3)];
        for (who, comes) in steps {
            if comes {
                let before = workers[who].total(0, NOW);
                let entered = workers[who].enter(0, most, NOW);
                prop_assert_eq!(entered == Entrance::Open, before < u64::from(most));
            } else if workers[who].own(0) > 0 {
                workers[who].leave(0, NOW);
            }
            let own: u32 = workers.iter().map(|worker| worker.own(0)).sum();
            prop_assert!(own <= most);
            prop_assert_eq!(workers[0].total(0, NOW), u64::from(own));
        }
        for worker in &mut workers {
            while worker.own(0) > 0 {
                worker.leave(0, NOW);
            }
        }
        prop_assert_eq!(workers[0].total(0, NOW), 0);
    }
}
