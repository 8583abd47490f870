//! No request crashes the filter, and none gets around it.

use std::time::Duration;

use host_tests::client::raw;
use host_tests::gateway::{Gateway, Route};
use host_tests::limits::{assert_sound, policy_with_redis};
use host_tests::redis::Redis;
use serde_json::{Value, json};

/// Reads every part of a request that the filter can read, in every mode.
fn nosy_policy() -> Value {
    let keys = [
        json!([{"header": "x-key"}]),
        json!([{"cookie": "session"}, {"query": "account"}]),
        json!(["client_ip"]),
        json!([{"jwt_claim": "sub"}]),
        json!([{"path": {"template": "/users/{id}/**", "variable": "id"}}]),
        json!([{"property": ["request", "path"]}, "consumer"]),
    ];
    let mut limits: Vec<Value> = keys
        .into_iter()
        .zip(["local", "strict", "leased"].into_iter().cycle())
        .enumerate()
        .map(|(index, (key, mode))| {
            json!({
                "name": format!("l{index}"), "key": key, "rate": "1000000/hour", "mode": mode,
                "cost": {"header": "x-cost", "max": 5},
                "match": {"not": {"any": [
                    {"path": {"regex": "/never/.*"}},
                    {"headers": [{"name": "x-odd", "regex": "never.*"}]},
                    {"headers": [{"name": "user-agent", "contains": "never"}]},
                ]}},
            })
        })
        .collect();
    limits.push(json!({"name": "probe", "match": {"path": {"exact": "/probe"}}, "key": [{"header": "x-key"}], "rate": "3/hour"}));
    let mut policy = policy_with_redis(json!({}), json!(limits));
    policy["client_ip"] = json!({"trusted_cidrs": ["127.0.0.0/8", "10.0.0.0/8"]});
    policy
}

fn request(line: &str, headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut request =
        format!("{line} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

fn hostile_requests() -> Vec<Vec<u8>> {
    const NAMES: [&str; 10] = [
        "x-key",
        "cookie",
        "x-forwarded-for",
        "authorization",
        "x-consumer-id",
        "x-cost",
        "x-odd",
        "user-agent",
        "x-real-ip",
        "content-type",
    ];
    let huge = vec![b'a'; 60_000];
    let many_dots = b"a.b.c.".repeat(5_000);
    let many_commas = b"1.1.1.1,".repeat(6_000);
    let many_cookies = b"session=1; ".repeat(5_000);
    let values: [&[u8]; 16] = [
        b"\xff\xfe\x80",
        b"caf\xe9",
        b"\xf0\x9f\x92",
        b"\xc0\x80",
        b"",
        b" ",
        b"session=\xff",
        b"session=\"",
        b"=;=;=",
        b"Bearer \xff.\xff.\xff",
        b"Bearer e30.eyJzdWIiOiJcdWQ4MDAifQ.x",
        b"1.1.1.1, \xff, ::ffff:10.0.0.1, [::1",
        &huge,
        &many_dots,
        &many_commas,
        &many_cookies,
    ];
    let mut requests = Vec::new();
    for name in NAMES {
        for value in values {
            requests.push(request("GET /users/7/x", &[(name, value)]));
        }
        requests.push(request(
            "GET /",
            &[(name, b"one"), (name, b"two"), (name, b"\xff")],
        ));
    }
    let cost: [&[u8]; 6] = [
        b"-1",
        b"1e9",
        b"99999999999999999999999999",
        b"0x10",
        b"+1",
        "\u{0661}".as_bytes(),
    ];
    requests.extend(cost.map(|cost| request("GET /", &[("x-cost", cost)])));
    for line in [
        "GET /users/%ff%fe/x",
        "GET /users/%/x",
        "GET /users/%zz/",
        "GET //users//%2e%2e/%2F%5c",
        "GET /?account=%ff&account",
        "GET /?&&==&%=%&account=%00",
        "GET /users/%00/x",
        "GET /..;/../../etc",
        "OPTIONS *",
        "CONNECT gateway:80",
        "PROPFIND /users/7/x",
        "X-VERY_LONG-METHOD-THAT-NOBODY-KNOWS /",
        "get /",
        "GET http://other/users/1/x?account=1",
        "TRACE /",
        "HEAD /users/1/1",
        "GET /users/\u{fc}/x",
        "GET \\users",
        "GET /users/7/x#f?account=1",
    ] {
        requests.push(request(line, &[]));
    }
    requests.push(request(
        &format!(
            "GET /users/{}/x?account={}",
            "u".repeat(20_000),
            "%41".repeat(5_000)
        ),
        &[],
    ));
    let names: Vec<String> = (0..1_000).map(|number| format!("x-h{number}")).collect();
    let many: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), &b"\xffv"[..]))
        .collect();
    requests.push(request("GET /users/7/x", &many));
    requests.push(request("GET /users/7/x", &[("x-key", &b"k"[..]); 1_000]));
    requests
}

#[test]
fn no_request_crashes_the_filter_or_turns_it_off() {
    let redis = Redis::start();
    let gateway = Gateway::builder()
        .route(Route::Direct)
        .redis(&redis)
        .policy(nosy_policy())
        .edit(|config| {
            let manager = config
                .listener("gateway")
                .pointer_mut("/filter_chains/0/filters/0/typed_config")
                .expect("the gateway's connection manager");
            manager["max_request_headers_kb"] = 512.into();
            manager["common_http_protocol_options"] = json!({"max_headers_count": 2_000});
            // Envoy would wait a second for the other end to close first.
            manager["delayed_close_timeout"] = "0s".into();
            manager["use_remote_address"] = false.into();
        })
        .start();
    let requests = hostile_requests();
    let mut answered = 0;
    for request in &requests {
        let answer = raw(gateway.address(), request, Duration::from_secs(2)).unwrap();
        let line = String::from_utf8_lossy(&answer[..answer.len().min(15)]).into_owned();
        let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse::<u16>().ok());
        // Envoy refuses some by itself; what it lets through is served, or refused for its key.
        match status {
            // 431 is the origin's, for a thousand headers.
            Some(200 | 307 | 400 | 403 | 404 | 405 | 426 | 431) => answered += 1,
            // Its own way to refuse what is no HTTP at all.
            None if answer.is_empty() => {}
            _ => panic!("{shown:?} is answered {line:?}"),
        }
    }
    assert!(
        answered * 10 > requests.len() * 9,
        "{answered} of {}",
        requests.len()
    );
    assert!(gateway.origin().seen().len() > 100);
    let statuses = [(); 5].map(|()| gateway.get("/probe", &[("x-key", "ann")]).status);
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_sound(&gateway);
}

/// What a client may vary without being someone else to the upstream must not be someone else to the filter.
#[test]
fn spellings_of_a_path_are_one_path() {
    let gateway = Gateway::builder()
        .policy(host_tests::limits::policy(json!([
            {"name": "login", "match": {"path": {"exact": "/login"}}, "key": [{"const": "all"}], "rate": "1/hour"},
        ])))
        .start();
    assert_eq!(gateway.get("/login", &[]).status, 200);
    for path in [
        "/login",
        "//login",
        "/%6cogin",
        "/./login",
        "/x/../login",
        "/login?x=1",
        "/%6Cogin?",
    ] {
        assert_eq!(gateway.get(path, &[]).status, 429, "{path}");
    }
}
