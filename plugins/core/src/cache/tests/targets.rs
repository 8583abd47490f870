//! Targeted fields (RFC 9213) in place of Cache-Control and Expires.

use super::*;

fn judged(fields: &[(&str, &str)]) -> Verdict {
    let rule = Rule {
        targeted: vec![
            "gateway-cache-control".to_owned(),
            "cdn-cache-control".to_owned(),
        ],
        ..Rule::default()
    };
    verdict_by(&rule, 200, fields)
}

const CDN: &str = "cdn-cache-control";

#[test]
fn a_targeted_field_rules_alone() {
    let lifetime = |fields: &[(&str, &str)]| shared(judged(fields)).terms.lifetime;
    assert_eq!(lifetime(&[(CDN, "max-age=3600")]), 3_600_000);
    assert_eq!(lifetime(&[(CDN, "foobar, max-age=3600")]), 3_600_000);
    assert_eq!(lifetime(&[(CDN, "max-age=99999999999")]), 2_147_483_648_000);
    assert_eq!(
        lifetime(&[(CDN, "max-age=9"), ("cache-control", "max-age=1")]),
        9_000
    );
    assert_eq!(
        lifetime(&[(CDN, "max-age=9"), ("cache-control", "no-store")]),
        9_000
    );
    assert_eq!(lifetime(&[(CDN, "max-age=9"), ("expires", "0")]), 9_000);
    assert_eq!(
        lifetime(&[(CDN, "foo"), (CDN, "max-age=9")]),
        9_000,
        "lines are one list"
    );
    let both = [(CDN, "max-age=9"), ("gateway-cache-control", "max-age=5")];
    assert_eq!(lifetime(&both), 5_000);
    let terms = shared(judged(&[(CDN, "max-age=9, stale-if-error=5, public")])).terms;
    assert!(terms.authorized && terms.stale_if_error == 5_000);
}

#[test]
fn what_it_forbids_is_forbidden() {
    let fresh = [("cache-control", "max-age=60"), ("expires", &*at(60))];
    for (value, reason) in [
        ("no-store", Reason::NoStore),
        ("private", Reason::Private),
        ("private=5", Reason::Private),
        ("private=(a b)", Reason::Private),
        ("no-cache", Reason::NoCache),
        ("max-age=0", Reason::Stale),
        ("max-age=-1", Reason::Stale),
        ("must-revalidate", Reason::NoFreshness),
    ] {
        let mut fields = vec![(CDN, value)];
        fields.extend_from_slice(&fresh);
        assert_eq!(refused(judged(&fields)), reason, "{value}");
    }
    let limited = shared(judged(&[
        (CDN, "max-age=9, private=\"a, B\""),
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
    ]));
    let kept: Vec<_> = limited
        .head
        .fields
        .iter()
        .map(|(name, _)| name.to_vec())
        .collect();
    assert!(
        kept.contains(&b"c".to_vec())
            && !kept.contains(&b"a".to_vec())
            && !kept.contains(&b"b".to_vec())
    );
}

#[test]
fn what_is_no_structured_field_or_says_nothing_is_ignored() {
    for value in [
        "max-age=10000, &&&&&",
        "max-age =100",
        "max-age= 100",
        "max-age=\"10000\"",
        "",
        "foo",
        "MaX-aGe=9",
    ] {
        let fields = [(CDN, value), ("cache-control", "no-store")];
        assert_eq!(refused(judged(&fields)), Reason::NoStore, "{value}");
    }
}

#[test]
fn nobody_is_targeted_whom_the_policy_does_not_name() {
    assert_eq!(refused(verdict(&[(CDN, "max-age=9")])), Reason::NoFreshness);
}
