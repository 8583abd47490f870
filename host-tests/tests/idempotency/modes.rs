//! What a policy can change: when an answer is given, whether anything is touched at all, which answers count, and who
//! hears of them.

use std::io::Write;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use host_tests::client::Response;
use host_tests::config::Config;
use host_tests::gateway::{Gateway, Route};
use host_tests::idempotency::{
    ACCOUNT, Gate, Service, assert_replay, brisk, count, event, gateway, made, pay, policy,
    records, told, until_event,
};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::{Value, json};

fn charge(number: usize) -> (u16, String) {
    (201, format!("charge {number}\n"))
}

/// As in a gateway that cannot hold headers.
fn without_stop_iteration(config: &mut Config) {
    let filter = config.filter().as_object_mut();
    let flag = filter
        .expect("an object")
        .remove("allow_on_headers_stop_iteration");
    assert_eq!(flag, Some(true.into()));
}

fn before_end(mut policy: Value) -> Value {
    policy["commit_order"] = "before_end".into();
    policy
}

#[test]
fn a_gateway_that_cannot_hold_headers_holds_the_end_of_the_answer() {
    let redis = Redis::start();
    let gate = Gate::closed();
    let theirs = gate.clone();
    let service = Service::start(move |_, number, stream| {
        if number > 1 {
            theirs.pass();
        }
        made(stream, number)
    });
    let gateway = gateway(service.address(), before_end(policy(brisk(), json!({}))))
        .redis(&redis)
        .edit(without_stop_iteration)
        .start();
    let first = pay(&gateway, "k", b"a=1").unwrap();
    assert_eq!(told(&first), charge(1));
    assert_replay(&pay(&gateway, "k", b"a=1").unwrap(), &first);
    let fence = service.executions()[0].header("idempotency-fence");
    assert!(fence.is_some());
    // What cannot be stored must not look whole.
    thread::scope(|scope| {
        let second = scope.spawn(|| pay(&gateway, "lost", b"a=1"));
        wait::until("the second to run", || service.count() == 2);
        let _ = redis.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
        gate.open();
        let second = second.join().unwrap();
        assert!(second.is_err(), "{second:?}");
    });
    let _ = redis.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    // It has been kept meanwhile.
    until_event(&gateway, "recorded_late", 1);
    assert_eq!(told(&pay(&gateway, "lost", b"a=1").unwrap()), charge(2));
    assert_eq!(service.count(), 2);
    assert_sound(&gateway);
}

#[test]
fn of_five_at_once_one_is_carried_out_where_headers_cannot_be_held() {
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let gateway = gateway(
        service.address(),
        before_end(policy(json!({}), json!({"wait": "15s"}))),
    )
    .redis(&redis)
    .edit(without_stop_iteration)
    .start();
    thread::scope(|scope| {
        let all: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| pay(&gateway, "k", b"amount=1").unwrap()))
            .collect();
        until_event(&gateway, "waited", 4);
        gate.open();
        for one in all {
            assert_eq!(told(&one.join().unwrap()), charge(1));
        }
    });
    assert_eq!(service.count(), 1);
    until_event(&gateway, "replayed", 4);
    assert_sound(&gateway);
}

#[test]
fn a_dry_run_counts_and_touches_nothing() {
    let redis = Redis::start();
    let service = Service::counting();
    let gateway = gateway(
        service.address(),
        policy(json!({}), json!({"dry_run": true})),
    )
    .redis(&redis)
    .start();
    let answers: Vec<Response> = [b"a=1", b"a=1", b"a=2"]
        .map(|body| pay(&gateway, "k", body).unwrap())
        .into();
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(told(answer), charge(number + 1));
        assert_eq!(answer.header("idempotency-replayed"), None);
    }
    let unkeyed = gateway
        .client()
        .send("POST", "/pay", &[("idempotency-fence", "7")], b"");
    assert_eq!(unkeyed.unwrap().status, 201);
    let fences: Vec<Option<String>> = service
        .executions()
        .iter()
        .map(|seen| seen.header("idempotency-fence"))
        .collect();
    assert_eq!(fences, [None, None, None, Some("7".to_owned())]);
    for name in ["executed", "committed", "replayed", "key_reused"] {
        until_event(&gateway, name, 1);
    }
    assert_sound(&gateway);
}

/// One event for each answer that is stored, in the order of the executions; none for what was not carried out.
#[test]
fn an_event_tells_of_each_stored_answer_once() {
    let redis = Redis::start();
    let service = Service::counting();
    let route = json!({"outbox": {"trim": {"length": 1000}, "headers": ["X-Charge"]}});
    let gateway = gateway(service.address(), policy(json!({}), route))
        .redis(&redis)
        .start();
    for key in ["a", "b"] {
        for _ in 0..2 {
            assert_eq!(pay(&gateway, key, b"").unwrap().status, 201);
        }
        assert_eq!(pay(&gateway, key, b"other").unwrap().status, 422);
    }
    let outbox: Vec<String> = redis.query(&["KEYS", "*:idem:*:outbox"]);
    let events: Vec<(String, Vec<String>)> = redis.query(&["XRANGE", &outbox[0], "-", "+"]);
    let told: Vec<Vec<(&str, &str)>> = events
        .iter()
        .map(|(_, fields)| {
            let pairs = fields
                .chunks(2)
                .map(|pair| (pair[0].as_str(), pair[1].as_str()));
            pairs.collect()
        })
        .collect();
    let fences: Vec<String> = service
        .executions()
        .iter()
        .map(|seen| seen.header("idempotency-fence").unwrap())
        .collect();
    let names = records(&redis);
    assert_eq!((told.len(), fences.len(), names.len()), (2, 2, 2));
    for (index, key) in ["a", "b"].into_iter().enumerate() {
        let [fence, (scope_name, scope), rest @ ..] = told[index].as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(*fence, ("fence", fences[index].as_str()));
        assert_eq!(*scope_name, "scope");
        assert!(names.iter().any(|name| name.ends_with(scope)), "{names:?}");
        let number = (index + 1).to_string();
        assert_eq!(
            rest,
            [
                ("route", "pay"),
                ("key", key),
                ("status", "201"),
                ("header:x-charge", number.as_str())
            ]
        );
    }
    assert_sound(&gateway);
}

#[test]
fn an_answer_that_the_policy_does_not_store_frees_its_key() {
    let redis = Redis::start();
    let status = std::sync::Arc::new(AtomicU16::new(402));
    let theirs = status.clone();
    let service = Service::start(move |_, _, stream| {
        let status = theirs.load(Ordering::SeqCst);
        write!(
            stream,
            "HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n"
        )?;
        Ok(true)
    });
    let route = json!({"store_statuses": ["2xx", "5xx"]});
    let gateway = gateway(service.address(), policy(json!({}), route))
        .redis(&redis)
        .start();
    let ask = || pay(&gateway, "k", b"").unwrap();
    assert_eq!(ask().status, 402);
    wait::until("the key to be free", || records(&redis).is_empty());
    assert_eq!(ask().status, 402);
    wait::until("the key to be free", || records(&redis).is_empty());
    status.store(500, Ordering::SeqCst);
    assert_eq!(ask().status, 500);
    status.store(200, Ordering::SeqCst);
    let replay = ask();
    assert_eq!(replay.status, 500);
    assert_eq!(
        replay.header("idempotency-replayed").as_deref(),
        Some("true")
    );
    assert_eq!(service.count(), 3);
    until_event(&gateway, "not_stored", 2);
    assert_sound(&gateway);
}

/// Matrix 32: what a filter in front refuses never comes here, so it cannot be stored.
#[test]
fn what_is_refused_before_this_filter_is_not_stored() {
    let redis = Redis::start();
    let service = Service::counting();
    let code = "function envoy_on_request(handle)\n  if handle:headers():get('authorization') == nil then\n    handle:respond({[':status'] = '401'}, 'who are you')\n  end\nend";
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .edit(move |config| {
            let filters = config
                .listener("gateway")
                .pointer_mut("/filter_chains/0/filters/0/typed_config/http_filters")
                .and_then(Value::as_array_mut);
            filters.expect("filters").insert(
                0,
                json!({
                    "name": "envoy.filters.http.lua",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                        "default_source_code": {"inline_string": code},
                    },
                }),
            );
        })
        .start();
    assert_eq!(
        told(&pay(&gateway, "k", b"").unwrap()),
        (401, "who are you".to_owned())
    );
    assert_eq!(records(&redis), Vec::<String>::new());
    let fields = [
        (ACCOUNT, "ann"),
        ("idempotency-key", "\"k\""),
        ("authorization", "yes"),
    ];
    let allowed = gateway.client().send("POST", "/pay", &fields, b"").unwrap();
    assert_eq!(told(&allowed), charge(1));
    assert_sound(&gateway);
}

/// A record is the keys' of its time.
#[test]
fn after_the_retention_a_key_is_a_new_one() {
    let redis = Redis::start();
    let service = Service::counting();
    let redis_times = json!({"timeout": "25ms", "breaker": {"failures": 1000, "open_for": "1s"}});
    let route = json!({"retention": "1s", "lease": "100ms", "on_commit_error": "deliver"});
    let gateway = gateway(service.address(), policy(redis_times, route))
        .redis(&redis)
        .start();
    let ask = || {
        // On a busy machine 25 ms may be too short.
        let answer = wait::poll(wait::PATIENCE, || {
            let answer = pay(&gateway, "k", b"").unwrap();
            (answer.status == 201).then_some(answer)
        });
        answer.expect("an answer of the service")
    };
    let first = ask();
    wait::until("the record to end", || records(&redis).is_empty());
    let second = ask();
    assert_ne!(told(&first), told(&second));
    assert_sound(&gateway);
}

#[test]
fn a_mistake_in_the_policy_is_told_with_its_path_and_what_was_expected() {
    for (field, value, expected) in [
        (
            "lease",
            json!("30m"),
            "routes[0].lease: found a lease of 30m, expected at most 6m",
        ),
        (
            "retension",
            json!("24h"),
            "routes[0].retension: unknown field",
        ),
        ("scope", json!([]), "routes[0].scope: "),
        (
            "replay_headers",
            json!({"allow": ["set-cookie"]}),
            "routes[0].replay_headers.allow[0]: ",
        ),
        (
            "max_response_body",
            json!("2MiB"),
            "routes[0].max_response_body: ",
        ),
    ] {
        let mut route = json!({"retention": "1h"});
        route[field] = value;
        let log = Gateway::builder()
            .route(Route::Idempotency)
            .redis_at(&[([127, 0, 0, 1], 1).into()])
            .policy(policy(json!({"timeout": "1s"}), route))
            .try_start()
            .expect_err("the gateway does not start");
        let whole = format!("idempotency: the policy is refused: {expected}");
        assert!(log.contains(&whole), "{whole} is not in: {log}");
    }
}

/// The names of the counts, by the labels that the example's `stats_tags` take out of them.
#[test]
fn prometheus_sees_the_route_and_the_event_as_labels() {
    let redis = Redis::start();
    let service = Service::counting();
    let mut policy = policy(json!({}), json!({}));
    policy["routes"][0]["name"] = "v1.pay".into();
    let gateway = gateway(service.address(), policy).redis(&redis).start();
    let _ = pay(&gateway, "k", b"").unwrap();
    wait::until("a count", || {
        count(&gateway, "route.v1.pay.event.committed") == 1
    });
    let text = gateway.envoy().prometheus();
    let line = text
        .lines()
        .find(|line| line.contains("sluice_event=\"committed\""));
    let line = line.expect("a line for the event");
    assert!(line.contains("sluice_route=\"v1.pay\""), "{line}");
    assert_eq!(event(&gateway, "committed"), 0);
    wait::until("nothing open", || count(&gateway, "open") == 0);
}
