//! The public tests of HTTP caches: what of them passes with the filter, and that it takes nothing away.

use std::collections::BTreeMap;
use std::thread;

use host_tests::cache_tests::{self, Kind, Origin, Report};
use host_tests::coalesce::{assert_sound, gateway};
use host_tests::config::Config;
use host_tests::gateway::Gateway;
use serde_json::json;

/// The tests that a cache is held to and that fail, with why. `docs/coalesce.md` says so too.
const FAILING: &[(&str, &str)] = &[
    // RFC 9111 (2022) is younger than this edition: an Age that is no number is ignored, and of several the first counts.
    ("age-parse-dup-0", RFC_9111),
    ("age-parse-dup-0-twoline", RFC_9111),
    ("age-parse-dup-old", RFC_9111),
    ("age-parse-float", RFC_9111),
    ("age-parse-negative", RFC_9111),
    ("age-parse-nonnumeric", RFC_9111),
    ("age-parse-prefix-twoline", RFC_9111),
    // A 304 replaces every field of what is stored but a few, and these are not among the few.
    ("304-etag-update-response-Content-MD5", RFC_9111),
    ("304-etag-update-response-ETag", RFC_9111),
    ("304-etag-update-response-Set-Cookie", SET_COOKIE),
    ("headers-store-Set-Cookie", SET_COOKIE),
    ("stale-close-must-revalidate", NO_NUMBER),
    ("stale-close-no-cache", NO_NUMBER),
    ("stale-close-proxy-revalidate", NO_NUMBER),
    ("stale-close-s-maxage=2", NO_NUMBER),
    (
        "freshness-max-age-s-maxage-shared-longer-multiple",
        "Envoy joins the lines of a field without a space",
    ),
    (
        "headers-store-Transfer-Encoding",
        "Envoy refuses a transfer coding that it does not know",
    ),
    (
        "surrogate-fresh-cc-nostore",
        "the field's syntax is not that of RFC 9213, so it is ignored, and no-store counts",
    ),
];
const RFC_9111: &str = "RFC 9111 says otherwise";
const SET_COOKIE: &str = "answers that set a cookie are never stored";
const NO_NUMBER: &str =
    "the gateway's own 502 has no number, which the test takes for a stored answer";

/// Fewer must not pass.
const PASSING: usize = 147;

fn failing(report: &Report) -> BTreeMap<&str, &str> {
    let required = report
        .iter()
        .filter(|(_, outcome)| outcome.kind == Kind::Required && !outcome.passed);
    required
        .map(|(name, outcome)| (name.as_str(), outcome.reason.as_deref().unwrap_or_default()))
        .collect()
}

/// Envoy refuses methods that it does not know, unless it is told otherwise.
fn any_method(config: &mut Config) {
    let manager = &mut config.listener("gateway")["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_protocol_options"] = json!({"allow_custom_methods": true});
}

fn passed(report: &Report, kind: Kind) -> (usize, usize) {
    let of_kind = report.values().filter(|outcome| outcome.kind == kind);
    let passed = of_kind.clone().filter(|outcome| outcome.passed);
    (passed.count(), of_kind.count())
}

#[test]
fn what_is_required_of_caches_is_kept() {
    let origin = Origin::start();
    // What the suite asks of a cache that serves many: a cache of the operator's own, which an answer may address, and
    // that may use what errors and credentials are allowed to be used for.
    let route = json!({
        "targeted": ["surrogate-control"],
        "authorization": "if_allowed",
        "share_server_errors": true,
        "stale_if_error": "1m",
        "refresh": {"cluster": "origin"},
    });
    let cached = gateway(origin.address(), route).edit(any_method).start();
    let address = origin.address();
    let plain = Gateway::builder()
        .wasm("noop")
        .edit(move |config| {
            config.endpoints("origin", &[address]);
            let filter = config.filter().as_object_mut().expect("an object");
            filter.remove("configuration");
            any_method(config);
        })
        .start();
    let (with, without) = thread::scope(|scope| {
        let with = scope.spawn(|| cache_tests::run(&cached.url()));
        let without = cache_tests::run(&plain.url());
        (with.join().expect("the tests run"), without)
    });
    for kind in [Kind::Required, Kind::Optimal, Kind::Check] {
        let (passed, all) = passed(&with, kind);
        println!("{kind:?}: {passed} of {all} pass");
    }
    let (failed, lost) = (failing(&with), failing(&without));
    let known: BTreeMap<_, _> = FAILING.iter().copied().collect();
    let unknown: Vec<_> = failed
        .iter()
        .filter(|(name, _)| !known.contains_key(*name))
        .collect();
    assert!(unknown.is_empty(), "fail, and are not listed: {unknown:#?}");
    let lost: Vec<_> = failed
        .keys()
        .filter(|name| !lost.contains_key(*name))
        .collect();
    assert!(lost.is_empty(), "pass without the filter only: {lost:#?}");
    let (passed, all) = passed(&with, Kind::Required);
    assert!(passed >= PASSING, "{passed} of {all} pass");
    assert_sound(&cached);
}
