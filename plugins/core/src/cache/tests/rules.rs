//! The rules by which answers are shared, each by its number: the page on coalescing has the same list. Rule 8, whose an
//! answer is, is with the policy.

use super::*;

fn bypassed(method: &str, fields: &[(&str, &str)]) -> Option<Bypass> {
    match admission(&request(method, fields), &Rule::default(), true) {
        Admission::Bypass(reason) => Some(reason),
        _ => None,
    }
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn terms_of(fields: &[(&str, &str)]) -> Terms {
    shared(verdict(fields)).terms
}

#[test]
fn rule_1_only_get_leads_and_head_takes_what_a_get_got() {
    let get = lookup(&[]);
    assert!(get.leads && !get.head && get.join == Join::Any);
    let Admission::Lookup(head) = admission(&request("HEAD", &[]), &Rule::default(), true) else {
        panic!("HEAD is looked up");
    };
    assert!(!head.leads && head.head && head.join == Join::Any);
    for method in ["OPTIONS", "TRACE", "CONNECT"] {
        assert_eq!(bypassed(method, &[]), Some(Bypass::Method), "{method}");
    }
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "get", "", "QUERY",
    ] {
        let admitted = admission(&request(method, &[]), &Rule::default(), true);
        assert_eq!(admitted, Admission::Unsafe, "{method}");
    }
}

#[test]
fn rule_2_no_body_no_upgrade_no_range_no_store() {
    for (fields, reason) in [
        (&[("content-length", "1")][..], Bypass::Body),
        (&[("content-length", "00")], Bypass::Body),
        (&[("transfer-encoding", "chunked")], Bypass::Body),
        (&[("upgrade", "websocket")], Bypass::Upgrade),
        (&[("connection", "keep-alive, Upgrade")], Bypass::Upgrade),
        (&[(":protocol", "websocket")], Bypass::Upgrade),
        (&[("if-range", "\"a\"")], Bypass::Range),
        (&[("if-match", "\"a\"")], Bypass::Precondition),
        (&[("if-unmodified-since", "x")], Bypass::Precondition),
        (&[("cache-control", "no-store")], Bypass::NoStore),
        (
            &[("cache-control", "max-age=5, No-Store=1")],
            Bypass::NoStore,
        ),
    ] {
        assert_eq!(bypassed("GET", fields), Some(reason), "{fields:?}");
    }
    let more = admission(&get(&[]), &Rule::default(), false);
    assert_eq!(more, Admission::Bypass(Bypass::Body));
    assert_eq!(bypassed("GET", &[("content-length", "0")]), None);
    // A range may be cut out of what is stored, but neither waits for anything nor is waited for.
    let range = lookup(&[("range", "bytes=0-1")]);
    assert!(range.stored && !range.leads && range.join == Join::None);
    let ignoring = Rule {
        ignore_client: true,
        ..Rule::default()
    };
    let no_store = admission(&get(&[("cache-control", "no-store")]), &ignoring, true);
    assert_eq!(no_store, Admission::Bypass(Bypass::NoStore));
}

#[test]
fn rule_3_who_wants_it_new_gets_nothing_stored_and_joins_only_what_began_later() {
    for value in ["no-cache", "max-age=0", "max-age=5, no-cache", "max-age=x"] {
        let new = lookup(&[("cache-control", value)]);
        assert!(!new.stored && new.leads, "{value}");
        assert_eq!(new.join, Join::Newer, "{value}");
        assert_eq!(terms_of(&[FRESH]).hit(&new, NOW), Hit::Revalidate);
        // A flight that began later answers it, and what is stored never stands in.
        assert_eq!(terms_of(&[FRESH]).follow(&new, NOW), Some(0));
        assert_eq!(terms_of(&[FRESH]).on_error(&new, NOW), None);
    }
    let pragma = lookup(&[("pragma", "no-cache")]);
    assert_eq!(pragma.join, Join::Newer);
    let both = lookup(&[("pragma", "no-cache"), ("cache-control", "max-age=9")]);
    assert_eq!(both.join, Join::Any, "Cache-Control counts where it is");
    let ignoring = Rule {
        ignore_client: true,
        ..Rule::default()
    };
    let ignored = lookup_by(&[("cache-control", "no-cache")], &ignoring);
    assert!(ignored.stored && ignored.join == Join::Any);
}

#[test]
fn rule_4_only_if_cached_never_leads_nor_waits() {
    let only = lookup(&[("cache-control", "only-if-cached")]);
    assert!(only.only_if_cached && only.stored && !only.leads);
    assert_eq!(only.join, Join::None);
}

#[test]
fn rule_5_authorization_needs_the_policy_and_the_answer() {
    let credentials = [("authorization", "Bearer x")];
    assert_eq!(bypassed("GET", &credentials), Some(Bypass::Authorization));
    let rule = Rule {
        authorization: true,
        ..Rule::default()
    };
    let theirs = lookup_by(&credentials, &rule);
    let judged = |value: &str, rule: &Rule| {
        judge(
            &theirs,
            &answer(200, &[("cache-control", value)]),
            rule,
            NOW,
            NOW,
        )
    };
    for value in [
        "max-age=60, public",
        "s-maxage=60",
        "max-age=60, must-revalidate",
    ] {
        let terms = shared(judged(value, &rule)).terms;
        assert_eq!(terms.follow(&theirs, NOW), Some(0), "{value}");
        assert_eq!(
            refused(judged(value, &Rule::default())),
            Reason::Authorization
        );
    }
    for value in [
        "max-age=60",
        "max-age=60, public=1",
        "max-age=60, proxy-revalidate",
    ] {
        assert_eq!(
            refused(judged(value, &rule)),
            Reason::Authorization,
            "{value}"
        );
    }
    // Nor does it get, with its credentials, what another got without.
    let plain = terms_of(&[FRESH]);
    assert_eq!(plain.hit(&theirs, NOW), Hit::Never);
    assert_eq!(plain.follow(&theirs, NOW), None);
    assert_eq!(plain.on_error(&theirs, NOW), None);
}

#[test]
fn rule_6_cookies_pass_only_if_each_is_known_to_change_nothing() {
    assert_eq!(bypassed("GET", &[("cookie", "a=b")]), Some(Bypass::Cookie));
    let rule = Rule {
        cookies: vec!["_ga".to_owned(), "_gid".to_owned()],
        ..Rule::default()
    };
    for (lines, passes) in [
        (&["_ga=1"][..], true),
        (&["_ga=1; _gid=2"], true),
        (&["_ga=1;_gid=2;"], true),
        (&["_ga=1", "_gid=2"], true),
        (&["_ga=1; sid=2"], false),
        (&["_ga=1", "sid=2"], false),
        (&["_GA=1"], false),
        (&["_ga"], false),
        (&["_ga=1; sid"], false),
        (&["_gat=1"], false),
    ] {
        let fields: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
        let admitted = admission(&get(&fields), &rule, true);
        assert_eq!(
            matches!(admitted, Admission::Lookup(_)),
            passes,
            "{lines:?}"
        );
    }
}

#[test]
fn rule_7_scheme_authority_path_and_query_tell_answers_apart() {
    let key = |fields: [(&str, &str); 3]| {
        let [_, _, (_, path)] = fields;
        uri_key(
            &Headers::from_pairs(&fields),
            path.as_bytes(),
            &Query::default(),
        )
    };
    let of = |scheme, host, path| key([(":scheme", scheme), (":authority", host), (":path", path)]);
    let all = [
        of("http", "a.example", "/x"),
        of("https", "a.example", "/x"),
        of("http", "b.example", "/x"),
        of("http", "a.example:8080", "/x"),
        of("http", "a.example", "/X"),
        of("http", "a.example", "/x?"),
        of("http", "a.example", "/x?a=1&b=2"),
        of("http", "a.example", "/x?b=2&a=1"),
        of("http", "a.example", "/x?a=1&b=2&utm_source=x"),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(
            !all.iter().skip(index + 1).any(|other| other == one),
            "{index}"
        );
    }
    assert_eq!(
        of("http", "A.example:80", "/x"),
        of("http", "a.example", "/x")
    );
    assert_eq!(
        of("https", "a.example:443", "/x"),
        of("https", "a.example", "/x")
    );
    assert_ne!(
        of("https", "a.example:80", "/x"),
        of("https", "a.example", "/x")
    );
}

#[test]
fn rule_9_partial_and_not_modified_answers_never() {
    let judged = |status| verdict_by(&Rule::default(), status, &[FRESH]);
    assert_eq!(refused(judged(206)), Reason::Partial);
    assert_eq!(refused(judged(304)), Reason::NotModified);
    for status in [100, 103, 199, 600, 999] {
        assert!(matches!(judged(status), Verdict::Refuse(_)), "{status}");
    }
    for status in [
        200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499,
    ] {
        assert!(matches!(judged(status), Verdict::Share(_)), "{status}");
    }
    let understood = [("cache-control", "max-age=60, no-store, must-understand")];
    assert!(is_shared(&understood));
    for status in [299, 499] {
        let judged = verdict_by(&Rule::default(), status, &understood);
        assert_eq!(refused(judged), Reason::NotUnderstood, "{status}");
    }
}

#[test]
fn rule_10_no_store_and_private_never() {
    for (value, reason) in [
        ("no-store", Reason::NoStore),
        ("No-StOrE", Reason::NoStore),
        ("max-age=10000, no-store", Reason::NoStore),
        ("max-age=60, no-store=x", Reason::NoStore),
        ("no-store , max-age=60", Reason::NoStore),
        ("private, max-age=3600", Reason::Private),
        ("PRIVATE, max-age=3600", Reason::Private),
        ("private=, max-age=3600", Reason::Private),
        ("private=\"\", max-age=3600", Reason::Private),
        ("private=\"a b\", max-age=3600", Reason::Private),
        ("public, private, max-age=3600", Reason::Private),
        // Slips: what was meant to restrict does.
        ("private; max-age=60", Reason::Private),
        ("max-age=60 private", Reason::Private),
        ("max-age=60, \"private\"", Reason::Private),
        ("max-age=60, ext=\"a, private", Reason::Private),
        ("max-age=60; no-store", Reason::NoStore),
        ("max-age=60, ext=\"C:\\\", no-store", Reason::NoStore),
    ] {
        assert_eq!(
            refused(verdict(&[("cache-control", value)])),
            reason,
            "{value}"
        );
    }
    let second = [FRESH, ("cache-control", "no-store")];
    assert_eq!(refused(verdict(&second)), Reason::NoStore);
    // In a string it is no directive.
    assert!(is_shared(&[(
        "cache-control",
        "max-age=60, note=\"no-store, private\""
    )]));
}

#[test]
fn rule_11_no_cache_is_for_nobody_who_waits() {
    let fields = [("cache-control", "no-cache, max-age=60"), ("etag", "\"a\"")];
    let Verdict::Keep(share, Reason::NoCache) = verdict(&fields) else {
        panic!("kept to be revalidated");
    };
    assert_eq!(share.terms.follow(&lookup(&[]), NOW), None);
    assert_eq!(share.terms.hit(&lookup(&[]), NOW), Hit::Revalidate);
    assert_eq!(share.terms.on_error(&lookup(&[]), NOW), None);
    let plain = verdict(&[("cache-control", "no-cache, max-age=60")]);
    assert_eq!(refused(plain), Reason::NoCache);
}

#[test]
fn rule_12_set_cookie_never() {
    for value in ["a=b", ""] {
        let judged = verdict(&[FRESH, ("set-cookie", value)]);
        assert_eq!(refused(judged), Reason::SetCookie);
    }
    let limited = [
        ("cache-control", "max-age=60, no-cache=\"set-cookie\""),
        ("set-cookie", "a=b"),
    ];
    assert_eq!(refused(verdict(&limited)), Reason::SetCookie);
}

#[test]
fn rule_13_vary_star_never() {
    for lines in [
        &["*"][..],
        &["*, *"],
        &["*", "*"],
        &[", *"],
        &["", "*"],
        &["*, foo"],
        &["foo, *"],
        // What is no name of a field may mean any.
        &["*;q=1"],
        &["x-user;q=1"],
        &["\"x-user\""],
        &["accept-encoding x-user"],
    ] {
        let mut fields = vec![FRESH];
        fields.extend(lines.iter().map(|line| ("vary", *line)));
        assert_eq!(refused(verdict(&fields)), Reason::Vary, "{lines:?}");
    }
    let many = (0..17)
        .map(|n| format!("x-{n}"))
        .collect::<Vec<_>>()
        .join(",");
    assert_eq!(refused(verdict(&[FRESH, ("vary", &many)])), Reason::Vary);
}

#[test]
fn rule_14_freshness_is_explicit_or_the_policys() {
    assert_eq!(refused(verdict(&[])), Reason::NoFreshness);
    let heuristic = [("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")];
    assert_eq!(refused(verdict(&heuristic)), Reason::NoFreshness);
    let rule = Rule {
        ttl: vec![Ttl {
            first: 200,
            last: 299,
            lifetime: 5_000,
        }],
        ..Rule::default()
    };
    let share = shared(verdict_by(&rule, 200, &[]));
    assert_eq!(share.terms.lifetime, 5_000);
    // What the answer says goes before, also when it says "none" badly.
    assert_eq!(
        shared(verdict_by(&rule, 200, &[FRESH])).terms.lifetime,
        60_000
    );
    for value in ["max-age=0", "max-age=x", "max-age"] {
        let judged = verdict_by(&rule, 200, &[("cache-control", value)]);
        assert_eq!(refused(judged), Reason::Stale, "{value}");
    }
    assert_eq!(
        refused(verdict_by(&rule, 200, &[("expires", "0")])),
        Reason::Stale
    );
    assert_eq!(refused(verdict_by(&rule, 404, &[])), Reason::NoFreshness);
}

#[test]
fn rule_15_a_body_is_all_there_or_not_shared() {
    let fields = |pairs: &[(&str, &str)]| Headers::from_pairs(pairs);
    assert!(is_complete(&fields(&[("content-length", "3")]), 3));
    assert!(is_complete(&fields(&[]), 3));
    for (length, body) in [
        ("3", 2),
        ("3", 4),
        ("x", 3),
        ("-3", 3),
        ("3, 3", 3),
        ("", 0),
    ] {
        assert!(
            !is_complete(&fields(&[("content-length", length)]), body),
            "{length}"
        );
    }
    let two = fields(&[("content-length", "3"), ("content-length", "4")]);
    assert!(!is_complete(&two, 3));
}

#[test]
fn rule_16_only_what_is_fresh_is_handed_over_and_it_has_its_age() {
    let terms = terms_of(&[FRESH, ("age", "30")]);
    let me = lookup(&[]);
    assert_eq!(terms.follow(&me, NOW), Some(30));
    assert_eq!(terms.follow(&me, NOW + 29_999), Some(59));
    assert_eq!(terms.follow(&me, NOW + 30_000), None);
    let hit = Hit::Serve {
        age: 59,
        stale: false,
    };
    assert_eq!(terms.hit(&me, NOW + 29_999), hit);
    assert_eq!(terms.hit(&me, NOW + 30_000), Hit::Revalidate);
    assert_eq!(refused(verdict(&[FRESH, ("age", "60")])), Reason::Stale);
}

#[test]
fn rule_17_stale_only_where_it_is_allowed() {
    let rule = Rule {
        stale_while_revalidate: 10_000,
        stale_if_error: 20_000,
        ..Rule::default()
    };
    let terms = |value: &str| {
        let judged = verdict_by(&rule, 200, &[("cache-control", value), ("etag", "\"a\"")]);
        match judged {
            Verdict::Share(share) | Verdict::Keep(share, _) => share.terms,
            Verdict::Refuse(reason) => panic!("{value}: {reason:?}"),
        }
    };
    let me = lookup(&[]);
    let later = NOW + 61_000;
    let ours = terms("max-age=60");
    assert_eq!(ours.hit(&me, later), Hit::ServeAndRefresh { age: 61 });
    assert_eq!(ours.hit(&me, NOW + 70_000), Hit::Revalidate);
    assert_eq!(ours.on_error(&me, NOW + 79_999), Some(79));
    assert_eq!(ours.on_error(&me, NOW + 80_000), None);
    // The answer's own word goes before the policy's.
    let own = terms("max-age=60, stale-while-revalidate=1, stale-if-error=0");
    assert_eq!(own.hit(&me, NOW + 60_999), Hit::ServeAndRefresh { age: 60 });
    assert_eq!(own.hit(&me, NOW + 61_000), Hit::Revalidate);
    assert_eq!(own.on_error(&me, NOW + 60_000), None);
    let willing = lookup(&[("cache-control", "max-stale")]);
    for forbidden in [
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=60",
        "no-cache",
    ] {
        let value =
            format!("max-age=60, {forbidden}, stale-while-revalidate=99, stale-if-error=99");
        let never = terms(&value);
        assert_eq!(never.hit(&me, later), Hit::Revalidate, "{forbidden}");
        assert_eq!(never.hit(&willing, later), Hit::Revalidate, "{forbidden}");
        assert_eq!(never.on_error(&me, later), None, "{forbidden}");
    }
    // Nobody who waits is handed anything stale.
    assert_eq!(ours.follow(&me, later), None);
    assert_eq!(ours.follow(&willing, later), None);
}

#[test]
fn rule_18_a_failure_is_shared_only_by_opting_in() {
    let strict = Rule::default();
    for fields in [
        &[FRESH][..],
        &[],
        &[("cache-control", "no-store")],
        &[("set-cookie", "a")],
    ] {
        for status in [500, 501, 502, 503, 504, 599] {
            let reason = refused(verdict_by(&strict, status, fields));
            assert_eq!(reason, Reason::ServerError, "{status} {fields:?}");
            assert!(
                !reason.lasts(),
                "not a reason to stop waiting for each other"
            );
        }
    }
    let open = Rule {
        server_errors: true,
        ..Rule::default()
    };
    shared(verdict_by(&open, 503, &[FRESH]));
    assert_eq!(refused(verdict_by(&open, 503, &[])), Reason::ServerError);
    let listed = Rule {
        ttl: vec![Ttl {
            first: 503,
            last: 503,
            lifetime: 1_000,
        }],
        ..Rule::default()
    };
    assert_eq!(shared(verdict_by(&listed, 503, &[])).terms.lifetime, 1_000);
    assert_eq!(refused(verdict_by(&listed, 500, &[])), Reason::ServerError);
    for status in [408, 425, 429] {
        let reason = refused(verdict(&[("cache-control", "no-store")]));
        assert!(reason.lasts(), "{reason:?}");
        let reason = refused(verdict_by(&strict, status, &[]));
        assert_eq!((reason, reason.lasts()), (Reason::TryAgain, false));
        shared(verdict_by(&strict, status, &[FRESH]));
    }
    let failures = (200..600).filter(|status| is_failure(*status));
    assert_eq!(failures.collect::<Vec<_>>(), [500, 502, 503, 504]);
}

#[test]
fn rule_19_what_is_never_shared_is_not_waited_for() {
    for fields in [
        &[][..],
        &[("cache-control", "no-store")],
        &[("cache-control", "private")],
        &[("cache-control", "max-age=0")],
        &[FRESH, ("set-cookie", "a=b")],
        &[FRESH, ("vary", "*")],
        &[FRESH, ("content-type", "Text/Event-Stream; charset=utf-8")],
    ] {
        assert!(refused(verdict(fields)).lasts(), "{fields:?}");
    }
}
