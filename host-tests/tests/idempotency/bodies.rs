//! Replays are whole, whatever the answer's body is; what cannot be kept whole is not kept, and passes all the same.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use host_tests::client::Response;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::idempotency::{
    ACCOUNT, Service, assert_replay, brisk, gateway, made, pay, policy, told, until_event,
    until_settled,
};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use serde_json::{Value, json};

/// Bytes that no two places have alike.
fn body(length: usize) -> Vec<u8> {
    (0..length.div_ceil(8))
        .flat_map(|index| {
            (index as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes()
        })
        .take(length)
        .collect()
}

/// A service that answers with the request's own body, in chunks if the path asks for it.
fn echo() -> Service {
    Service::start(|request, _, stream| {
        let body = &request.body;
        if request.path.contains("chunked") {
            write!(
                stream,
                "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n"
            )?;
            for chunk in body.chunks(10_000) {
                write!(stream, "{:x}\r\n", chunk.len())?;
                stream.write_all(chunk)?;
                write!(stream, "\r\n")?;
            }
            write!(stream, "0\r\n\r\n")?;
        } else {
            write!(
                stream,
                "HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )?;
            stream.write_all(body)?;
        }
        Ok(true)
    })
}

fn send(gateway: &Gateway, path: &str, key: &str, body: &[u8]) -> Response {
    let key = format!("\"{key}\"");
    let fields = [(ACCOUNT, "ann"), ("idempotency-key", key.as_str())];
    gateway.client().send("POST", path, &fields, body).unwrap()
}

/// POST whose body comes in chunks.
fn send_chunked(gateway: &Gateway, key: &str, body: &[u8]) -> Response {
    let mut request = format!(
        "POST /pay HTTP/1.1\r\nhost: gateway\r\n{ACCOUNT}: ann\r\nidempotency-key: \"{key}\"\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.chunks(7_000) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    gateway.client().exchange(&request, false).unwrap()
}

const KIB: usize = 1024;

#[test]
fn bodies_of_any_length_are_compared_and_replayed_whole() {
    let redis = Redis::start();
    let service = echo();
    let most = json!({"max_request_body": "960KiB", "max_response_body": "960KiB"});
    let gateway = gateway(service.address(), policy(json!({}), most))
        .redis(&redis)
        .start();
    let mut runs = 0;
    for path in ["/pay", "/pay/chunked"] {
        for length in [0, 1, 64 * KIB, 900 * KIB, 960 * KIB] {
            let key = format!("{path}-{length}");
            let sent = body(length);
            let first = send(&gateway, path, &key, &sent);
            assert_eq!((first.status, first.body == sent), (201, true), "{key}");
            let replay = send(&gateway, path, &key, &sent);
            assert_replay(&replay, &first);
            runs += 1;
            assert_eq!(service.count(), runs, "{key}");
            // The last byte counts too.
            if let Some((_, rest)) = sent.split_last() {
                let other = send(&gateway, path, &key, &[rest, b"?"].concat());
                assert_eq!(told(&other), (422, "key-reused".to_owned()), "{key}");
            }
        }
    }
    // Nor does it matter how it comes.
    let sent = body(64 * KIB);
    let first = send_chunked(&gateway, "chunked", &sent);
    assert_eq!(first.body, sent);
    assert_replay(&send(&gateway, "/pay", "chunked", &sent), &first);
    assert_replay(&send_chunked(&gateway, "chunked", &sent), &first);
    let other = send_chunked(&gateway, "chunked", &sent[1..]);
    assert_eq!(told(&other), (422, "key-reused".to_owned()));
    assert_eq!(service.count(), runs + 1);
    assert_sound(&gateway);
}

/// A gateway that reaches Redis by this transport.
fn by(transport: &str, service: &Service, policy: Value) -> Builder {
    let builder = gateway(service.address(), policy);
    match transport {
        "stream" => builder.route(Route::IdempotencyStream),
        _ => builder,
    }
}

/// What Redis answers to a batch is as long as all answers in it together. One gateway remembers what it has stored, and
/// another reads it each time.
#[test]
fn large_answers_are_replayed_to_many_at_once() {
    const CLIENTS: usize = 40;
    let redis = Redis::start();
    let service = echo();
    for transport in ["callout", "stream"] {
        let route = json!({"max_request_body": "960KiB", "max_response_body": "960KiB"});
        let policy = policy(json!({"transport": transport}), route);
        let mut forgets = policy.clone();
        forgets["worker"] = json!({"max_remembered": "0B"});
        let gateways =
            [policy, forgets].map(|policy| by(transport, &service, policy).redis(&redis).start());
        for length in [64 * KIB, 900 * KIB] {
            let key = format!("{transport}-{length}");
            let sent = body(length);
            let first = send(&gateways[0], "/pay", &key, &sent);
            assert_eq!((first.status, first.body == sent), (201, true), "{key}");
            let (key, sent) = (key.as_str(), sent.as_slice());
            let replays: Vec<Response> = thread::scope(|scope| {
                let client = |gateway| scope.spawn(move || send(gateway, "/pay", key, sent));
                let all = gateways.iter().cycle().take(2 * CLIENTS);
                let clients: Vec<_> = all.map(client).collect();
                let replays = clients.into_iter().map(|client| client.join().unwrap());
                replays.collect()
            });
            for replay in &replays {
                assert_eq!((replay.status, replay.body.len()), (201, length), "{key}");
                assert_replay(replay, &first);
            }
        }
        gateways.iter().for_each(assert_sound);
    }
    assert_eq!(service.count(), 4);
}

/// As large as a policy may have them.
#[test]
fn the_largest_answers_are_replayed_whole() {
    const LENGTH: usize = 24 << 20;
    const BUFFER: usize = 32 << 20;
    let redis = Redis::start();
    let service = Service::start(|_, _, stream| {
        write!(
            stream,
            "HTTP/1.1 201 Created\r\ncontent-length: {LENGTH}\r\n\r\n"
        )?;
        stream.write_all(&body(LENGTH))?;
        Ok(true)
    });
    for transport in ["callout", "stream"] {
        let mut policy = policy(
            json!({"transport": transport}),
            json!({"max_response_body": "24MiB"}),
        );
        policy["gateway_buffer"] = "32MiB".into();
        policy["worker"] = json!({"max_held": "64MiB"});
        let builder = by(transport, &service, policy).edit(|config| {
            config.listener("gateway")["per_connection_buffer_limit_bytes"] = BUFFER.into();
        });
        let gateway = builder.redis(&redis).start();
        let first = send(&gateway, "/pay", transport, b"");
        assert_eq!(
            (first.status, first.body.len()),
            (201, LENGTH),
            "{transport}"
        );
        let replay = send(&gateway, "/pay", transport, b"");
        assert_eq!(
            (replay.status, replay.body.len()),
            (201, LENGTH),
            "{transport}"
        );
        assert_replay(&replay, &first);
        assert_sound(&gateway);
    }
    assert_eq!(service.count(), 2);
}

/// Row 26: the gateway's buffer is 1 MiB.
#[test]
fn an_answer_that_the_gateway_cannot_hold_passes_whole() {
    const MIB: usize = 1 << 20;
    let redis = Redis::start();
    let service = Service::start(|request, _, stream| {
        let body = body(3 * MIB);
        if request.path.contains("chunked") {
            write!(
                stream,
                "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
                body.len()
            )?;
            stream.write_all(&body)?;
            write!(stream, "\r\n0\r\n\r\n")?;
        } else {
            write!(
                stream,
                "HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )?;
            stream.write_all(&body)?;
        }
        Ok(true)
    });
    let gateway = gateway(service.address(), policy(brisk(), json!({})))
        .redis(&redis)
        .start();
    for path in ["/pay", "/pay/chunked"] {
        for number in 0..5 {
            let key = format!("{path}-{number}");
            let first = send(&gateway, path, &key, b"");
            assert_eq!((first.status, first.body.len()), (201, 3 * MIB), "{key}");
            if path == "/pay" {
                let retry = until_settled(&gateway, &key, b"");
                assert_eq!(told(&retry), (409, "answer-not-kept".to_owned()), "{key}");
            }
        }
    }
    assert_eq!(service.count(), 10);
    assert_sound(&gateway);
}

/// Row 26.
#[test]
fn an_answer_that_is_too_long_passes_whole_and_is_not_kept() {
    let redis = Redis::start();
    let service = echo();
    let gateway = gateway(
        service.address(),
        policy(json!({}), json!({"max_response_body": "32KiB"})),
    )
    .redis(&redis)
    .start();
    for (runs, path) in ["/pay", "/pay/chunked"].into_iter().enumerate() {
        for (index, length) in [32 * KIB + 1, 500 * KIB].into_iter().enumerate() {
            let key = format!("{path}-{length}");
            let sent = body(length);
            let first = send(&gateway, path, &key, &sent);
            assert_eq!((first.status, first.body == sent), (201, true), "{key}");
            let retry = send(&gateway, path, &key, &sent);
            assert_eq!(told(&retry), (409, "answer-not-kept".to_owned()), "{key}");
            assert_eq!(service.count(), 2 * runs + index + 1);
        }
    }
    let whole = send(&gateway, "/pay", "fits", &body(32 * KIB));
    assert_replay(&send(&gateway, "/pay", "fits", &body(32 * KIB)), &whole);
    until_event(&gateway, "oversized", 4);
    assert_sound(&gateway);
}

#[test]
fn a_request_that_is_too_long_is_refused_before_it_runs() {
    let redis = Redis::start();
    let service = echo();
    let gateway = gateway(
        service.address(),
        policy(json!({}), json!({"max_request_body": "32KiB"})),
    )
    .redis(&redis)
    .start();
    let sent = body(32 * KIB + 1);
    let too_large = (413, "body-too-large".to_owned());
    assert_eq!(told(&send(&gateway, "/pay", "k", &sent)), too_large);
    assert_eq!(service.count(), 0);
    let fits = send(&gateway, "/pay", "k", &sent[1..]);
    assert_eq!(fits.status, 201);
    until_event(&gateway, "body_too_large", 1);
    assert_sound(&gateway);
}

/// HEAD, and the answers that have no body.
#[test]
fn an_answer_without_a_body_is_replayed_without_one() {
    let redis = Redis::start();
    let service = Service::start(|request, _, stream| {
        let head = match request.path.as_str() {
            "/pay/none" => "204 No Content\r\n\r\n",
            _ => "200 OK\r\ncontent-length: 5\r\nx-made: 1\r\n\r\n",
        };
        write!(stream, "HTTP/1.1 {head}")?;
        Ok(true)
    });
    let path = json!({"path": {"prefix": "/pay"}, "methods": ["HEAD", "POST"]});
    let gateway = gateway(service.address(), policy(json!({}), json!({"match": path})))
        .redis(&redis)
        .start();
    for (method, path, status) in [("HEAD", "/pay", 200), ("POST", "/pay/none", 204)] {
        let key = format!("\"{method}\"");
        let fields = [(ACCOUNT, "ann"), ("idempotency-key", key.as_str())];
        let ask = || gateway.client().send(method, path, &fields, b"").unwrap();
        let (first, replay) = (ask(), ask());
        assert_eq!((first.status, first.body.len()), (status, 0));
        assert_replay(&replay, &first);
        assert_eq!(replay.header("x-made"), first.header("x-made"));
    }
    assert_eq!(service.count(), 2);
    assert_sound(&gateway);
}

/// A replay has those fields of the first answer that are nobody's in particular, each as often as it was there.
#[test]
fn a_replay_has_the_fields_of_the_first_answer() {
    let redis = Redis::start();
    let service = Service::start(|_, number, stream| {
        write!(
            stream,
            "HTTP/1.1 201 Created\r\nset-cookie: a=1\r\nlocation: /charges/1\r\nx-two: 1\r\nx-two: 2\r\nx-bytes: \u{e9}\r\ndate: Mon, 01 Jan 2001 00:00:00 GMT\r\nidempotency-replayed: true\r\ncontent-type: text/plain\r\ncontent-length: 1\r\n\r\n{number}"
        )?;
        Ok(true)
    });
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    let first = pay(&gateway, "k", b"").unwrap();
    let replay = pay(&gateway, "k", b"").unwrap();
    assert_eq!(first.header("set-cookie").as_deref(), Some("a=1"));
    // Only the gateway says what is a replay.
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_replay(&replay, &first);
    assert_eq!(replay.header("set-cookie"), None);
    let own = |name: &str| {
        let values = |response: &Response| -> Vec<Vec<u8>> {
            let fields = response.headers.iter();
            let fields = fields.filter(|(other, _)| other == name);
            fields.map(|(_, value)| value.clone()).collect()
        };
        (values(&first), values(&replay))
    };
    for name in [
        "location",
        "x-two",
        "x-bytes",
        "content-type",
        "content-length",
    ] {
        let (first, replay) = own(name);
        assert!(!first.is_empty(), "{name}");
        assert_eq!(first, replay, "{name}");
    }
    assert_ne!(
        replay.header("date").as_deref(),
        Some("Mon, 01 Jan 2001 00:00:00 GMT")
    );
    assert_sound(&gateway);
}

/// What comes before a body is held until the body's end; a client may take its time.
#[test]
fn a_body_that_comes_slowly_is_waited_for() {
    let redis = Redis::start();
    let service = Service::start(|_, number, stream| made(stream, number));
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    let request = host_tests::idempotency::request("k", b"amount=1&to=bob");
    let (early, late) = request.split_at(request.len() - 5);
    let mut slow = TcpStream::connect(gateway.address()).unwrap();
    slow.write_all(early).unwrap();
    host_tests::wait::until("the head to arrive", || {
        gateway.envoy().stat("http.gateway.downstream_rq_active") == 1
    });
    // Another with the key overtakes it: what is not whole has no claim.
    let first = pay(&gateway, "k", b"amount=1&to=bob").unwrap();
    assert_eq!(told(&first), (201, "charge 1\n".to_owned()));
    slow.write_all(late).unwrap();
    let mut reader = host_tests::message::Reader::new(slow);
    let replay = reader.response(false).unwrap();
    assert_eq!((replay.status, replay.body), (201, first.body));
    assert_eq!(
        replay
            .headers
            .iter()
            .filter(|(name, _)| name == "idempotency-replayed")
            .count(),
        1
    );
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// A gateway in front of the gateway, which speaks HTTP/2 to it.
#[test]
fn http2_gets_the_same() {
    let redis = Redis::start();
    let service = echo();
    let most = json!({"max_request_body": "960KiB", "max_response_body": "960KiB"});
    let gateway = gateway(service.address(), policy(json!({}), most))
        .redis(&redis)
        .start();
    let behind = gateway.address();
    let front = Gateway::builder()
        .wasm("noop")
        .edit(move |config| {
            config.endpoints("origin", &[behind]);
            config.cluster("origin")["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                },
            });
        })
        .start();
    for (index, length) in [0, 10, 900 * KIB].into_iter().enumerate() {
        for path in ["/pay", "/pay/chunked"] {
            let key = format!("{path}-{length}");
            let sent = body(length);
            let first = send(&front, path, &key, &sent);
            assert_eq!((first.status, first.body == sent), (201, true), "{key}");
            assert_replay(&send(&front, path, &key, &sent), &first);
            let other = send(&front, path, &key, b"?");
            assert_eq!(told(&other), (422, "key-reused".to_owned()), "{key}");
        }
        assert_eq!(service.count(), 2 * (index + 1));
    }
    assert!(
        gateway
            .envoy()
            .stat("http.gateway.downstream_cx_http2_total")
            > 0
    );
    assert_eq!(
        gateway
            .envoy()
            .stat("http.gateway.downstream_cx_http1_total"),
        0
    );
    assert_sound(&gateway);
}
