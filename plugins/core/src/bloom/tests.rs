//! What a filter promises: no id that it holds is refused, few others pass, and what is not whole is no filter.

use super::*;
use proptest::prelude::*;

fn filled(ids: u64, false_positives: f64) -> Filter {
    let mut filter = Filter::new(Shape::of(ids, false_positives).unwrap(), 42, 1_000);
    (0..ids).for_each(|id| filter.insert(id.to_string().as_bytes()));
    filter
}

fn load(blob: &[u8], piece: usize) -> Result<Filter, Corrupt> {
    let mut loading = Loading::default();
    while let Some(range) = loading.next(piece) {
        // As Redis's GETRANGE: what is beyond the end is left out.
        let end = range.end.min(blob.len());
        loading.push(blob.get(range.start..end).unwrap_or_default())?;
    }
    loading.finish()
}

#[test]
fn the_bits_of_an_id_are_those_of_the_formula() {
    for (false_positives, bits, hashes) in
        [(0.01, 9.585, 7), (0.001, 14.378, 10), (0.0001, 19.170, 13)]
    {
        assert!((shape::bits_per_id(false_positives) - bits).abs() < 0.001);
        let shape = Shape::of(1_000_000, false_positives).unwrap();
        assert!((shape.bits() as f64 / 1_000_000.0 - bits).abs() < 0.001);
        assert_eq!(shape.hashes(), hashes);
    }
    for (ids, false_positives) in [
        (1, 0.0),
        (1, 1.0),
        (1, -0.1),
        (1, f64::NAN),
        (60_000_000, 0.01),
        (u64::MAX, 0.5),
    ] {
        assert_eq!(
            Shape::of(ids, false_positives),
            None,
            "{ids} {false_positives}"
        );
    }
    assert!(Shape::of(0, 0.01).is_some(), "a filter of nothing");
    assert!(Shape::of(56_000_000, 0.01).is_some());
}

#[test]
fn as_many_others_pass_as_it_was_made_for() {
    const OTHERS: u64 = 200_000;
    for false_positives in [0.05, 0.01, 0.001] {
        let filter = filled(50_000, false_positives);
        assert!((0..50_000_u64).all(|id| filter.may_hold(id.to_string().as_bytes())));
        let passed = (0..OTHERS).filter(|id| filter.may_hold(format!("other-{id}").as_bytes()));
        let found = passed.count() as f64 / OTHERS as f64;
        // Five standard deviations, and a twentieth for the rounding of sizes.
        let deviation = (false_positives / OTHERS as f64).sqrt() * 5.0;
        let most = false_positives * 1.05 + deviation;
        assert!(found < most, "{false_positives}: {found}");
        assert!(
            found > false_positives * 0.9 - deviation,
            "{false_positives}: {found}"
        );
        assert!((filter.false_positives() / false_positives - 1.0).abs() < 0.1);
    }
}

#[test]
fn a_filter_with_too_many_ids_says_so() {
    let mut filter = filled(1_000, 0.01);
    (1_000..10_000_u64).for_each(|id| filter.insert(id.to_string().as_bytes()));
    assert_eq!(filter.ids(), 10_000);
    assert!(
        filter.false_positives() > 0.9,
        "{}",
        filter.false_positives()
    );
}

#[test]
fn an_empty_filter_holds_nothing() {
    let filter = filled(0, 0.01);
    assert!(!filter.may_hold(b"") && !filter.may_hold(b"0"));
}

#[test]
fn another_salt_gives_other_bits() {
    let shape = Shape::of(100, 0.01).unwrap();
    let [mut one, mut two] = [1, 2].map(|salt| Filter::new(shape, salt, 0));
    one.insert(b"7");
    two.insert(b"7");
    assert_ne!(one.bytes, two.bytes);
}

/// Whoever builds it and whoever reads it may be of different releases.
#[test]
fn the_format_is_this_one() {
    let mut filter = Filter::new(Shape::from_parts(64, 3).unwrap(), 0x0102_0304, 0x0506);
    filter.insert(b"42");
    filter.insert(b"43");
    let blob = filter.to_blob();
    let hex: String = blob.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = concat!(
        "534c55424c4f4f4d",
        "0100",
        "0300",
        "00000000",
        "0403020100000000",
        "4000000000000000",
        "0200000000000000",
        "0605000000000000",
        "74f578872ca0545e",
        "0001010008002040",
    );
    assert_eq!(hex, expected);
}

#[test]
fn it_comes_back_in_pieces_of_any_size() {
    let filter = filled(1_000, 0.01);
    let blob = filter.to_blob();
    assert_eq!(blob.len(), HEADER_BYTES + filter.shape().bytes());
    for piece in [
        0,
        1,
        7,
        HEADER_BYTES,
        100,
        1_000,
        blob.len() - 1,
        blob.len(),
        1 << 20,
    ] {
        assert_eq!(load(&blob, piece), Ok(filter.clone()), "{piece}");
    }
}

#[test]
fn what_is_no_whole_filter_is_refused() {
    let blob = filled(100, 0.01).to_blob();
    let changed = |at: usize, byte: u8| {
        let mut blob = blob.clone();
        blob[at] = byte;
        load(&blob, 64)
    };
    assert_eq!(load(b"", 64), Err(Corrupt::NoFilter));
    assert_eq!(load(&[b'x'; 100], 64), Err(Corrupt::NoFilter));
    assert_eq!(changed(0, b'x'), Err(Corrupt::NoFilter));
    assert_eq!(changed(8, 2), Err(Corrupt::Version(2)));
    assert_eq!(changed(10, 0), Err(Corrupt::Header), "no hash");
    assert_eq!(changed(10, 33), Err(Corrupt::Header), "too many");
    assert_eq!(changed(11, 1), Err(Corrupt::Header));
    assert_eq!(changed(24, 1), Err(Corrupt::Header), "no whole bytes");
    assert_eq!(changed(31, 1), Err(Corrupt::Header), "too large");
    for length in [HEADER_BYTES - 1, HEADER_BYTES, blob.len() - 1] {
        assert_eq!(load(&blob[..length], 64), Err(Corrupt::Length), "{length}");
    }
    let longer = [blob.as_slice(), b"x"].concat();
    assert_eq!(load(&longer, 1 << 20), Err(Corrupt::Length));
}

#[test]
fn one_that_is_replaced_while_it_is_read_is_refused() {
    let [old, new] = [1, 2].map(|salt| {
        let mut filter = Filter::new(Shape::of(100, 0.01).unwrap(), salt, salt);
        filter.insert(b"a");
        filter.insert(&[u8::try_from(salt).unwrap()]);
        filter.to_blob()
    });
    let mut loading = Loading::default();
    loading.push(&old[..70]).unwrap();
    loading.push(&new[70..]).unwrap();
    assert_eq!(loading.next(1), None);
    assert_eq!(loading.finish(), Err(Corrupt::Checksum));
}

proptest! {
    #[test]
    fn no_id_that_was_added_is_refused(ids: Vec<Vec<u8>>, salt: u64, false_positives in 0.0001_f64..0.9) {
        let mut filter = Filter::new(Shape::of(ids.len() as u64, false_positives).unwrap(), salt, 0);
        ids.iter().for_each(|id| filter.insert(id));
        let back = load(&filter.to_blob(), 64).unwrap();
        prop_assert!(ids.iter().all(|id| back.may_hold(id)));
    }

    #[test]
    fn any_change_is_noticed(at: prop::sample::Index, bit in 0_u8..8) {
        let mut blob = filled(20, 0.01).to_blob();
        let at = at.index(blob.len());
        blob[at] ^= 1_u8 << bit;
        prop_assert!(load(&blob, 64).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(pieces: Vec<Vec<u8>>) {
        let mut loading = Loading::default();
        let read = pieces.iter().try_for_each(|piece| loading.push(piece));
        let _ = (read, loading.finish());
    }
}
