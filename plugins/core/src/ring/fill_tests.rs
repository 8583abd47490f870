use super::fill::jump;
use super::{Fill, Hash, Mistake, Range, Shard, Table, moved};
use proptest::prelude::*;

const SLOTS: u32 = 16_384;
const PRIME: u32 = 65_537;

fn shards(weights: impl IntoIterator<Item = u32>) -> Vec<Shard> {
    let weights = weights.into_iter().enumerate();
    let shard = |(place, weight)| Shard {
        name: format!("s{place}"),
        weight,
    };
    weights.map(shard).collect()
}

fn table(fill: Fill, shards: &[Shard]) -> Table {
    let slots = if fill == Fill::Maglev { PRIME } else { SLOTS };
    Table::fill(Hash::XxHash64, slots, shards, fill).unwrap()
}

/// The slots whose shards have other names in the other table.
fn changed(before: (&Table, &[Shard]), after: (&Table, &[Shard])) -> Vec<(String, String)> {
    let name = |shards: &[Shard], place: u16| shards[usize::from(place)].name.clone();
    let slots = before.0.slots().iter().zip(after.0.slots());
    slots
        .map(|(old, new)| (name(before.1, *old), name(after.1, *new)))
        .filter(|(old, new)| old != new)
        .collect()
}

#[test]
fn jump_is_the_papers() {
    let of_100 = [55, 62, 8, 45, 59];
    for (key, bucket) in (1..).zip(of_100) {
        assert_eq!(jump(key, 100), bucket);
    }
    let runs: [(u64, &[(u32, usize)]); 3] = [
        (1, &[(0, 6), (6, 11), (17, 2)]),
        (
            0xdead_beef,
            &[(0, 1), (1, 1), (2, 1), (3, 2), (5, 11), (16, 3)],
        ),
        (0x0ddc_0ffe_ebad_f00d, &[(0, 1), (1, 1), (2, 13), (15, 4)]),
    ];
    for (key, runs) in runs {
        let expected = runs
            .iter()
            .flat_map(|(bucket, times)| vec![*bucket; *times]);
        let found = (1..=19).map(|buckets| jump(key, buckets));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[test]
fn maglev_is_envoys() {
    let shards: Vec<Shard> = (90..96)
        .map(|port| Shard {
            name: format!("127.0.0.1:{port}"),
            weight: 1,
        })
        .collect();
    let table = Table::fill(Hash::XxHash64, 7, &shards, Fill::Maglev).unwrap();
    let ports: Vec<u16> = table.slots().iter().map(|shard| 90 + shard).collect();
    assert_eq!(ports, [92, 94, 90, 91, 95, 90, 93]);
}

/// A quarter, a tenth and a fiftieth is the least; the rest is what maglev pays for being even.
#[test]
fn maglev_moves_little_more_than_it_must() {
    for (count, most) in [(4, 0.27), (10, 0.12), (50, 0.03)] {
        let all = shards(vec![1; count]);
        let (before, after) = (table(Fill::Maglev, &all), table(Fill::Maglev, &all[1..]));
        let moved = changed((&before, &all), (&after, &all[1..])).len();
        let part = moved as f64 / f64::from(PRIME);
        assert!(
            part < most && part > 1.0 / count as f64 * 0.95,
            "{count}: {part}"
        );
    }
}

#[test]
fn a_table_that_cannot_be_is_refused() {
    let fill =
        |slots, shards: &[Shard], fill| Table::fill(Hash::Crc16, slots, shards, fill).unwrap_err();
    let two = shards([1, 1]);
    assert_eq!(fill(16, &[], Fill::Jump), Mistake::NoShards);
    assert_eq!(fill(0, &two, Fill::Jump), Mistake::Slots(0));
    assert_eq!(
        fill(65_537, &two, Fill::Maglev),
        Mistake::TooManySlots(65_536)
    );
    assert_eq!(fill(16, &two, Fill::Maglev), Mistake::NotPrime(16));
    assert_eq!(
        fill(16, &shards([0, 0]), Fill::Rendezvous),
        Mistake::NoWeight
    );
    assert_eq!(fill(16, &shards([1, 2]), Fill::Jump), Mistake::Weights);
    assert_eq!(fill(16, &two, Fill::Ring { points: 0 }), Mistake::NoPoints);
    let many = Fill::Ring { points: u32::MAX };
    assert!(matches!(fill(16, &two, many), Mistake::TooManyPoints(_)));
    assert!(matches!(
        fill(16, &shards(vec![1; 4097]), Fill::Jump),
        Mistake::TooManyShards(4097)
    ));
}

#[test]
fn ranges_have_every_slot_once() {
    let range = |from, to, shard| Range { from, to, shard };
    let ranges = |list: &[Range]| Table::ranges(Hash::Crc16, 8, 2, list);
    let table = ranges(&[range(0, 3, 1), range(4, 7, 0)]).unwrap();
    assert_eq!(table.slots(), [1, 1, 1, 1, 0, 0, 0, 0]);
    assert_eq!(ranges(&[range(0, 3, 1)]), Err(Mistake::Uncovered(4)));
    assert_eq!(
        ranges(&[range(0, 3, 1), range(3, 7, 0)]),
        Err(Mistake::Overlap(3))
    );
    assert_eq!(ranges(&[range(0, 8, 1)]), Err(Mistake::Beyond(8)));
}

/// What [`moved`] says is what keys do.
#[test]
fn what_moves_is_said_before() {
    let (four, five) = (shards([1; 4]), shards([1; 5]));
    let (before, after) = (table(Fill::Jump, &four), table(Fill::Jump, &five));
    let said = moved(&before, &after, |old, new| old == new).unwrap();
    assert!(said.iter().all(|moved| moved.to == 4));
    let slots: u32 = said.iter().map(|moved| moved.slots).sum();
    let keys = 100_000;
    let went = (0..keys)
        .map(|key| format!("user-{key}"))
        .filter(|key| {
            before.shard(before.slot(key.as_bytes())) != after.shard(after.slot(key.as_bytes()))
        })
        .count();
    let (said, seen) = (
        f64::from(slots) / f64::from(SLOTS),
        went as f64 / f64::from(keys),
    );
    assert!((said - 0.2).abs() < 0.01, "{said}");
    assert!((said - seen).abs() < 0.005, "{said} {seen}");
    let other = Table::fill(Hash::Crc16, SLOTS, &five, Fill::Jump).unwrap();
    assert_eq!(moved(&before, &other, |old, new| old == new), None);
}

#[test]
fn keys_are_spread_by_weight() {
    let weights = [1, 2, 3, 4];
    let fills = [Fill::Rendezvous, Fill::Maglev];
    for fill in fills {
        let table = table(fill, &shards(weights));
        let keys = 100_000;
        let mut counts = [0.0_f64; 4];
        for key in 0..keys {
            let slot = table.slot(format!("user-{key}").as_bytes());
            counts[usize::from(table.shard(slot))] += 1.0;
        }
        // The slots are drawn as well as the keys: the variance is that of both.
        for (count, weight) in counts.iter().zip(weights) {
            let share = f64::from(weight) / 10.0;
            let drawn = f64::from(keys) * share * (1.0 - share);
            let slots = table.slots().len() as f64;
            let of_slots = f64::from(keys).powi(2) * share * (1.0 - share) / slots;
            let sigma = (drawn + of_slots).sqrt();
            let off = (count - f64::from(keys) * share) / sigma;
            assert!(off.abs() < 3.0, "{fill:?}, weight {weight}: {off} sigma");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whoever goes, only what it had moves; whoever comes takes from all, and nothing else moves.
    #[test]
    fn rendezvous_and_ring_move_what_they_must(
        weights in prop::collection::vec(1_u32..5, 2..12),
        gone in any::<prop::sample::Index>(),
        ring in any::<bool>(),
    ) {
        let fill = if ring { Fill::Ring { points: 40 } } else { Fill::Rendezvous };
        let all = shards(weights);
        let gone = gone.index(all.len());
        let mut fewer = all.clone();
        let name = fewer.remove(gone).name;
        let (with, without) = (table(fill, &all), table(fill, &fewer));
        let moved = changed((&with, &all), (&without, &fewer));
        prop_assert!(moved.iter().all(|(old, _)| *old == name));
        prop_assert_eq!(moved.len(), with.shares(all.len())[gone] as usize);
    }

    /// To the new shard alone, and no more than its share (within 5 sigma).
    #[test]
    fn jump_moves_to_the_new_shard_alone(count in 1_u32..64) {
        let (before, after) = (shards(vec![1; count as usize]), shards(vec![1; count as usize + 1]));
        let tables = (table(Fill::Jump, &before), table(Fill::Jump, &after));
        let moved = changed((&tables.0, &before), (&tables.1, &after));
        let new = format!("s{count}");
        prop_assert!(moved.iter().all(|(_, shard)| *shard == new));
        let share = 1.0 / f64::from(count + 1);
        let sigma = (f64::from(SLOTS) * share * (1.0 - share)).sqrt();
        prop_assert!((moved.len() as f64 - f64::from(SLOTS) * share).abs() < 5.0 * sigma);
    }

    #[test]
    fn every_slot_has_a_shard_with_weight(
        weights in prop::collection::vec(0_u32..5, 1..12),
        fill in prop_oneof![Just(Fill::Rendezvous), Just(Fill::Ring { points: 7 }), Just(Fill::Maglev)],
        hash in prop_oneof![Just(Hash::Crc16), Just(Hash::XxHash64)],
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let shards = shards(weights);
        let table = Table::fill(hash, 251, &shards, fill).unwrap();
        prop_assert!(table.slots().iter().all(|shard| shards[usize::from(*shard)].weight > 0));
    }
}
