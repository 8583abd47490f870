//! The table against a store with Envoy's rules, and against other workers that write in between.

use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Shared data as Envoy keeps it: versions count over all keys, a missing key accepts any version.
#[derive(Default, Clone)]
pub struct FakeShared {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    data: HashMap<String, (Vec<u8>, Version)>,
    last: Version,
    reads: usize,
    /// Writes that another worker slips in before the next writes of this one.
    intruders: Vec<(String, Vec<u8>)>,
}

impl SharedData for FakeShared {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        let mut inner = self.inner.borrow_mut();
        inner.reads += 1;
        inner.data.get(key).cloned()
    }

    fn set(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch> {
        let mut inner = self.inner.borrow_mut();
        if let Some((key, value)) = inner.intruders.pop() {
            inner.last += 1;
            let version = inner.last;
            inner.data.insert(key, (value, version));
        }
        if inner
            .data
            .get(key)
            .is_some_and(|(_, version)| *version != expected)
        {
            return Err(Mismatch);
        }
        inner.last += 1;
        let version = inner.last;
        inner.data.insert(key.into(), (value.into(), version));
        Ok(())
    }

    fn put(&self, key: &str, value: &[u8]) {
        let version = self.get(key).map_or(ABSENT, |(_, version)| version);
        let _ = self.set(key, value, version);
    }
}

impl FakeShared {
    /// The bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        let inner = self.inner.borrow();
        let sizes = inner.data.iter();
        sizes.map(|(key, (value, _))| key.len() + value.len()).sum()
    }
}

fn count(payload: Option<Payload>) -> u8 {
    payload.map_or(0, |payload| payload[0])
}

fn add_one(table: &mut SlotTable<FakeShared>, hash: u64) -> Result<u8, Refusal> {
    table.update(
        hash,
        |_| true,
        |old| {
            let new = count(old) + 1;
            Step::Write([new; 16], new)
        },
    )
}

fn read(table: &mut SlotTable<FakeShared>, hash: u64) -> Option<u8> {
    table
        .update(
            hash,
            |_| true,
            |old| Step::Keep(old.map(|payload| payload[0])),
        )
        .unwrap()
}

#[test]
fn workers_share_one_record() {
    let store = FakeShared::default();
    let mut one = SlotTable::new(store.clone(), "t", 4, 2);
    let mut two = SlotTable::new(store, "t", 4, 2);
    assert_eq!(add_one(&mut one, 9), Ok(1));
    assert_eq!(add_one(&mut two, 9), Ok(2));
    assert_eq!(read(&mut one, 9), Some(2));
    assert_eq!(read(&mut one, 5), None);
}

#[test]
fn a_swap_that_another_worker_won_is_decided_again_on_what_it_wrote() {
    let store = FakeShared::default();
    let mut table = SlotTable::new(store.clone(), "t", 1, 2);
    let mut record = 9u64.to_le_bytes().to_vec();
    record.extend([41; 16]);
    store
        .inner
        .borrow_mut()
        .intruders
        .push(("sluice/t/1x2/0".into(), record));
    assert_eq!(add_one(&mut table, 9), Ok(42));
    assert_eq!(table.counters.retries, 1);
}

#[test]
fn a_first_write_never_overwrites_a_bucket_that_appeared_meanwhile() {
    let store = FakeShared::default();
    let mut table = SlotTable::new(store.clone(), "t", 1, 2);
    let mut record = 7u64.to_le_bytes().to_vec();
    record.extend([1; 16]);
    store
        .inner
        .borrow_mut()
        .intruders
        .push(("sluice/t/1x2/0".into(), record));
    assert_eq!(add_one(&mut table, 9), Ok(1));
    assert_eq!(read(&mut table, 7), Some(1));
}

#[test]
fn a_worker_that_never_gets_its_turn_gives_up() {
    let store = FakeShared::default();
    let mut table = SlotTable::new(store.clone(), "t", 1, 2);
    store.inner.borrow_mut().intruders = vec![("sluice/t/1x2/0".into(), Vec::new()); 1000];
    assert_eq!(add_one(&mut table, 9), Err(Refusal::Contended));
    assert_eq!(table.counters.contended, 1);
}

#[test]
fn one_busy_worker_reads_each_bucket_once() {
    let store = FakeShared::default();
    let mut table = SlotTable::new(store.clone(), "t", 4, 2);
    for n in 0..100u8 {
        assert_eq!(add_one(&mut table, u64::from(n % 4)), Ok(n / 4 + 1));
    }
    assert_eq!(store.inner.borrow().reads, 4);
    assert_eq!(table.counters.retries, 0);
}

#[test]
fn what_is_not_written_is_never_decided_on_a_copy() {
    let store = FakeShared::default();
    let mut one = SlotTable::new(store.clone(), "t", 1, 2);
    let mut two = SlotTable::new(store, "t", 1, 2);
    assert_eq!(add_one(&mut one, 9), Ok(1));
    assert_eq!(add_one(&mut two, 9), Ok(2));
    assert_eq!(read(&mut one, 9), Some(2));
}

#[test]
fn versions_that_start_again_are_followed() {
    let store = FakeShared::default();
    store.inner.borrow_mut().last = Version::MAX - 10;
    let mut table = SlotTable::new(store.clone(), "t", 1, 2);
    for n in 0..100u8 {
        if n == 5 {
            store.inner.borrow_mut().last = 0;
        }
        assert_eq!(add_one(&mut table, 9), Ok(n + 1));
    }
}

#[test]
fn only_expired_records_make_room() {
    let mut table = SlotTable::new(FakeShared::default(), "t", 1, 2);
    let write = |table: &mut SlotTable<_>, hash, value: u8| {
        // Records below 10 have expired.
        table.update(
            hash,
            |payload| payload[0] >= 10,
            |_| Step::Write([value; 16], ()),
        )
    };
    assert_eq!(write(&mut table, 1, 20), Ok(()));
    assert_eq!(write(&mut table, 2, 5), Ok(()));
    assert_eq!(write(&mut table, 3, 30), Ok(()));
    assert_eq!(read(&mut table, 2), None, "the expired one went");
    assert_eq!(write(&mut table, 4, 40), Err(Refusal::Full));
    assert_eq!(table.counters.full, 1);
    assert_eq!(
        write(&mut table, 1, 21),
        Ok(()),
        "who has a record keeps it"
    );
    assert_eq!(read(&mut table, 3), Some(30));
}

#[test]
fn ten_million_clients_stay_within_the_configured_buckets() {
    let store = FakeShared::default();
    let mut table = SlotTable::new(store.clone(), "t", 64, 4);
    for client in 0..10_000_000u64 {
        let hash = client.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        table
            .update(hash, |_| false, |_| Step::Write([1; 16], ()))
            .unwrap();
    }
    let inner = store.inner.borrow();
    assert_eq!(inner.data.len(), 64);
    assert!(
        inner
            .data
            .values()
            .all(|(bytes, _)| bytes.len() <= 4 * (FINGERPRINT + 16))
    );
}

proptest! {
    /// Whoever writes when: every addition counts exactly once.
    #[test]
    fn no_interleaving_of_workers_loses_a_change(
        turns in prop::collection::vec((0usize..4, 0u64..6), 1..400),
    ) {
        let store = FakeShared::default();
        let mut workers: Vec<_> = (0..4).map(|_| SlotTable::new(store.clone(), "t", 3, 8)).collect();
        let mut expected = [0u8; 6];
        for (worker, hash) in turns {
            let sum = &mut expected[hash as usize];
            *sum = sum.wrapping_add(1);
            let changed = workers[worker].update(hash, |_| true, |old| {
                let new = count(old).wrapping_add(1);
                Step::Write([new; 16], new)
            });
            prop_assert_eq!(changed, Ok(*sum));
        }
    }

    #[test]
    fn a_bucket_of_any_bytes_is_read_without_a_panic(bytes: Vec<u8>, hash: u64) {
        let store = FakeShared::default();
        store.set("sluice/t/1x2/0", &bytes, ABSENT).unwrap();
        let mut table = SlotTable::new(store, "t", 1, 2);
        let _ = add_one(&mut table, hash);
    }
}
