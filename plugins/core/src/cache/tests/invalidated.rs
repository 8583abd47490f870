//! What requests that change something invalidate (RFC 9111, 4.4).

use super::*;
use proptest::prelude::*;

fn by(method: &str, status: u16, fields: &[(&str, &str)]) -> Vec<String> {
    let targets = invalidated_by(&request(method, &[]), status, &Headers::from_pairs(fields));
    targets
        .iter()
        .map(|target| String::from_utf8_lossy(target).into_owned())
        .collect()
}

#[test]
fn success_of_an_unsafe_method_invalidates_its_uri() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "UNKNOWN"] {
        for status in [200, 201, 204, 299, 301, 303, 399] {
            assert_eq!(by(method, status, &[]), ["/a?b=c"], "{method} {status}");
        }
        for status in [101, 400, 404, 500, 599] {
            assert_eq!(by(method, status, &[]), [""; 0], "{method} {status}");
        }
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        assert_eq!(by(method, 200, &[]), [""; 0], "{method}");
    }
}

#[test]
fn location_and_content_location_are_invalidated_at_the_same_origin() {
    for (uri, expected) in [
        ("/x", Some("/x")),
        ("/x?y=z#f", Some("/x?y=z")),
        ("x", Some("/x")),
        ("./x/../y", Some("/y")),
        ("../../x", Some("/x")),
        ("x/.", Some("/x/")),
        ("x/..", Some("/")),
        ("?y", Some("/a?y")),
        ("http://example.com/x", Some("/x")),
        ("HTTP://EXAMPLE.com:80/x", Some("/x")),
        ("//example.com/x", Some("/x")),
        ("http://example.com", Some("/")),
        ("http://example.com?y", Some("/?y")),
        (
            "x?u=http://other.example/",
            Some("/x?u=http://other.example/"),
        ),
        ("https://example.com/x", None),
        ("http://example.com:8080/x", None),
        ("http://other.example/x", None),
        ("//other.example/x", None),
        ("http://user@example.com/x", None),
        ("mailto:a@example.com", None),
        ("http:x", None),
        ("", None),
        ("#f", None),
        ("/a?b=c", None),
    ] {
        for name in ["location", "content-location"] {
            let mut all = vec!["/a?b=c"];
            all.extend(expected);
            assert_eq!(by("POST", 201, &[(name, uri)]), all, "{name}: {uri}");
        }
    }
    let both = [("location", "/x"), ("content-location", "/y")];
    assert_eq!(by("POST", 201, &both), ["/a?b=c", "/x", "/y"]);
    assert_eq!(by("POST", 500, &both), [""; 0]);
}

proptest! {
    #[test]
    fn any_location_is_read_without_a_panic(uri: Vec<u8>, path: Vec<u8>) {
        let request = Headers::from_pairs(&[(&b":method"[..], &b"POST"[..]), (b":path", &path)]);
        let response = Headers::from_pairs(&[("location", &uri)]);
        let _ = invalidated_by(&request, 200, &response);
    }
}
