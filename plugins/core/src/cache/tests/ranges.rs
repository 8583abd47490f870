//! Ranges of stored answers (RFC 9110, 14).

use super::*;
use proptest::prelude::*;

fn part_of(range: &str, length: usize) -> Option<(usize, usize, String)> {
    let part = part(&get(&[("range", range)]), &answer(200, &[]), length)?;
    Some((part.bytes.start, part.bytes.end, part.content_range))
}

#[test]
fn one_range_is_cut_out_of_the_body() {
    for (range, expected) in [
        ("bytes=0-1", Some((0, 2, "bytes 0-1/11"))),
        ("bytes=1-", Some((1, 11, "bytes 1-10/11"))),
        ("bytes=-1", Some((10, 11, "bytes 10-10/11"))),
        ("bytes=0-99", Some((0, 11, "bytes 0-10/11"))),
        ("bytes=-99", Some((0, 11, "bytes 0-10/11"))),
        ("bytes=10-10", Some((10, 11, "bytes 10-10/11"))),
        (
            "bytes=3-99999999999999999999999",
            Some((3, 11, "bytes 3-10/11")),
        ),
        ("bytes=11-", None),
        ("bytes=99999999999999999999999-", None),
        ("bytes=-0", None),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=0-1,3-4", None),
        ("bytes=+0-1", None),
        ("bytes=a-b", None),
        ("bytes", None),
        ("items=0-1", None),
        ("", None),
    ] {
        let expected = expected.map(|(start, end, text)| (start, end, text.to_owned()));
        assert_eq!(part_of(range, 11), expected, "{range}");
    }
    assert_eq!(part_of("bytes=0-", 0), None);
}

#[test]
fn only_a_get_of_an_ok_has_parts() {
    let range = ("range", "bytes=0-1");
    assert_eq!(part(&get(&[range]), &answer(404, &[]), 11), None);
    assert_eq!(
        part(&request("HEAD", &[range]), &answer(200, &[]), 11),
        None
    );
    assert_eq!(part(&get(&[range, range]), &answer(200, &[]), 11), None);
    assert_eq!(part(&get(&[]), &answer(200, &[]), 11), None);
}

proptest! {
    #[test]
    fn a_part_is_within_the_body(range: Vec<u8>, first: u64, last: u64, length: usize) {
        let spelled = format!("bytes={first}-{last}");
        for value in [range.as_slice(), spelled.as_bytes()] {
            let request = Headers::from_pairs(&[(&b":method"[..], &b"GET"[..]), (b"range", value)]);
            if let Some(part) = part(&request, &answer(200, &[]), length) {
                prop_assert!(part.bytes.start < part.bytes.end && part.bytes.end <= length);
            }
        }
    }
}

#[test]
fn a_part_has_the_fields_of_the_whole_but_no_sum_over_it() {
    let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let part = Part {
        bytes: 1..4,
        content_range: "bytes 1-3/6".to_owned(),
    };
    let fields = part.fields(vec![
        field("etag", "\"a\""),
        field("content-digest", "sha-256=:x:"),
        field("content-md5", "x"),
        field("repr-digest", "sha-256=:x:"),
    ]);
    let expected = [
        field("etag", "\"a\""),
        field("repr-digest", "sha-256=:x:"),
        field("content-range", "bytes 1-3/6"),
    ];
    assert_eq!(fields, expected);
}
