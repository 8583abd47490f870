//! How long an answer is fresh and how old it is (RFC 9111, 4.2), out of whatever origins write.

use super::*;
use proptest::prelude::*;

#[test]
fn max_age_is_read_as_origins_write_it() {
    for (value, expected) in [
        ("max-age=3600", Some(3_600)),
        ("MaX-aGe=3600", Some(3_600)),
        ("foobar, max-age=3600", Some(3_600)),
        ("foobar=1,max-age=3600,", Some(3_600)),
        ("max-age=003600", Some(3_600)),
        ("max-age=\"3600\"", Some(3_600)),
        ("max-age=2147483647", Some(2_147_483_647)),
        ("max-age=2147483648", Some(2_147_483_648)),
        ("max-age=99999999999999999999999", Some(2_147_483_648)),
        ("max-age=1, extension=\"max-age=3600\"", Some(1)),
        ("extension=\"max-age=3600\", max-age=1", Some(1)),
        ("extension=\"a\\\", max-age=3600\", max-age=1", Some(1)),
        ("max-age=60, max-age=60", Some(60)),
        ("x-max-age=60", None),
        ("max-ages=60", None),
    ] {
        assert_eq!(left(&[("cache-control", value)]), expected, "{value}");
    }
}

#[test]
fn a_lifetime_that_is_no_number_is_none_at_all() {
    for value in [
        "max-age",
        "max-age=",
        "max-age=-3600",
        "max-age=+3600",
        "max-age='3600'",
        "max-age=3600.0",
        "max-age=3600.5",
        "max-age=a3600",
        "max-age=3600a",
        "max-age= 3600",
        "max-age =x",
        "max-age=3600 s",
        "max-age=\"3600",
        "max-age=1800, max-age=1",
        "max-age=1, max-age=1800",
        "s-maxage=x, max-age=60",
        "max-age=0",
    ] {
        let fields = [("cache-control", value), ("expires", &at(600))];
        assert_eq!(refused(verdict(&fields)), Reason::Stale, "{value}");
    }
    let lines = [
        ("cache-control", "max-age=1800"),
        ("cache-control", "max-age=1"),
    ];
    assert_eq!(refused(verdict(&lines)), Reason::Stale);
}

#[test]
fn s_maxage_goes_before_max_age_and_that_before_expires() {
    let short = at(10);
    for (value, expected) in [
        ("max-age=3600, s-maxage=1", 1),
        ("s-maxage=1, max-age=3600", 1),
        ("s-maxage=3600, max-age=1", 3_600),
        ("s-maxage=3600", 3_600),
        ("max-age=3600", 3_600),
        ("public", 10),
    ] {
        let fields = [
            ("cache-control", value),
            ("expires", &short),
            ("date", &at(0)),
        ];
        assert_eq!(left(&fields), Some(expected), "{value}");
    }
    let lines = [
        ("cache-control", "max-age=3600"),
        ("cache-control", "s-maxage=1"),
    ];
    assert_eq!(left(&lines), Some(1));
    let invalid = [("cache-control", "max-age=3600"), ("expires", "0")];
    assert_eq!(left(&invalid), Some(3_600));
}

#[test]
fn expires_counts_from_the_date_of_the_answer() {
    let of = |expires: i64, date: i64| left(&[("expires", &at(expires)), ("date", &at(date))]);
    assert_eq!(of(30, 0), Some(30));
    assert_eq!(of(20, 10), Some(10), "a clock that is fast");
    assert_eq!(of(10, -5), Some(15), "a clock that is a little slow");
    assert_eq!(of(0, 0), None);
    assert_eq!(of(-30, 0), None);
    assert_eq!(of(300, 400), None);
    assert_eq!(left(&[("expires", &at(30))]), Some(30), "no date");
    assert_eq!(left(&[("expires", &at(30)), ("date", "foo")]), Some(30));
    let twice = [("expires", &*at(30)), ("expires", &*at(30))];
    assert_eq!(left(&twice), Some(30));
    let two = [("expires", &*at(30)), ("expires", &*at(31))];
    assert_eq!(left(&two), None);
    assert_eq!(left(&[("expires", "Thu, 18 Aug 50 02:01:18 GMT")]), None);
}

#[test]
fn the_age_field_makes_an_answer_old() {
    for (values, expected) in [
        (&["30"][..], 30),
        (&["007"], 7),
        (&["abc"], 0),
        (&["-7200"], 0),
        (&["7200.0"], 0),
        (&["\"7200\""], 0),
        (&[""], 0),
        (&["7200, 0"], 7_200),
        (&["0, 7200"], 0),
        (&["7200", "0"], 7_200),
        (&["0", "7200"], 0),
        (&["7200;foo=bar"], 7_200),
        (&["2147483649"], 2_147_483_648),
        (&["99999999999999999999999"], 2_147_483_648),
    ] {
        let mut fields = vec![("cache-control", "max-age=9999999999"), ("date", "")];
        let date = at(0);
        fields[1].1 = &date;
        fields.extend(values.iter().map(|value| ("age", *value)));
        let share = match verdict(&fields) {
            Verdict::Share(share) => share.terms.age(NOW) / 1_000,
            _ => 2_147_483_648,
        };
        assert_eq!(share, expected, "{values:?}");
    }
}

#[test]
fn a_date_that_is_long_past_makes_an_answer_old_and_a_clock_nearly_right_does_not() {
    let age = |date: i64| {
        let fields = [("cache-control", "max-age=3600"), ("date", &*at(date))];
        shared(verdict(&fields)).terms.age(NOW)
    };
    assert_eq!(age(0), 0);
    assert_eq!(age(-10), 0);
    assert_eq!(age(-11), 11_000);
    assert_eq!(age(30), 0);
    let old = [("cache-control", "max-age=3600"), ("date", &*at(-7_200))];
    assert_eq!(refused(verdict(&old)), Reason::Stale);
}

#[test]
fn the_time_on_the_way_counts_when_a_cache_answered() {
    let initial = |fields: &[(&str, &str)]| {
        let judged = judge(
            &lookup(&[]),
            &answer(200, fields),
            &Rule::default(),
            NOW - 5_000,
            NOW,
        );
        shared(judged).terms.initial_age
    };
    let fresh = ("cache-control", "max-age=3600");
    assert_eq!(initial(&[fresh, ("age", "10")]), 15_000);
    assert_eq!(initial(&[fresh]), 0, "the origin took that long to make it");
}

#[test]
fn the_policy_bounds_every_lifetime() {
    let rule = Rule {
        max_ttl: Some(5_000),
        ..Rule::default()
    };
    let fields = [("cache-control", "max-age=3600")];
    assert_eq!(
        shared(verdict_by(&rule, 200, &fields)).terms.lifetime,
        5_000
    );
}

#[test]
fn a_client_gets_it_as_fresh_as_it_asks() {
    let fields = [("cache-control", "max-age=100"), ("age", "50")];
    let terms = shared(verdict(&fields)).terms;
    let hit =
        |value: &str, after: Millis| terms.hit(&lookup(&[("cache-control", value)]), NOW + after);
    let serve = |age, stale| Hit::Serve { age, stale };
    assert_eq!(hit("max-age=50", 0), serve(50, false));
    assert_eq!(hit("max-age=49", 0), Hit::Revalidate);
    assert_eq!(hit("max-age=60, max-age=49", 0), Hit::Revalidate);
    assert_eq!(hit("min-fresh=50", 0), serve(50, false));
    assert_eq!(hit("min-fresh=51", 0), Hit::Revalidate);
    assert_eq!(hit("min-fresh=x", 0), Hit::Revalidate);
    assert_eq!(hit("max-stale", 60_000), serve(110, true));
    assert_eq!(hit("max-stale=10", 60_000), serve(110, true));
    assert_eq!(hit("max-stale=9", 60_000), Hit::Revalidate);
    assert_eq!(hit("max-stale=x", 60_000), Hit::Revalidate);
    assert_eq!(hit("max-stale=10, max-age=100", 60_000), Hit::Revalidate);
    assert_eq!(hit("max-stale=10, max-age=110", 60_000), serve(110, true));
    let follow = |value: &str| terms.follow(&lookup(&[("cache-control", value)]), NOW);
    assert_eq!(follow("max-age=49"), None);
    assert_eq!(follow("min-fresh=51"), None);
    assert_eq!(follow("max-age=50, min-fresh=50"), Some(50));
}

#[test]
fn who_names_an_age_is_not_served_stale_while_another_is_fetched() {
    let terms = shared(verdict(&[(
        "cache-control",
        "max-age=10, stale-while-revalidate=60",
    )]))
    .terms;
    let hit = |value: &str| terms.hit(&lookup(&[("cache-control", value)]), NOW + 20_000);
    assert_eq!(hit("x"), Hit::ServeAndRefresh { age: 20 });
    assert_eq!(hit("max-age=30"), Hit::Revalidate);
    assert_eq!(hit("min-fresh=1"), Hit::Revalidate);
}

#[test]
fn what_is_stale_at_once_is_kept_where_it_is_of_use() {
    let kept = |fields: &[(&str, &str)]| matches!(verdict(fields), Verdict::Keep(_, Reason::Stale));
    assert!(kept(&[("cache-control", "max-age=0"), ("etag", "\"a\"")]));
    assert!(kept(&[("expires", "0"), ("last-modified", &at(-9))]));
    assert!(kept(&[(
        "cache-control",
        "max-age=0, stale-while-revalidate=5"
    )]));
    assert!(kept(&[("cache-control", "max-age=0, stale-if-error=5")]));
    assert!(!kept(&[("cache-control", "max-age=0")]));
}

#[test]
fn an_entry_is_kept_as_long_as_anything_allows_its_use() {
    let until = |fields: &[(&str, &str)]| shared(verdict(fields)).terms.keep_until() - NOW;
    assert_eq!(until(&[("cache-control", "max-age=10")]), 10_000);
    let stale = "max-age=10, stale-while-revalidate=5, stale-if-error=7";
    assert_eq!(until(&[("cache-control", stale)]), 17_000);
    assert_eq!(
        until(&[("cache-control", "max-age=10"), ("etag", "\"a\"")]),
        610_000
    );
    assert_eq!(
        until(&[("cache-control", "max-age=10"), ("age", "4")]),
        6_000
    );
}

#[test]
fn what_is_left_is_told_in_seconds() {
    let terms = shared(verdict(&[("cache-control", "max-age=10")])).terms;
    let ttl = |after| terms.ttl(NOW + after);
    assert_eq!(
        [ttl(0), ttl(9_001), ttl(10_000), ttl(12_500)],
        [10, 0, 0, -2]
    );
    assert_eq!(terms.expires_at(), NOW + 10_000);
}

proptest! {
    #[test]
    fn any_answer_is_judged_without_a_panic(
        status in 0_u16..1_100,
        control: Vec<u8>,
        expires: Vec<u8>,
        age: Vec<u8>,
        date: Vec<u8>,
        vary: Vec<u8>,
        now: u64,
    ) {
        let fields = Headers::from_pairs(&[
            (&b"cache-control"[..], control.as_slice()),
            (b"expires", &expires),
            (b"age", &age),
            (b"date", &date),
            (b"vary", &vary),
            (b"cdn-cache-control", &control),
        ]);
        let rule = Rule { targeted: vec!["cdn-cache-control".to_owned()], server_errors: true, ..Rule::default() };
        let head = Head { status, fields };
        if let Verdict::Share(share) | Verdict::Keep(share, _) = judge(&lookup(&[]), &head, &rule, now, now) {
            let _ = (share.terms.hit(&lookup(&[]), u64::MAX), share.terms.ttl(u64::MAX), share.terms.keep_until());
        }
    }

    #[test]
    fn any_request_is_admitted_or_not_without_a_panic(control: Vec<u8>, cookie: Vec<u8>, connection: Vec<u8>) {
        let request = Headers::from_pairs(&[
            (&b":method"[..], &b"GET"[..]),
            (b"cache-control", &control),
            (b"cookie", &cookie),
            (b"connection", &connection),
        ]);
        let _ = admission(&request, &Rule::default(), true);
    }

    /// Whoever waits gets what a hit would be, at every age.
    #[test]
    fn a_follower_gets_exactly_what_a_fresh_hit_is(lifetime in 0_u64..100, age in 0_u64..100, after in 0_u64..200_000, client in 0_u64..100) {
        let control = format!("max-age={lifetime}, stale-while-revalidate=50");
        let fields = [("cache-control", control.as_str()), ("age", &age.to_string())];
        let me = lookup(&[("cache-control", &format!("min-fresh={client}"))]);
        if let Verdict::Share(share) = verdict(&fields) {
            let hit = share.terms.hit(&me, NOW + after);
            let expected = match hit {
                Hit::Serve { age, stale: false } => Some(age),
                _ => None,
            };
            prop_assert_eq!(share.terms.follow(&me, NOW + after), expected);
        }
    }
}
