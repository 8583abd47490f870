//! Whose requests are counted together, on the real gateway: each part of a key tells clients apart, and nothing else
//! about the request does.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::limits::{policy, policy_with_redis, until_counted, with};
use host_tests::redis::Redis;
use serde_json::{Value, json};

type Headers<'a> = &'a [(&'a str, &'a str)];

/// A limit of two requests on everything below a path of its own.
fn two(path: &str, key: Value) -> Value {
    json!({
        "name": path.trim_start_matches('/'), "match": {"path": {"prefix": path}}, "key": key, "rate": "2/day",
    })
}

/// Passes two requests out of any of `same`, and as many of each of `others`.
fn tells_apart(gateway: &Gateway, same: &[(&str, Headers)], others: &[(&str, Headers)]) {
    let ask = |(path, headers): (&str, Headers)| gateway.get(path, headers).status;
    let mut turns = same.iter().cycle();
    let mut next = || ask(*turns.next().unwrap());
    assert_eq!([next(), next(), next()], [200, 200, 429], "{same:?}");
    for one in same {
        assert_eq!(ask(*one), 429, "{one:?}");
    }
    for other in others {
        assert_eq!(
            [ask(*other), ask(*other), ask(*other)],
            [200, 200, 429],
            "{other:?}"
        );
    }
}

fn token(payload: &str) -> String {
    format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
}

/// Has Envoy hand on the addresses that a test claims to come from.
fn behind_a_proxy(builder: Builder) -> Builder {
    builder.edit(|config| {
        let manager = config
            .listener("gateway")
            .pointer_mut("/filter_chains/0/filters/0/typed_config")
            .expect("the gateway's connection manager");
        manager["use_remote_address"] = false.into();
    })
}

#[test]
fn each_part_of_a_key_tells_clients_apart() {
    let gateway = Gateway::builder()
        .workers(2)
        .policy(policy(json!([
            two(
                "/header",
                json!([{"header": {"name": "X-Key", "lowercase": true}}])
            ),
            two("/exact", json!([{"header": "x-key"}])),
            two("/cookie", json!([{"cookie": "session"}])),
            two("/query", json!([{"query": "account"}])),
            two("/claim", json!([{"jwt_claim": "realm.tenant"}])),
            with(
                two("/users", json!([{"path": "id"}])),
                json!({"match": {"path": {"template": "/users/{id}/**"}}}),
            ),
            two("/property", json!([{"property": ["request", "host"]}])),
            two("/consumer", json!(["consumer"])),
            two("/pair", json!([{"header": "x-a"}, {"header": "x-b"}])),
            two("/everyone", json!([{"const": "all"}])),
        ])))
        .start();
    tells_apart(
        &gateway,
        &[
            ("/header", &[("x-key", "Ann")]),
            ("/header/2?x", &[("X-KEY", "aNN")]),
        ],
        &[("/header", &[("x-key", "bob")])],
    );
    tells_apart(
        &gateway,
        &[("/exact", &[("x-key", "Ann")])],
        &[("/exact", &[("x-key", "ann")])],
    );
    tells_apart(
        &gateway,
        &[
            ("/cookie", &[("cookie", "a=1; session=x7; b=2")]),
            (
                "/cookie",
                &[("cookie", "a=2"), ("cookie", "session=\"x7\"")],
            ),
        ],
        &[("/cookie", &[("cookie", "session=x8; other=x7")])],
    );
    tells_apart(
        &gateway,
        &[
            ("/query?account=a%20b", &[]),
            ("/query/2?z=1&account=a+b", &[]),
        ],
        &[("/query?account=a", &[])],
    );
    let (red, red_too, blue) = (
        token(r#"{"realm":{"tenant":"red"}}"#),
        token(r#"{"iat":7,"realm":{"x":[1],"tenant":"red"}}"#),
        token(r#"{"tenant":"red","realm":{"tenant":"blue"}}"#),
    );
    tells_apart(
        &gateway,
        &[
            ("/claim", &[("authorization", &red)]),
            ("/claim", &[("authorization", &red_too)]),
        ],
        &[("/claim", &[("authorization", &blue)])],
    );
    tells_apart(
        &gateway,
        &[("/users/7/a", &[]), ("/users/%37/b/c", &[])],
        &[("/users/8/a", &[]), ("/users/77/a", &[])],
    );
    tells_apart(
        &gateway,
        &[("/property", &[("host", "one.example")])],
        &[("/property", &[("host", "two.example")])],
    );
    tells_apart(
        &gateway,
        &[("/consumer", &[("x-consumer-id", "ann")])],
        &[("/consumer", &[("x-consumer-id", "bob")])],
    );
    // Joined, these would be the same.
    tells_apart(
        &gateway,
        &[("/pair", &[("x-a", "a_b"), ("x-b", "c")])],
        &[
            ("/pair", &[("x-a", "a"), ("x-b", "b_c")]),
            ("/pair", &[("x-a", "c"), ("x-b", "a_b")]),
        ],
    );
    tells_apart(
        &gateway,
        &[("/everyone", &[]), ("/everyone", &[("x-key", "a")])],
        &[],
    );
}

#[test]
fn the_address_is_the_one_that_trusted_proxies_saw() {
    fn from(list: &'static str) -> (&'static str, Headers<'static>) {
        let headers: Headers = Box::leak(Box::new([("x-forwarded-for", list)]));
        ("/", headers)
    }
    let limits = || {
        policy(json!([with(
            two("/", json!(["client_ip"])),
            json!({"name": "address"})
        )]))
    };
    let mut hops = limits();
    hops["client_ip"] = json!({"trusted_hops": 1});
    let gateway = behind_a_proxy(Gateway::builder().policy(hops)).start();
    tells_apart(
        &gateway,
        // Only the last entry is evidence; what stands before it is the client's own word.
        &[
            from("203.0.113.5"),
            from("1.1.1.1, 203.0.113.5"),
            from("203.0.113.6,203.0.113.5"),
        ],
        &[from("203.0.113.6"), from("203.0.113.5, 203.0.113.7")],
    );
    // One home or one server has 2^64 addresses.
    tells_apart(
        &gateway,
        &[
            from("2001:db8:1:2::1"),
            from("2001:db8:1:2:ffff::9"),
            from("2001:0db8:1:2:3:4:5:6"),
        ],
        &[from("2001:db8:1:3::1")],
    );
    let mut networks = limits();
    networks["client_ip"] =
        json!({"trusted_cidrs": ["127.0.0.0/8", "10.0.0.0/8"], "ipv4_prefix": 24});
    let gateway = behind_a_proxy(Gateway::builder().policy(networks)).start();
    tells_apart(
        &gateway,
        &[from("1.1.1.1, 203.0.113.5, 10.0.0.8"), from("203.0.113.77")],
        &[
            from("203.0.114.5"),
            from("203.0.113.5, 198.51.100.1, 10.1.1.1"),
        ],
    );
    // Not believed: the peer is the client.
    let gateway = Gateway::builder().policy(limits()).start();
    tells_apart(
        &gateway,
        &[from("203.0.113.5"), from("203.0.113.6"), ("/", &[])],
        &[],
    );
}

#[test]
fn a_missing_key_is_skipped_denied_or_shared_as_the_policy_says() {
    let keyed = |path, fields| with(two(path, json!([{"header": "x-key"}])), fields);
    let gateway = Gateway::builder()
        .policy(policy(json!([
            keyed("/skip", json!({})),
            keyed("/deny", json!({"on_missing_key": "deny"})),
            keyed("/share", json!({"on_missing_key": {"default": "nobody"}})),
        ])))
        .start();
    let four = |path, headers: Headers| [(); 4].map(|()| gateway.get(path, headers).status);
    assert_eq!(four("/skip", &[]), [200; 4]);
    assert_eq!(four("/deny", &[]), [400; 4]);
    assert_eq!(four("/share", &[]), [200, 200, 429, 429]);
    assert_eq!(
        four("/share", &[("x-key", "nobody")]),
        [429; 4],
        "it is that client"
    );
    for path in ["/skip", "/deny", "/share"] {
        assert_eq!(
            four(path, &[("x-key", "ann")]),
            [200, 200, 429, 429],
            "{path}"
        );
        let twice: Headers = &[("x-key", "a"), ("x-key", "b")];
        assert_eq!(four(path, twice), [400; 4], "{path}: two keys are none");
    }
    until_counted(&gateway, "skip", "denied", 6);
}

#[test]
fn an_override_is_for_its_client_alone() {
    let redis = Redis::start();
    for mode in ["local", "strict", "leased"] {
        let _ = redis.cmd(&["FLUSHALL"]);
        let limit = json!({
            "name": "l", "key": [{"header": "x-key"}, "client_ip"], "rate": "10/day", "mode": mode,
            "overrides": [
                {"key": ["gold", "127.0.0.1"], "rate": "20/day"},
                {"key": ["gold", "192.0.2.1"], "rate": "1/day"},
                {"key": ["free", "127.0.0.1"], "unlimited": true},
                {"key": ["banned", "127.0.0.1"], "deny": true},
                {"key": ["none", "127.0.0.1"], "rate": "0/day"},
            ],
        });
        let gateway = Gateway::builder()
            .route(Route::Direct)
            .redis(&redis)
            .policy(policy_with_redis(json!({}), json!([limit])))
            .start();
        let mut client = gateway.client();
        let mut passed = |key: &str| {
            let mut get = || client.get("/", &[("x-key", key)]).unwrap().status;
            (0..25).filter(|_| get() == 200).count()
        };
        // A lease is a fifth of the burst.
        let burst = |tokens: usize| {
            if mode == "leased" {
                tokens * 4 / 5
            } else {
                tokens
            }
        };
        let gold = |tokens: usize| if mode == "leased" { tokens - 2 } else { tokens };
        assert_eq!(passed("plain"), burst(10), "{mode}");
        assert_eq!(passed("gold"), gold(20), "{mode}");
        assert_eq!(passed("free"), 25, "{mode}");
        assert_eq!(passed("banned"), 0, "{mode}");
        assert_eq!(passed("none"), 0, "{mode}");
    }
}
