//! Ids outside requests: as an operator writes them, and as an answer names what was created.

use super::MAX_ID_BYTES;
use crate::cache::resolve_anywhere;
use crate::headers::Headers;
use crate::selector::{self, Request};

/// The id that a line of a list stands for: its value as a service knows it, without percent-encoding; of an id of several
/// parts, theirs in order with a tab between each two.
///
/// # Errors
/// What is wrong with it.
pub fn written(line: &[u8]) -> Result<Vec<u8>, String> {
    let id = selector::subject(line.split(|byte| *byte == b'\t'));
    id.ok()
        .filter(|id| id.len() <= MAX_ID_BYTES)
        .ok_or_else(|| {
            format!(
                "found {} bytes, expected an id of 1 to {} in all, no part of it empty",
                line.len(),
                MAX_ID_BYTES - 4
            )
        })
}

/// A request whose response has come: all that was kept is its head. It is of the type that requests have before, so that
/// what looks at them is compiled once.
pub trait Kept: Request + From<Headers> {}

impl<R: Request + From<Headers>> Kept for R {}

/// The request for what an answer has created: the same with another target. Without a `Location` it is the request's own
/// (RFC 9110, 15.3.2). Services write `Location` with whatever authority they know themselves by, so none is expected.
pub(super) fn request_for<R: Kept>(request: &R, response: &Headers) -> Option<R> {
    let request = request.headers();
    let Some(location) = response.first("location") else {
        return Some(request.clone().into());
    };
    let target = resolve_anywhere(request, location)?;
    let pairs: Vec<(&[u8], &[u8])> = request
        .iter()
        .map(|(name, value)| match name {
            b":path" => (name, target.as_slice()),
            _ => (name, value),
        })
        .collect();
    Some(Headers::from_pairs(&pairs).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::testing::Fake;

    #[test]
    fn an_id_is_what_a_key_makes_of_the_request() {
        assert_eq!(written(b"7").unwrap(), b"\0\0\0\x017");
        assert_eq!(written(b"a b%20").unwrap(), b"\0\0\0\x06a b%20");
        assert_eq!(written(b"a\tbc").unwrap(), b"\0\0\0\x01a\0\0\0\x02bc");
        assert!(written(&[b'x'; 4096]).is_ok());
        for wrong in [&b""[..], b"\t", b"a\t", b"\ta", &[b'x'; 4097]] {
            let problem = written(wrong).unwrap_err();
            assert!(problem.starts_with("found "), "{problem}");
        }
    }

    #[test]
    fn a_location_of_any_form_leads_to_what_was_created() {
        let request = Fake::new(&[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "shop.example"),
            (":path", "/v1/items?dry=0"),
        ]);
        for (location, path) in [
            ("/v1/items/7", "/v1/items/7"),
            ("https://shop.example/v1/items/7?x=1", "/v1/items/7?x=1"),
            ("http://10.0.0.7:8080/v1/items/7#top", "/v1/items/7"),
            ("//items.internal/v1/items/7", "/v1/items/7"),
            ("items/7", "/v1/items/7"),
            ("./../v1/items/7", "/v1/items/7"),
            ("https://shop.example", "/"),
            ("/r?to=http://x/y", "/r?to=http://x/y"),
        ] {
            let response = Headers::from_pairs(&[("location", location)]);
            let created = request_for(&request, &response).unwrap();
            assert_eq!(
                created.headers.first(":path"),
                Some(path.as_bytes()),
                "{location}"
            );
            assert_eq!(
                created.headers.first(":authority"),
                Some(&b"shop.example"[..])
            );
        }
        let none = request_for(&request, &Headers::default()).unwrap();
        assert_eq!(none.headers, request.headers);
        for nowhere in ["mailto:items@shop.example", "https:/v1/items/7"] {
            let response = Headers::from_pairs(&[("location", nowhere)]);
            assert!(request_for(&request, &response).is_none(), "{nowhere}");
        }
    }
}
