//! What is sealed is opened by who may, and by nobody else; what is damaged is refused.

use super::*;
use crate::idempotency::fingerprint::Hasher;
use crate::idempotency::scope::{Scope, Token};
use bytes::Bytes;
use proptest::prelude::*;
use std::time::Duration;

const RECORD: &[u8] = b"sluice:idem:{00}:abc";

fn key(id: &str, byte: u8) -> SealingKey {
    SealingKey::new(id, [byte; 32])
}

fn at_rest(keys: &[SealingKey], plain: Plain) -> AtRest {
    AtRest {
        compress_from: None,
        keys: keys.to_vec(),
        plain,
    }
}

fn compressed() -> AtRest {
    AtRest {
        compress_from: Some(0),
        ..AtRest::default()
    }
}

fn answer(body: &[u8]) -> Stored {
    Stored {
        status: 201,
        fields: vec![(b"content-type".to_vec(), b"text/plain".to_vec())],
        body: Bytes::copy_from_slice(body),
    }
}

fn seal(how: &AtRest, stored: &Stored) -> Vec<u8> {
    how.seal_for(stored, Kind::Answer, RECORD, [7; 24])
}

fn open(how: &AtRest, bytes: &[u8]) -> Result<Stored, Corrupt> {
    how.open(&Bytes::copy_from_slice(bytes), Kind::Answer, RECORD)
}

#[test]
fn without_a_word_in_the_policy_answers_are_stored_as_they_are() {
    let stored = answer(b"made");
    let bytes = seal(&AtRest::default(), &stored);
    assert_eq!(bytes, stored.to_bytes());
    assert_eq!(open(&AtRest::default(), &bytes), Ok(stored));
}

#[test]
fn what_is_sealed_shows_nothing_of_the_answer_but_its_length() {
    let how = at_rest(&[key("2026", 1)], Plain::Refuse);
    let secret = answer(b"4111 1111 1111 1111");
    let bytes = seal(&how, &secret);
    assert_eq!(&bytes[..8], b"SI\x03\x042026");
    for part in [&b"4111"[..], b"text/plain", b"SI\x04"] {
        assert!(!bytes.windows(part.len()).any(|window| window == part));
    }
    assert_eq!(bytes.len(), 8 + 24 + secret.to_bytes().len() + 16);
    assert_eq!(open(&how, &bytes), Ok(secret));
}

#[test]
fn the_cipher_is_the_one_that_the_format_names() {
    // draft-irtf-cfrg-xchacha-03, A.3.1.
    let text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
    let mut key = [0; 32];
    (0x80..).zip(&mut key).for_each(|(from, to)| *to = from);
    let mut nonce = [0; 24];
    (0x40..).zip(&mut nonce).for_each(|(from, to)| *to = from);
    let associated = [
        0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
    ];
    let mut out = text.to_vec();
    let tag = XChaCha20Poly1305::new(&key.into())
        .encrypt_inout_detached(&nonce.into(), &associated, out.as_mut_slice().into())
        .unwrap();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert!(hex(&out).starts_with("bd6d179d3e83d43b9576579493c0e939"));
    assert_eq!(hex(&tag), "c0875924c1c7987947deafd8780acf49");
}

#[test]
fn the_first_key_seals_and_all_open() {
    let (old, new) = (key("old", 1), key("new", 2));
    let stored = answer(b"x");
    let before = seal(&at_rest(std::slice::from_ref(&old), Plain::Refuse), &stored);
    let both = at_rest(&[new.clone(), old.clone()], Plain::Refuse);
    assert_eq!(open(&both, &before), Ok(stored.clone()));
    let after = seal(&both, &stored);
    assert_eq!(&after[3..7], b"\x03new");
    let only_new = at_rest(&[new], Plain::Refuse);
    assert_eq!(open(&only_new, &after), Ok(stored));
    assert_eq!(open(&only_new, &before), Err(Corrupt), "its key is gone");
    assert_eq!(open(&AtRest::default(), &before), Err(Corrupt));
    let same_name = at_rest(&[key("old", 3)], Plain::Refuse);
    assert_eq!(open(&same_name, &before), Err(Corrupt));
}

#[test]
fn a_sealed_answer_is_of_one_record_and_of_one_kind() {
    let how = at_rest(&[key("k", 1)], Plain::Refuse);
    let bytes = seal(&how, &answer(b"x")).into();
    assert!(how.open(&bytes, Kind::Answer, RECORD).is_ok());
    let other = b"sluice:idem:{00}:abd";
    assert_eq!(how.open(&bytes, Kind::Answer, other), Err(Corrupt));
    assert_eq!(how.open(&bytes, Kind::Tombstone, RECORD), Err(Corrupt));
}

#[test]
fn what_is_not_sealed_is_believed_where_the_policy_says_so() {
    let stored = answer(b"x");
    for how in [AtRest::default(), compressed()] {
        let stored = answer(&[b'x'; 500]);
        let plain = seal(&how, &stored);
        let keys = [key("k", 1)];
        assert_eq!(open(&at_rest(&keys, Plain::Refuse), &plain), Err(Corrupt));
        for plainly in [Plain::Read, Plain::Write] {
            assert_eq!(open(&at_rest(&keys, plainly), &plain), Ok(stored.clone()));
        }
    }
    let version = |plain| seal(&at_rest(&[key("k", 1)], plain), &stored)[2];
    assert_eq!(
        [Plain::Refuse, Plain::Read, Plain::Write].map(version),
        [3, 3, 4]
    );
}

#[test]
fn what_is_long_enough_and_gets_smaller_is_compressed() {
    let long = answer(&b"{\"id\": 17, \"state\": \"paid\"}".repeat(40));
    let mut how = compressed();
    let bytes = seal(&how, &long);
    assert_eq!(&bytes[..3], b"SI\x02");
    assert!(bytes.len() < 200, "{}", bytes.len());
    assert_eq!(open(&AtRest::default(), &bytes), Ok(long.clone()));
    // As short as this nothing gets smaller.
    assert_eq!(seal(&how, &answer(b""))[2], 4);
    how.compress_from = Some(long.to_bytes().len());
    assert_eq!(seal(&how, &long)[2], 2);
    how.compress_from = Some(long.to_bytes().len() + 1);
    assert_eq!(seal(&how, &long)[2], 4);
}

#[test]
fn a_claim_of_more_than_a_block_can_hold_takes_no_memory() {
    for length in [u32::MAX, 80 << 20, 100_000] {
        let mut bytes = COMPRESSED.to_vec();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(b"\x10x");
        assert_eq!(open(&AtRest::default(), &bytes), Err(Corrupt));
    }
}

#[test]
fn each_attempt_has_a_nonce_of_its_own() {
    let claim = |token: u8| Claim {
        scope: Scope::new(b"", "r", b"k"),
        token: Token::new([token; 16]),
        fingerprint: Hasher::new(b"POST", b"/").finish(),
        lease: Duration::from_secs(1),
        retention: Duration::from_secs(10),
        route: "r".into(),
        key: b"k".to_vec(),
        max_answer: 0,
        at: 0,
    };
    let nonces = [
        nonce(&claim(1), Some(1)),
        nonce(&claim(1), Some(2)),
        nonce(&claim(2), Some(1)),
        nonce(&claim(2), None),
    ];
    for (index, one) in nonces.iter().enumerate() {
        assert!(!nonces[..index].contains(one));
    }
    let debug = format!("{:?}", key("k", 0xAB));
    assert_eq!(debug, "SealingKey { id: \"k\", .. }");
}

proptest! {
    #[test]
    fn an_answer_comes_back_byte_for_byte(body: Vec<u8>, times in 1usize..50, compress: bool, sealed: bool, nonce: [u8; 24]) {
        let stored = answer(&body.repeat(times));
        let how = AtRest {
            compress_from: compress.then_some(0),
            keys: if sealed { vec![key("k", 9)] } else { vec![] },
            plain: Plain::Refuse,
        };
        let bytes = how.seal_for(&stored, Kind::Answer, RECORD, nonce);
        prop_assert_eq!(open(&how, &bytes), Ok(stored));
    }

    #[test]
    fn a_flipped_bit_or_a_missing_end_is_found(compress: bool, sealed: bool, at: prop::sample::Index, bit in 0..8u8) {
        let how = AtRest {
            compress_from: compress.then_some(0),
            keys: if sealed { vec![key("k", 9)] } else { vec![] },
            plain: Plain::Refuse,
        };
        let stored = answer(&b"body ".repeat(30));
        let mut bytes = seal(&how, &stored);
        let at = at.index(bytes.len());
        prop_assert_eq!(open(&how, &bytes[..at]), Err(Corrupt));
        bytes[at] ^= 1 << bit;
        // A block may say the same in two ways; never something else.
        prop_assert!(open(&how, &bytes).map_or(true, |opened| !sealed && opened == stored));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(version in 0u8..5, bytes: Vec<u8>) {
        let all = [b"SI".as_slice(), &[version], &bytes].concat();
        let _ = open(&at_rest(&[key("", 1)], Plain::Read), &all);
    }
}
