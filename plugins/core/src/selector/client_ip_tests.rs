use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::json;

use super::super::testing::Fake;
use super::*;

fn client_ip(json: serde_json::Value) -> ClientIp {
    serde_json::from_value(json).unwrap()
}

/// Settings, peer, X-Forwarded-For (`|` starts another header), client.
fn check(settings: serde_json::Value, cases: &[(Option<&str>, &str, Option<&str>)]) {
    let client_ip = client_ip(settings.clone());
    for (peer, list, expected) in cases {
        let headers: Vec<_> = list
            .split('|')
            .filter(|line| !line.is_empty())
            .map(|line| ("x-forwarded-for", line))
            .collect();
        let request = Fake::new(&headers).with_peer(*peer);
        let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(
            client_ip.resolve(&request),
            expected,
            "{settings} peer {peer:?} list {list:?}"
        );
    }
}

#[test]
fn without_trust_the_list_is_hearsay() {
    check(
        json!({ "ipv6_prefix": 128 }),
        &[
            (Some("198.51.100.7:80"), "", Some("198.51.100.7")),
            (Some("198.51.100.7:80"), "1.1.1.1", Some("198.51.100.7")),
            (Some("[2001:db8::1]:80"), "", Some("2001:db8::1")),
            (Some("[::ffff:192.0.2.1]:80"), "", Some("192.0.2.1")),
            (Some("[fe80::1%eth0]:80"), "", Some("fe80::1")),
            (Some("192.0.2.1"), "", Some("192.0.2.1")),
            (Some("2001:db8::1"), "", Some("2001:db8::1")),
            (Some("/tmp/envoy.sock"), "", None),
            (Some(""), "", None),
            (None, "1.1.1.1", None),
        ],
    );
}

#[test]
fn one_hop_takes_the_last_entry() {
    check(
        json!({ "trusted_hops": 1 }),
        &[
            (Some("198.51.100.7:80"), "", Some("198.51.100.7")),
            (Some("10.0.0.9:80"), "203.0.113.5", Some("203.0.113.5")),
            (
                Some("10.0.0.9:80"),
                "1.1.1.1, 203.0.113.5, 10.0.0.8",
                Some("10.0.0.8"),
            ),
            (Some("10.0.0.9:80"), "1.1.1.1, oops", Some("10.0.0.9")),
            (None, "1.1.1.1, 203.0.113.5", Some("203.0.113.5")),
            (None, "", None),
        ],
    );
}

#[test]
fn more_hops_count_from_the_right_however_much_the_client_writes_on_the_left() {
    check(
        json!({ "trusted_hops": 2 }),
        &[
            (
                Some("10.0.0.9:80"),
                "1.1.1.1, 203.0.113.5, 10.0.0.8",
                Some("203.0.113.5"),
            ),
            (
                Some("10.0.0.9:80"),
                "1.1.1.1|203.0.113.5|10.0.0.8",
                Some("203.0.113.5"),
            ),
            (
                Some("10.0.0.9:80"),
                "9.9.9.9,1.1.1.1|203.0.113.5 ,, 10.0.0.8 ,",
                Some("203.0.113.5"),
            ),
            (Some("10.0.0.9:80"), "203.0.113.5", Some("203.0.113.5")),
            (
                Some("10.0.0.9:80"),
                "1.1.1.1, oops, 10.0.0.8",
                Some("10.0.0.8"),
            ),
            (
                Some("10.0.0.9:80"),
                "203.0.113.5:5123, [2001:db8::8]:80",
                Some("203.0.113.5"),
            ),
        ],
    );
}

#[test]
fn networks_skip_what_is_ours_and_believe_only_what_is_ours() {
    let settings = json!({ "trusted_cidrs": ["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.1"], "ipv6_prefix": 128 });
    check(
        settings,
        &[
            (Some("198.51.100.7:80"), "1.1.1.1", Some("198.51.100.7")),
            (Some("10.0.0.9:80"), "203.0.113.5", Some("203.0.113.5")),
            (
                Some("10.0.0.9:80"),
                "1.1.1.1, 203.0.113.5, 10.0.0.8",
                Some("203.0.113.5"),
            ),
            (
                Some("10.0.0.9:80"),
                "1.1.1.1|203.0.113.5|192.0.2.1|10.0.0.9",
                Some("203.0.113.5"),
            ),
            (
                Some("10.0.0.9:80"),
                "1.1.1.1, oops, 10.0.0.8",
                Some("10.0.0.8"),
            ),
            (Some("10.0.0.9:80"), "10.1.1.1, 10.0.0.8", Some("10.1.1.1")),
            (Some("10.0.0.9:80"), "", Some("10.0.0.9")),
            (
                Some("[::ffff:10.0.0.9]:80"),
                "::ffff:203.0.113.5, ::ffff:10.0.0.8",
                Some("203.0.113.5"),
            ),
            (
                Some("[2001:db8:1::9]:80"),
                "2001:db8:2::5",
                Some("2001:db8:2::5"),
            ),
            (Some("192.0.2.2:80"), "203.0.113.5", Some("192.0.2.2")),
            (None, "203.0.113.5, 10.0.0.8", None),
        ],
    );
}

#[test]
fn a_mapped_network_is_an_ipv4_network() {
    check(
        json!({ "trusted_cidrs": ["::ffff:10.0.0.0/104"] }),
        &[(Some("10.200.0.1:80"), "203.0.113.5", Some("203.0.113.5"))],
    );
}

#[test]
fn an_address_is_cut_to_its_prefix() {
    let request = |peer| Fake::new::<&str, &str>(&[]).with_peer(Some(peer));
    for (settings, peer, expected) in [
        (json!({}), "[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::"),
        (
            json!({ "ipv6_prefix": 48 }),
            "[2001:db8:1:2::]:80",
            "2001:db8:1::",
        ),
        (json!({ "ipv6_prefix": 1 }), "[ffff::]:80", "8000::"),
        (
            json!({ "ipv4_prefix": 24 }),
            "203.0.113.77:80",
            "203.0.113.0",
        ),
        (json!({ "ipv4_prefix": 1 }), "203.0.113.77:80", "128.0.0.0"),
        (
            json!({ "ipv4_prefix": 24 }),
            "[::ffff:203.0.113.77]:80",
            "203.0.113.0",
        ),
    ] {
        let found = client_ip(settings).resolve(&request(peer));
        assert_eq!(found, Some(expected.parse().unwrap()), "{peer}");
    }
}

fn text(octets: &[u8; 4]) -> String {
    IpAddr::from(*octets).to_string()
}

proptest! {
    #[test]
    fn what_a_client_writes_on_the_left_never_counts(
        forged in "[0-9a-z.:, \\[\\]]{0,60}",
        real: [u8; 4],
        proxies in prop::collection::vec(any::<[u8; 3]>(), 0..4),
    ) {
        prop_assume!(real[0] != 10);
        let mut list = forged;
        let ours = proxies.iter().map(|[a, b, c]| text(&[10, *a, *b, *c]));
        for entry in std::iter::once(text(&real)).chain(ours) {
            list.push_str(", ");
            list.push_str(&entry);
        }
        let request = Fake::new(&[("x-forwarded-for", &list)]).with_peer(Some("10.0.0.1:80"));
        let expected = Some(IpAddr::from(real));
        let by_hops = client_ip(json!({ "trusted_hops": proxies.len() + 1 }));
        prop_assert_eq!(by_hops.resolve(&request), expected);
        let by_network = client_ip(json!({ "trusted_cidrs": ["10.0.0.0/8"] }));
        prop_assert_eq!(by_network.resolve(&request), expected);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        lines in prop::collection::vec(any::<Vec<u8>>(), 0..4),
        peer: Option<Vec<u8>>,
        hops in 1..5_u8,
    ) {
        let headers: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", line)).collect();
        let mut request = Fake::new(&headers);
        request.peer = peer;
        for settings in [json!({}), json!({ "trusted_hops": hops }), json!({ "trusted_cidrs": ["0.0.0.0/0"] })] {
            let _ = client_ip(settings).resolve(&request);
        }
    }

    #[test]
    fn every_form_of_an_address_is_that_address(octets: [u8; 16], port: u16) {
        let v6 = std::net::Ipv6Addr::from(octets);
        let expected = Some(IpAddr::from(v6).to_canonical());
        for form in [format!("{v6}"), format!("[{v6}]"), format!("[{v6}]:{port}")] {
            prop_assert_eq!(parse_address(&form), expected, "{}", form);
        }
    }
}
