//! Which shard a request goes to: the same from every gateway and as it is explained, whatever clients send.

use host_tests::client::Client;
use host_tests::gateway::Gateway;
use host_tests::limits::assert_sound;
use host_tests::shard::{Shards, count, echoed, policy};
use host_tests::wait;
use serde_json::{Value, json};
use sluice_core::policy::shard_route::ShardRoute;
use sluice_core::shard::explain::explain;
use std::collections::BTreeMap;
use std::thread;

const KEYS: usize = 10_000;

/// Any bytes that a header may have, of a generator of our own: the same keys in each run.
fn keys() -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let key = |_| match next() % 4 {
        0 => (next() % 1_000_000).to_string().into_bytes(),
        1 => format!("{:016x}-{:016x}", next(), next()).into_bytes(),
        2 => format!("{{tenant-{}}}:{}", next() % 100, next()).into_bytes(),
        _ => {
            let length = next() % 40 + 1;
            let byte = |_| match (next() % 0xde) as u8 {
                low if low < 0x5e => 0x21 + low,
                high => 0x80 + (high - 0x5e),
            };
            (0..length).map(byte).collect()
        }
    };
    (0..KEYS).map(key).collect()
}

/// The shard that the origin was told for each key, asked by several clients at once.
fn shards_of(gateway: &Gateway, keys: &[Vec<u8>]) -> Vec<String> {
    thread::scope(|scope| {
        let parts: Vec<_> = keys
            .chunks(KEYS / 4)
            .map(|part| {
                scope.spawn(move || {
                    let mut client = Client::new(gateway.address());
                    let ask = |key: &Vec<u8>| {
                        let answer = client.get("/echo", &[("x-user", key)]).unwrap();
                        assert_eq!(answer.status, 200, "{key:?}");
                        echoed(&answer, "x-shard").join(" and ")
                    };
                    part.iter().map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        let parts = parts.into_iter();
        parts.flat_map(|part| part.join().unwrap()).collect()
    })
}

#[test]
fn two_gateways_and_the_explanation_agree_on_every_key() {
    let shards = Shards::start(4);
    let table = json!({
        "hash": "xxh64",
        "fill": "rendezvous",
        "shards": ["s0", {"name": "s1", "weight": 2}, "s2", "s3"],
        "migration": {"to": {"shards": ["s0", "s1", "s2"]}, "moved": "40%"}
    });
    let policy = policy(table, json!({}));
    let keys = keys();
    let gateways = [
        shards.gateway(&policy).workers(2).start(),
        shards.gateway(&policy).start(),
    ];
    let [first, second] = gateways.each_ref().map(|gateway| shards_of(gateway, &keys));
    let loaded = ShardRoute::load(policy.to_string().as_bytes()).unwrap();
    let mut counts = BTreeMap::<String, usize>::new();
    for ((key, first), second) in keys.iter().zip(&first).zip(&second) {
        let explained = explain(&loaded, "users", key).unwrap().shard;
        assert_eq!((first, second), (&explained, &explained), "{key:?}");
        *counts.entry(explained).or_default() += 2;
    }
    // And that is where they went.
    for (place, origin) in shards.primaries.iter().enumerate() {
        let name = format!("s{place}");
        assert_eq!(Some(&origin.hits("/echo")), counts.get(&name), "{name}");
    }
    for gateway in &gateways {
        for (name, all) in &counts {
            let metric = format!("table.users.shard.{name}.requests.any");
            wait::until(&metric, || count(gateway, &metric) == *all as u64 / 2);
        }
        assert_sound(gateway);
    }
}

#[test]
fn what_clients_write_in_the_headers_is_gone_on_every_path() {
    let shards = Shards::start(4);
    let table = json!({"pins": {"ann": "s2"}});
    let route = json!({"match": {"path": {"prefix": "/echo/users"}}});
    let gateway = shards.gateway(&policy(table, route)).start();
    let names = [
        "x-shard",
        "x-shard-role",
        "x-shard-zone",
        "x-shard-dual-write",
    ];
    let forged: Vec<(&str, &str)> = names
        .iter()
        .flat_map(|name| [(*name, "s0"), (*name, "s1")])
        .chain([("X-Shard", "s3"), ("x-user", "ann")])
        .collect();
    let routed = gateway.get("/echo/users", &forged);
    let elsewhere = gateway.get("/echo/others", &forged);
    for (answer, shard) in [(&routed, &["s2"][..]), (&elsewhere, &[])] {
        assert_eq!(answer.status, 200);
        assert_eq!(echoed(answer, "x-shard"), shard);
        for name in &names[1..] {
            assert_eq!(echoed(answer, name), Vec::<String>::new(), "{name}");
        }
    }
    assert_eq!(shards.reached("/echo/users"), Some((2, false)));
    assert_eq!(shards.reached("/echo/others"), None);
    assert_eq!(gateway.origin().hits("/echo/others"), 1);
    // Some servers take it for the other.
    assert_eq!(
        gateway.get("/echo/others", &[("x_shard", "s0")]).status,
        400
    );
    assert_sound(&gateway);
}

#[test]
fn a_key_that_is_missing_or_there_twice_is_treated_as_configured() {
    let shards = Shards::start(4);
    let ask = |route: Value, headers: &[(&str, &str)]| {
        let gateway = shards.gateway(&policy(json!({}), route)).start();
        let answer = gateway.get("/echo", headers);
        assert_sound(&gateway);
        let shard = echoed(&answer, "x-shard").join(" ");
        (answer.status, shard, answer.text())
    };
    let twice = [("x-user", "1"), ("x-user", "2")];
    let (status, _, problem) = ask(json!({}), &[]);
    assert_eq!(status, 400);
    assert!(
        problem.contains("urn:sluice:problem:shard-route-key-missing"),
        "{problem}"
    );
    let (status, _, problem) = ask(json!({}), &twice);
    assert_eq!(status, 400);
    assert!(
        problem.contains("urn:sluice:problem:shard-route-key-invalid"),
        "{problem}"
    );
    let fallbacks = json!({"on_missing_key": {"shard": "s1"}, "on_invalid_key": {"shard": "s3"}});
    assert_eq!(ask(fallbacks.clone(), &[]).1, "s1");
    assert_eq!(ask(fallbacks, &twice).1, "s3");
    let first = json!({"key": [{"header": {"name": "x-user", "duplicates": "first"}}]});
    assert_eq!(ask(first, &twice).0, 200);

    let gateway = shards
        .gateway(&policy(json!({}), json!({"on_missing_key": "spread"})))
        .start();
    let mut client = gateway.client();
    let mut reached = BTreeMap::<String, u32>::new();
    for _ in 0..400 {
        let answer = client.get::<&str>("/echo", &[]).unwrap();
        *reached
            .entry(echoed(&answer, "x-shard").join(" "))
            .or_default() += 1;
    }
    // A quarter each, within 5 sigma.
    assert_eq!(reached.len(), 4, "{reached:?}");
    assert!(
        reached.values().all(|count| count.abs_diff(100) < 44),
        "{reached:?}"
    );
    wait::until("the count", || {
        count(&gateway, "route.users.event.missing") == 400
    });
}

#[test]
fn a_shard_that_is_down_is_nobody_elses_trouble() {
    let mut shards = Shards::start(4);
    let pins = json!({"pins": {"a": "s0", "b": "s1", "c": "s2", "d": "s3"}});
    let gateway = shards.gateway(&policy(pins, json!({}))).start();
    let statuses = || ["a", "b", "c", "d"].map(|key| gateway.get("/", &[("x-user", key)]).status);
    assert_eq!(statuses(), [200; 4]);
    drop(shards.primaries.remove(1));
    assert_eq!(statuses(), [200, 503, 200, 200]);
    assert_sound(&gateway);
}

#[test]
fn a_key_in_the_body_is_found_when_it_is_there() {
    let shards = Shards::start(4);
    let table = json!({"pins": {"7": "s3", "8": "s1"}});
    let route = json!({
        "body": {"pointer": "/user/id", "max": "1KiB", "wait": "300ms"},
        "normalise": ["integer"]
    });
    let gateway = shards
        .gateway(&policy(table, route))
        .alternative("body")
        .start();
    let send = |headers: &[(&str, &str)], body: &[u8]| {
        let answer = gateway
            .client()
            .send("POST", "/echo", headers, body)
            .unwrap();
        let shard = echoed(&answer, "x-shard").join(" ");
        (
            answer.status,
            if answer.status == 200 {
                shard
            } else {
                answer.text()
            },
        )
    };
    assert_eq!(send(&[], br#"{"user": {"id": 7}}"#), (200, "s3".to_owned()));
    assert_eq!(
        send(&[], br#"{"user": {"id": "008"}}"#),
        (200, "s1".to_owned())
    );
    // The head comes first, and then nobody waits for the body.
    assert_eq!(send(&[("x-user", "8")], br#"{"user": {"id": 7}}"#).1, "s1");
    // The body reaches the shard as it was.
    let seen = shards.primaries[3].seen();
    assert_eq!(seen.last().unwrap().body, &br#"{"user": {"id": 7}}"#[..]);

    for (body, status, problem) in [
        (&b"{\"user\": {}}"[..], 400, "key-missing"),
        (b"", 400, "key-missing"),
        (b"{\"user\": {\"id\": \"x\"}}", 400, "key-invalid"),
        (b"no json", 400, "key-invalid"),
        (&[b' '; 1_025], 413, "body-too-large"),
    ] {
        let answer = send(&[], body);
        assert_eq!(answer.0, status, "{body:?}");
        assert!(answer.1.contains(problem), "{body:?}: {}", answer.1);
    }

    // In pieces, and one that never ends.
    let head = "POST /echo HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n";
    let none = format!("{head}0\r\n\r\n");
    let answer = gateway.client().exchange(none.as_bytes(), false).unwrap();
    assert!(answer.text().contains("key-missing"), "{}", answer.text());
    let whole = format!("{head}9\r\n{{\"user\": \r\na\r\n{{\"id\": 7}}}}\r\n0\r\n\r\n");
    let answer = gateway.client().exchange(whole.as_bytes(), false).unwrap();
    assert_eq!(echoed(&answer, "x-shard"), ["s3"], "{}", answer.text());
    let part = format!("{head}9\r\n{{\"user\": \r\n");
    let answer = gateway.client().exchange(part.as_bytes(), false).unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("body-late"), "{}", answer.text());
    assert_sound(&gateway);
}

#[test]
fn zones_are_told_with_and_without_a_shard() {
    let shards = Shards::start(1);
    let policy = json!({
        "tables": {"users": {"shards": [{"name": "s0", "zone": "rz-1"}]}},
        "routes": [
            {"name": "global", "match": {"path": {"prefix": "/echo/global"}}, "zone": {"fixed": "gz-1"}},
            {"name": "city", "match": {"path": {"prefix": "/echo/city"}},
             "zone": {"header": {"name": "x-city", "zones": {"shanghai": "cz-sh"}}}},
            {"name": "users", "table": "users", "key": [{"header": "x-user"}]}
        ]
    });
    let gateway = shards.gateway(&policy).start();
    let zone = |path: &str, headers: &[(&str, &str)]| {
        let answer = gateway.get(path, headers);
        (
            echoed(&answer, "x-shard").join(" "),
            echoed(&answer, "x-shard-zone").join(" "),
        )
    };
    let told = |shard: &str, zone: &str| (shard.to_owned(), zone.to_owned());
    assert_eq!(
        zone("/echo/global", &[("x-shard-zone", "forged")]),
        told("", "gz-1")
    );
    assert_eq!(
        zone("/echo/city", &[("x-city", "shanghai")]),
        told("", "cz-sh")
    );
    assert_eq!(
        zone(
            "/echo/city",
            &[("x-city", "paris"), ("x-shard-zone", "forged")]
        ),
        told("", "")
    );
    assert_eq!(zone("/echo", &[("x-user", "7")]), told("s0", "rz-1"));
    assert_sound(&gateway);
}

#[test]
fn the_access_log_can_tell_the_shard() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("access.log");
    let shards = Shards::start(4);
    let mut policy = policy(json!({"pins": {"ann": "s2"}}), json!({"role": "primary"}));
    policy["log_property"] = "sluice_shard".into();
    let path = file.to_string_lossy().into_owned();
    let gateway = shards
        .gateway(&policy)
        .edit(move |config| {
            let manager = "/filter_chains/0/filters/0/typed_config";
            let manager = config.listener("gateway").pointer_mut(manager).unwrap();
            let format = "%FILTER_STATE(wasm.sluice_shard:PLAIN)% %REQ(x-shard)%\n";
            manager["access_log"] = json!([{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": path,
                    "log_format": {"text_format_source": {"inline_string": format}},
                },
            }]);
        })
        .start();
    assert_eq!(gateway.get("/", &[("x-user", "ann")]).status, 200);
    let log = || std::fs::read_to_string(&file).unwrap_or_default();
    wait::until("the log", || !log().is_empty());
    assert_eq!(log(), "users/s2/primary s2\n");
    assert_sound(&gateway);
}

/// The names of the counts, by the labels that the example's `stats_tags` take out of them. Names may hold dots.
#[test]
fn prometheus_sees_route_table_shard_and_role_as_labels() {
    let shards = Shards::start(4);
    let route = json!({"name": "v1.users", "table": "eu.users", "role": "primary"});
    let mut policy = policy(json!({}), route);
    let table = policy["tables"]["users"].take();
    policy["tables"] = json!({"eu.users": table});
    let gateway = shards.gateway(&policy).start();
    let answer = gateway.get("/echo", &[("x-user", "7")]);
    let shard = echoed(&answer, "x-shard").join(" ");
    assert_eq!(gateway.get("/echo", &[]).status, 400);
    let requests = format!("table.eu.users.shard.{shard}.requests.primary");
    wait::until("the counts", || {
        count(&gateway, &requests) == 1 && count(&gateway, "route.v1.users.event.missing") == 1
    });
    let text = gateway.envoy().prometheus();
    let has = |labels: &[&str]| {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.any(|line| labels.iter().all(|label| line.contains(label)))
    };
    let shard = format!("sluice_shard=\"{shard}\"");
    let table = "sluice_table=\"eu.users\"";
    assert!(
        has(&[table, &shard, "sluice_role=\"primary\"", "} 1"]),
        "{text}"
    );
    assert!(
        has(&["sluice_shard_route_table_shard_slots", table, &shard]),
        "{text}"
    );
    let event = [
        "sluice_route=\"v1.users\"",
        "sluice_event=\"missing\"",
        "} 1",
    ];
    assert!(has(&event), "{text}");
}
