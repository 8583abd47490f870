//! The scenarios: each starts what it needs, and holds what it sees to what was promised.

use std::time::Duration;

use host_tests::gateway::{Gateway, Route};
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::{Value, json};

use crate::report::Report;
use crate::traffic::{flood, flood_with, script_calls};

pub fn run(report: &mut Report) {
    one_gateway(report);
    two_gateways(report);
    leases(report);
    all_or_none(report);
    redis_fails(report);
}

/// How long the gateways of most scenarios wait for Redis: long, since none of these is about waiting.
const PATIENT: &str = "2s";
/// And in the scenario that is. The filter looks at its deadlines every quarter of it.
const TIMEOUT: Duration = Duration::from_millis(200);
const TICK: Duration = Duration::from_millis(50);
/// A machine that is busy with other things gets this much on top.
const SLACK: Duration = Duration::from_millis(500);

const API_KEY: [(&str, &str); 1] = [("x-api-key", "8e03978e")];

fn policy(limits: &[&str], redis: Option<Value>) -> Value {
    let limits: Vec<Value> = limits
        .iter()
        .map(|limit| serde_json::from_str(limit).expect("the demo's limits are JSON"))
        .collect();
    match redis {
        None => json!({"limits": limits}),
        Some(redis) => json!({"limits": limits, "redis": redis}),
    }
}

/// A gateway with one worker that reaches Redis directly.
fn sharing(redis: &Redis, limits: &[&str], settings: Value) -> Gateway {
    Gateway::builder()
        .route(Route::Direct)
        .redis(redis)
        .policy(policy(limits, Some(settings)))
        .start()
}

fn settings() -> Value {
    json!({"cluster": "sluice-redis", "timeout": PATIENT})
}

fn one_gateway(report: &mut Report) {
    let limit = r#"{"name": "per-client", "key": ["client_ip"], "rate": "100/day"}"#;
    report.scenario(
        "One Envoy with four workers: 300 requests at once",
        &[limit],
    );
    let gateway = Gateway::builder()
        .workers(4)
        .policy(policy(&[limit], None))
        .start();
    let outcome = flood(&[&gateway], 30, 10, "/", &[]);
    report.note("answers", outcome.summary());
    report.equal("exactly 100 of 300 pass", outcome.passed(), 100);
    report.equal(
        "the other 200 are answered 429",
        outcome.with_status(429),
        200,
    );
    report.equal("the origin saw 100", gateway.origin().hits("/"), 100);
    let connections: Vec<u64> = (0..4)
        .map(|worker| {
            let port = gateway.address().port();
            let name = format!("listener.127.0.0.1_{port}.worker_{worker}.downstream_cx_total");
            gateway.envoy().stat(&name)
        })
        .collect();
    report.holds(
        format!("several workers took part: they had {connections:?} connections"),
        connections.iter().filter(|count| **count > 0).count() > 1,
        "connections at two workers or more",
        format!("{connections:?}"),
    );
    one_denial(report, &gateway);
}

/// The answer to a request over the limit, as its client sees it.
fn one_denial(report: &mut Report, gateway: &Gateway) {
    let answer = gateway.get("/", &[]);
    println!("\n            HTTP/1.1 {}", answer.status);
    for (name, value) in &answer.headers {
        println!("            {name}: {}", String::from_utf8_lossy(value));
    }
    println!("\n            {}\n", answer.text());
    let header = |name| answer.header(name).unwrap_or_default();
    report.equal(
        "RateLimit says that nothing is left, and when the next token comes",
        header("ratelimit").split(";t=").next(),
        Some("\"per-client\";r=0"),
    );
    report.equal(
        "RateLimit-Policy says what the limit is",
        header("ratelimit-policy").as_str(),
        "\"per-client\";q=100;w=86400",
    );
    // A token comes back every 864 s; some seconds of them have gone.
    let after = header("retry-after").parse().unwrap_or(0);
    report.holds(
        format!("Retry-After is the time until then: {after} s"),
        (800..=864).contains(&after),
        "800 to 864",
        after,
    );
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    report.equal(
        "the body is a problem document that names the limit",
        (
            header("content-type").as_str(),
            &problem["violated-policies"],
        ),
        ("application/problem+json", &json!(["per-client"])),
    );
}

fn two_gateways(report: &mut Report) {
    let limit = r#"{"name": "per-key", "key": [{"header": "x-api-key"}], "rate": "100/day", "mode": "strict"}"#;
    report.scenario(
        "Two Envoys, one Redis, mode strict: 150 POST requests to each at once",
        &[limit],
    );
    let redis = Redis::start();
    let [one, two] = [(); 2].map(|()| sharing(&redis, &[limit], settings()));
    let post = ("POST", "/orders");
    let outcome = flood_with(&[&one, &two], 15, 10, post, &API_KEY, &[b'x'; 1000]);
    report.note("answers", outcome.summary());
    report.equal("exactly 100 of 300 pass", outcome.passed(), 100);
    // A body must not take its request past a filter that still waits for Redis.
    report.equal(
        "the origins saw 100",
        one.origin().hits("/orders") + two.origin().hits("/orders"),
        100,
    );
    report.equal(
        "the other 200 are answered 429",
        outcome.with_status(429),
        200,
    );
    let keys: Vec<String> = redis.query(&["KEYS", "*"]);
    report.note("key", keys.join(", "));
    report.equal("Redis holds one key for the client", keys.len(), 1);
}

fn leases(report: &mut Report) {
    const HOT: &str = "/hot";
    let strict = r#"{"name": "hot", "key": [{"header": "x-api-key"}], "rate": "1000/day", "mode": "strict"}"#;
    let leased = r#"{"name": "hot", "key": [{"header": "x-api-key"}], "rate": "1000/day", "mode": "leased", "lease": {"tokens": 100}}"#;
    report.scenario(
        "The same with mode leased: a hot key, 1500 requests to each of two Envoys",
        &[strict, leased],
    );
    let [by_strict, by_leased] = [strict, leased].map(|limit| {
        let redis = Redis::start();
        let [one, two] = [(); 2].map(|()| sharing(&redis, &[limit], settings()));
        let outcome = flood(&[&one, &two], 15, 100, HOT, &API_KEY);
        (outcome.passed(), script_calls(&redis))
    });
    report.note(
        "strict",
        format!("{} pass; Redis ran {} scripts", by_strict.0, by_strict.1),
    );
    report.note(
        "leased",
        format!("{} pass; Redis ran {} scripts", by_leased.0, by_leased.1),
    );
    report.equal("strict passes exactly 1000", by_strict.0, 1000);
    report.equal(
        "leased passes 900: the burst less one lease, never more than the rate",
        by_leased.0,
        900,
    );
    report.holds(
        "leased asks Redis less than a tenth as often",
        by_strict.1 >= 1000 && by_leased.1 > 0 && by_leased.1 * 10 < by_strict.1,
        "over 1000 scripts by strict, and less than a tenth of that by leased",
        format!("{} and {}", by_strict.1, by_leased.1),
    );
}

fn all_or_none(report: &mut Report) {
    let both = [
        r#"{"name": "tenant", "match": {"path": {"prefix": "/both"}}, "key": [{"header": "x-tenant"}], "rate": "10/day", "mode": "strict"}"#,
        r#"{"name": "user", "match": {"path": {"prefix": "/both"}}, "key": [{"header": "x-user"}], "rate": "15/day", "mode": "strict"}"#,
    ];
    let mixed = [
        r#"{"name": "tenant-2", "match": {"path": {"prefix": "/mixed"}}, "key": [{"header": "x-tenant"}], "rate": "10/day", "mode": "strict"}"#,
        r#"{"name": "user-2", "match": {"path": {"prefix": "/mixed"}}, "key": [{"header": "x-user"}], "rate": "15/day", "mode": "local"}"#,
    ];
    let limits = [both, mixed].concat();
    report.scenario(
        "Two limits on one request (both in Redis, then one in Envoy): a denial charges neither",
        &limits,
    );
    let redis = Redis::start();
    let gateway = sharing(&redis, &limits, settings());
    for (path, label) in [("/both", "both"), ("/mixed", "mixed")] {
        // Four at once: with the ten that pass they stay below the user's limit.
        let acme = [("x-tenant", "acme"), ("x-user", "alice")];
        let first = flood(&[&gateway], 4, 15, path, &acme);
        let other = [("x-tenant", "other"), ("x-user", "alice")];
        let second = flood(&[&gateway], 4, 5, path, &other);
        report.note(
            label,
            format!(
                "alice at acme: {}; then at another tenant: {}",
                first.summary(),
                second.summary()
            ),
        );
        report.equal("the tenant's limit lets 10 of 60 pass", first.passed(), 10);
        report.equal(
            "alice, charged for these 10 only, has 5 of her 15 left",
            second.passed(),
            5,
        );
    }
}

fn redis_fails(report: &mut Report) {
    let limit = r#"{"name": "per-key", "key": [{"header": "x-api-key"}], "rate": "100/day", "mode": "strict"}"#;
    report.scenario(
        "Redis freezes, dies and comes back: each of two Envoys goes on with half of the rate",
        &[limit],
    );
    let mut redis = Redis::start();
    let settings = json!({
        "cluster": "sluice-redis",
        "timeout": "200ms",
        "breaker": {"failures": 3, "open_for": "1s"},
        "on_error": {"local": {"fraction": 0.5}},
    });
    report.note("redis", &settings);
    let gateways = [(); 2].map(|()| sharing(&redis, &[limit], settings.clone()));
    let [one, two] = [&gateways[0], &gateways[1]];
    let mut asked = 0;

    redis.pause();
    let frozen = flood(&[one, two], 10, 10, "/frozen", &[("x-api-key", "frozen")]);
    asked += 100;
    report.note("frozen", frozen.summary());
    report.equal(
        "each Envoy passes 50 of 100 by itself",
        reached(&gateways, "/frozen"),
        [50, 50],
    );
    let most = TIMEOUT + TICK + SLACK;
    report.holds(
        format!(
            "no client waits much longer than the timeout of {TIMEOUT:?}: at most {:?}",
            rounded(frozen.slowest)
        ),
        frozen.slowest >= TIMEOUT && frozen.slowest < most,
        format!("{TIMEOUT:?} to {most:?}"),
        format!("{:?}", frozen.slowest),
    );
    report.equal("the breakers are open", breakers(&gateways, 1), [1, 1]);

    redis.kill();
    let dead = flood(&[one, two], 10, 10, "/dead", &[("x-api-key", "dead")]);
    asked += 100;
    report.note("dead", dead.summary());
    report.equal(
        "each Envoy passes 50 of 100",
        reached(&gateways, "/dead"),
        [50, 50],
    );
    report.holds(
        format!(
            "nobody waits for a Redis that is left alone: at most {:?}",
            rounded(dead.slowest)
        ),
        dead.slowest < TIMEOUT,
        format!("less than {TIMEOUT:?}"),
        format!("{:?}", dead.slowest),
    );

    redis.restart();
    // One request a second tries Redis again.
    let back = wait::poll(wait::PATIENCE, || {
        for gateway in &gateways {
            let _ = gateway.get("/probe", &[("x-api-key", "probe")]);
        }
        asked += 1;
        (breakers(&gateways, 0) == [0, 0]).then_some(())
    });
    report.holds(
        "Redis is back, the breakers close",
        back.is_some(),
        "closed",
        "open",
    );
    let shared = flood(&[one, two], 10, 15, "/back", &[("x-api-key", "back")]);
    asked += 150;
    report.note("back", shared.summary());
    report.equal(
        "the limit is shared again: exactly 100 of 300 pass",
        shared.passed(),
        100,
    );
    metrics(report, one, asked);
}

/// How many requests each gateway let through to its origin.
fn reached(gateways: &[Gateway; 2], path: &str) -> [usize; 2] {
    gateways
        .each_ref()
        .map(|gateway| gateway.origin().hits(path))
}

fn rounded(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis().try_into().unwrap_or(u64::MAX))
}

/// How many workers of each gateway have an open breaker, once that is `expected` or has had the time to be. The
/// filter tells its counts to Envoy by the tick.
fn breakers(gateways: &[Gateway; 2], expected: u64) -> [u64; 2] {
    let read = || {
        gateways.each_ref().map(|gateway| {
            let name = "wasmcustom.sluice_rate_limit.redis.breaker_open";
            gateway.envoy().stat(name)
        })
    };
    wait::poll(TICK * 4, || {
        let now = read();
        (now == [expected; 2]).then_some(now)
    })
    .unwrap_or_else(read)
}

/// What an operator sees of all that.
fn metrics(report: &mut Report, gateway: &Gateway, asked: u64) {
    report.scenario("The first of these Envoys, as Prometheus sees it", &[]);
    let count = |outcome: &str| {
        let name = format!("wasmcustom.sluice_rate_limit.limit.per-key.outcome.{outcome}");
        gateway.envoy().stat(&name)
    };
    // The last counts come with the next tick.
    let all = || count("allowed") + count("denied");
    wait::poll(TICK * 4, || (all() == asked).then_some(()));
    let text = gateway.envoy().prometheus();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains("sluice_rate_limit"))
        .filter(|line| !line.ends_with(" 0") && !line.contains("_bucket{"))
        .collect();
    for line in &lines {
        println!("   {line}");
    }
    println!();
    report.equal(
        "every request of the last scenario is counted once, as allowed or as denied",
        all(),
        asked,
    );
    report.holds(
        "limits and outcomes are labels",
        lines.iter().any(|line| {
            line.contains("sluice_limit=\"per-key\"") && line.contains("sluice_outcome=\"denied\"")
        }),
        "sluice_limit and sluice_outcome",
        "a line without them",
    );
    let degraded = gateway
        .envoy()
        .stat("wasmcustom.sluice_rate_limit.limit.per-key.degraded");
    report.holds(
        format!("{degraded} were decided without Redis"),
        (200..asked - 150).contains(&degraded),
        format!("200 to {}", asked - 150),
        degraded,
    );
}
