use super::*;
use crate::slots::tests::FakeShared;

fn published(version: u64, tables: &str) -> Published {
    Published {
        version,
        tables: tables.into(),
    }
}

fn signer(place: &str) -> Signer {
    Signer::new(b"0123456789abcdef", place).unwrap()
}

/// As Redis answers when this is published, and version 1 is known.
fn read(version: &[u8], tables: &[u8], signature: Reply<'_>, signer: Option<&Signer>) -> Found {
    let items = vec![Reply::Bulk(version), Reply::Bulk(tables), signature];
    found(&Reply::Array(items), signer).unwrap()
}

#[test]
fn a_signature_is_good_for_its_place_version_and_tables_alone() {
    let (here, there) = (signer("here"), signer("there"));
    let two = published(2, "{}");
    let good = here.sign(&two);
    let unfit = Found::Unfit(Some(2), Unfit::Signature);
    assert_eq!(
        read(b"2", b"{}", Reply::Bulk(&good), Some(&here)),
        Found::Newer(two)
    );
    assert_eq!(read(b"2", b"{}", Reply::Bulk(&good), Some(&there)), unfit);
    assert_eq!(read(b"2", b"{} ", Reply::Bulk(&good), Some(&here)), unfit);
    assert_eq!(
        read(b"2", b"{}", Reply::Bulk(&good[1..]), Some(&here)),
        unfit
    );
    assert_eq!(read(b"2", b"{}", Reply::Nil, Some(&here)), unfit);
    let three = Found::Unfit(Some(3), Unfit::Signature);
    assert_eq!(read(b"3", b"{}", Reply::Bulk(&good), Some(&here)), three);
    // Who asks for no signature takes any.
    let newer = Found::Newer(published(3, "{}"));
    assert_eq!(read(b"3", b"{}", Reply::Bulk(b"?"), None), newer);
    assert!(Signer::new(b"0123456789abcde", "here").is_none());
    assert!(!format!("{here:?}").contains("0123"));
}

#[test]
fn what_is_no_version_with_tables_is_told_from_no_answer() {
    let known = |items| found(&Reply::Array(items), None);
    assert_eq!(known(vec![]), Ok(Found::Nothing));
    assert_eq!(known(vec![Reply::Bulk(b"7")]), Ok(Found::Known(7)));
    for wrong in ["0", "-1", "x", "9007199254740992", ""] {
        let found = read(wrong.as_bytes(), b"{}", Reply::Nil, None);
        assert_eq!(found, Found::Unfit(None, Unfit::Malformed), "{wrong}");
    }
    let most = read(b"9007199254740991", b"", Reply::Nil, None);
    assert_eq!(most, Found::Newer(published(MAX_VERSION, "")));
    let no_tables = vec![Reply::Bulk(b"7"), Reply::Nil, Reply::Nil];
    assert_eq!(
        known(no_tables),
        Ok(Found::Unfit(Some(7), Unfit::Malformed))
    );
    let long = vec![b' '; MAX_TABLES_SIZE + 1];
    assert_eq!(
        read(b"7", &long, Reply::Nil, None),
        Found::Unfit(Some(7), Unfit::TooLong)
    );
    assert_eq!(known(vec![Reply::Integer(7)]), Err(Trouble::Malformed));
    assert_eq!(found(&Reply::Nil, None), Err(Trouble::Malformed));
}

#[test]
fn the_board_has_the_newest_whoever_comes_last() {
    let store = FakeShared::default();
    let (one, two) = (
        Board::new(store.clone(), "p"),
        Board::new(store.clone(), "p"),
    );
    assert!(one.newer(0).is_none() && !one.is_known());
    one.known();
    assert!(two.newer(0).is_none() && two.is_known());
    one.offer(&published(3, "three"));
    two.offer(&published(2, "two"));
    assert_eq!(two.newer(2), Some(published(3, "three")));
    assert_eq!(two.newer(3), None);
    two.offer(&published(4, "four"));
    assert_eq!(one.newer(3), Some(published(4, "four")));
    one.known();
    assert_eq!(two.newer(3), Some(published(4, "four")));
    let other = Board::new(store, "q");
    assert!(other.newer(0).is_none() && !other.is_known());
}
