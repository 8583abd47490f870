//! Blobs of several workers over one shared data.

use super::*;
use crate::slots::tests::FakeShared;
use proptest::prelude::*;
use std::collections::HashMap;

const S: Millis = 1_000;
const MIB: usize = 1 << 20;

fn blob(hash: u64, id: u64, content: &[u8], stored: Millis) -> Blob<'_> {
    Blob {
        hash,
        id,
        content,
        stored,
        keep_until: stored + 10 * S,
    }
}

#[test]
fn what_one_worker_stores_another_reads_until_its_time_is_over() {
    let store = FakeShared::default();
    let (one, two) = (
        Tier::new(store.clone(), 8 * MIB, MIB),
        Tier::new(store, 8 * MIB, MIB),
    );
    for (hash, size) in [(1, 0), (2, 5000), (3, 40_000), (4, MIB)] {
        let content = vec![hash as u8; size];
        assert!(one.put(&blob(hash, 9, &content, S), S));
        assert_eq!(two.get(hash, 2 * S), Some(content));
        assert_eq!(two.get(hash, 11 * S), None);
    }
    assert_eq!(two.get(5, S), None);
    assert!(!one.put(&blob(5, 9, &vec![0; MIB + 1], S), S), "too large");
}

#[test]
fn the_newest_counts_whatever_its_size_and_leaves_no_older_one() {
    let tier = Tier::new(FakeShared::default(), 8 * MIB, MIB);
    for (id, size) in [(1, 100), (2, 300_000), (3, 10), (4, 20_000)] {
        let content = vec![id as u8; size];
        assert!(tier.put(&blob(7, id, &content, S), S));
        assert_eq!(tier.get(7, S), Some(content));
    }
    tier.remove(7, Some(3));
    assert!(tier.get(7, S).is_some(), "another one is there now");
    tier.remove(7, Some(4));
    assert_eq!(tier.get(7, S), None);
    assert!(tier.put(&blob(7, 5, b"a", S), S));
    tier.remove(7, None);
    assert_eq!(tier.get(7, S), None);
}

#[test]
fn a_full_set_loses_what_is_over_first_then_the_oldest() {
    // One class, one set.
    let tier = Tier::new(FakeShared::default(), 8 * (1016 + OVERHEAD), 1000);
    for hash in 1..9 {
        assert!(tier.put(&blob(hash, 1, b"x", hash * S), S));
    }
    let long = Blob {
        keep_until: 100 * S,
        ..blob(2, 2, b"y", 2 * S)
    };
    assert!(tier.put(&long, S));
    assert!(tier.put(&blob(9, 1, b"z", 9 * S), 12 * S));
    assert_eq!(tier.get(1, S), None, "its time was over");
    assert!(tier.put(&blob(10, 1, b"z", 10 * S), 9 * S));
    assert_eq!(tier.get(2, S), None, "the oldest");
    assert!((3..11).all(|hash| tier.get(hash, 9 * S).is_some()));
}

#[test]
fn a_place_that_another_wrote_meanwhile_is_not_taken_for_the_own() {
    let store = FakeShared::default();
    let tier = Tier::new(store.clone(), 1016 + OVERHEAD, 1000);
    assert!(tier.put(&blob(1, 1, b"mine", S), S));
    let key = format!("{}/0", tier.classes[0].key(1));
    let mut other = 2u64.to_le_bytes().to_vec();
    other.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    other.extend(b"another's");
    store.put(&key, &other);
    assert_eq!(tier.get(1, S), None);
    for junk in [&b""[..], b"short"] {
        store.put(&key, junk);
        assert_eq!(tier.get(1, S), None);
    }
}

#[test]
fn the_bytes_are_bounded_whatever_is_stored() {
    for (bytes, max) in [(MIB, 64 << 10), (4 * MIB, MIB), (100_000, 1000), (10, 10)] {
        let store = FakeShared::default();
        let tier = Tier::new(store.clone(), bytes, max);
        let content = vec![1; max];
        for hash in 0..20_000u64 {
            let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let size = (hash >> 7) as usize % (max + 1) / [1, 10, 100, 1000][hash as usize % 4];
            tier.put(&blob(hash, 1, &content[..size], S), S);
        }
        assert!(store.bytes() <= bytes, "{} of {bytes}", store.bytes());
    }
}

proptest! {
    #[test]
    fn a_read_gives_what_was_written_last_or_nothing(
        steps in prop::collection::vec((0usize..3, 0u64..12, 0usize..6000, 0u8..8), 1..200),
    ) {
        let store = FakeShared::default();
        let tiers: Vec<_> = (0..3).map(|_| Tier::new(store.clone(), 40_000, 5000)).collect();
        let mut last: HashMap<u64, Vec<u8>> = HashMap::new();
        for (id, (tier, hash, size, action)) in (1..).zip(steps) {
            let (tier, now) = (&tiers[tier], S + id);
            match action {
                0 => {
                    tier.remove(hash, None);
                    last.remove(&hash);
                }
                1..5 => {
                    let content = vec![id as u8; size];
                    if tier.put(&blob(hash, id, &content, now), now) {
                        last.insert(hash, content);
                    }
                }
                _ => {
                    if let Some(content) = tier.get(hash, now) {
                        prop_assert_eq!(Some(&content), last.get(&hash));
                    }
                }
            }
        }
    }
}
