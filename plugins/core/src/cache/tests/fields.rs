//! Which fields of an answer are stored (RFC 9111, 3.1) and what an answer from the store has.

use super::*;

fn stored(fields: &[(&str, &str)]) -> Vec<String> {
    let mut all = vec![("cache-control", "max-age=60"), ("date", "d")];
    all.extend_from_slice(fields);
    let head = shared(verdict(&all)).head;
    let names = head.fields.iter().skip(2);
    names
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[test]
fn fields_of_the_connection_are_not_stored() {
    let of_the_connection = [
        ("connection", "A, b"),
        ("connection", "c"),
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
        ("keep-alive", "x"),
        ("proxy-authenticate", "x"),
        ("proxy-authentication-info", "x"),
        ("proxy-authorization", "x"),
        ("proxy-connection", "x"),
        ("te", "x"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "x"),
        ("age", "1"),
        ("content-length", "10"),
        ("x-envoy-upstream-service-time", "3"),
        ("d", "4"),
    ];
    assert_eq!(stored(&of_the_connection), ["d"]);
}

#[test]
fn all_others_are() {
    let names = [
        "x-test-header",
        "content-foo",
        "content-encoding",
        "content-location",
        "content-md5",
        "content-range",
        "content-security-policy",
        "content-type",
        "clear-site-data",
        "etag",
        "expires",
        "public-key-pins",
        "set-cookie2",
        "x-frame-options",
        "x-xss-protection",
        "cache-status",
    ];
    let fields: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
    assert_eq!(stored(&fields), names);
}

#[test]
fn fields_that_no_cache_or_private_name_are_not_stored_and_the_others_are() {
    for value in [
        "no-cache=\"a, B\"",
        "private=\"a,b\"",
        "no-cache=\"a\", private=b",
        "no-cache=\"b\", no-cache=a",
    ] {
        let kept = stored(&[("cache-control", value), ("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(kept, ["cache-control", "c"], "{value}");
    }
}

#[test]
fn an_answer_without_a_date_gets_that_of_its_coming() {
    let head = shared(verdict(&[("cache-control", "max-age=60")])).head;
    assert_eq!(head.fields.first("date"), Some(at(0).as_bytes()));
    let dated = shared(verdict(&[
        ("cache-control", "max-age=60"),
        ("date", &at(-2)),
    ]))
    .head;
    assert_eq!(
        dated.fields.all("date").collect::<Vec<_>>(),
        [at(-2).as_bytes()]
    );
}

#[test]
fn an_answer_from_the_store_has_its_age_and_says_where_it_is_from() {
    let head = answer(
        200,
        &[("a", "1"), ("a", "2"), ("cache-status", "origin; hit")],
    );
    let fields = hit_fields(&head, 7, "sluice; hit; ttl=3");
    let expected = [
        ("a", "1"),
        ("a", "2"),
        ("cache-status", "origin; hit"),
        ("age", "7"),
        ("cache-status", "sluice; hit; ttl=3"),
    ];
    let expected = expected.map(|(name, value)| (name.into(), value.into()));
    assert_eq!(fields, expected);
}

#[test]
fn a_head_comes_from_the_gateways_map() {
    let headers = Headers::from_pairs(&[(":status", "404"), ("a", "1")]);
    assert_eq!(
        Head::from_gateway(&headers),
        Some(answer(404, &[("a", "1")]))
    );
    for status in ["", "x", "70000"] {
        let headers = Headers::from_pairs(&[(":status", status)]);
        assert_eq!(Head::from_gateway(&headers), None);
    }
    assert_eq!(Head::from_gateway(&Headers::default()), None);
}

#[test]
fn cache_status_is_written_as_rfc_9211_has_it() {
    let status = |outcome, ttl, detail| {
        Status {
            cache: "sluice",
            outcome,
            ttl,
            detail,
        }
        .to_string()
    };
    let forward = |reason| Outcome::Forward {
        reason,
        status: None,
        stored: false,
        collapsed: false,
    };
    assert_eq!(status(Outcome::Hit, Some(30), None), "sluice; hit; ttl=30");
    assert_eq!(status(Outcome::Hit, Some(-3), None), "sluice; hit; ttl=-3");
    for (reason, expected) in [
        (Forward::Bypass, "sluice; fwd=bypass"),
        (Forward::Method, "sluice; fwd=method"),
        (Forward::UriMiss, "sluice; fwd=uri-miss"),
        (Forward::VaryMiss, "sluice; fwd=vary-miss"),
        (Forward::Request, "sluice; fwd=request"),
        (Forward::Stale, "sluice; fwd=stale"),
    ] {
        assert_eq!(status(forward(reason), None, None), expected);
    }
    let all = Outcome::Forward {
        reason: Forward::Stale,
        status: Some(304),
        stored: true,
        collapsed: true,
    };
    let text = status(all, Some(60), Some(Reason::NoStore.name()));
    assert_eq!(
        text,
        "sluice; fwd=stale; fwd-status=304; stored; collapsed; ttl=60; detail=no-store"
    );
    assert!(
        sfv::Parser::new(&text)
            .parse_list_with_visitor(&mut sfv::visitor::Ignored)
            .is_ok()
    );
}
