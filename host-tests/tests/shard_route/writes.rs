//! Who writes reads what was written: reads go to replicas, and for a while after a write to the primary.

use host_tests::client::Response;
use std::io::Write;
use std::sync::Arc;
use std::thread;

use host_tests::gateway::Gateway;
use host_tests::idempotency::{Gate, Service, made};
use host_tests::limits::assert_sound;
use host_tests::shard::{self, Shards, echoed, policy};
use host_tests::wait;
use serde_json::{Value, json};

fn with(sticky: Value) -> Value {
    let split = json!({"force_primary": "x-read-primary", "sticky": sticky});
    policy(json!({}), json!({"role": {"split": split}}))
}

fn send(gateway: &Gateway, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let answer = gateway.client().send(method, path, headers, b"");
    answer.expect("the gateway answers")
}

/// The role that a GET of this key gets.
fn role(gateway: &Gateway, user: &str, more: &[(&str, &str)]) -> String {
    let mut headers = vec![("x-user", user)];
    headers.extend_from_slice(more);
    echoed(&send(gateway, "GET", "/echo", &headers), "x-shard-role").join(" ")
}

#[test]
fn reads_and_writes_reach_the_copy_that_serves_them() {
    let shards = Shards::start(4).with_replicas();
    let gateway = shards
        .gateway(&with(json!({"window": "1h"})))
        .workers(2)
        .start();
    let user = [("x-user", "7")];
    let _ = send(&gateway, "GET", "/read", &user);
    let _ = send(&gateway, "HEAD", "/head", &user);
    let _ = send(
        &gateway,
        "GET",
        "/forced",
        &[("x-user", "7"), ("x-read-primary", "1")],
    );
    let _ = send(&gateway, "POST", "/write", &user);
    let reached = |path| shards.reached(path).map(|(_, replica)| replica);
    assert_eq!(reached("/read"), Some(true));
    assert_eq!(reached("/head"), Some(true));
    assert_eq!(reached("/forced"), Some(false));
    assert_eq!(reached("/write"), Some(false));
    // From now on this key's reads, in every worker, and no other's.
    for turn in 0..20 {
        assert_eq!(role(&gateway, "7", &[]), "primary", "turn {turn}");
    }
    assert_eq!(role(&gateway, "8", &[]), "replica");
    assert_sound(&gateway);
}

#[test]
fn a_window_is_for_what_may_have_been_written_and_ends() {
    let shards = Shards::start(4);
    let gateway = shards.gateway(&with(json!({"window": "1h"}))).start();
    for (user, query, expected) in [
        ("ok", "status=201", "primary"),
        ("moved", "status=303", "primary"),
        ("refused", "status=409", "replica"),
        ("failed", "status=500", "primary"),
        ("cut", "abort=1", "primary"),
    ] {
        let _ = send(&gateway, "PUT", &format!("/x?{query}"), &[("x-user", user)]);
        assert_eq!(role(&gateway, user, &[]), expected, "{user}");
    }

    let gateway = shards.gateway(&with(json!({"window": "500ms"}))).start();
    let _ = send(&gateway, "POST", "/x", &[("x-user", "7")]);
    wait::until("the window to end", || {
        role(&gateway, "7", &[]) == "replica"
    });
    assert_sound(&gateway);
}

#[test]
fn a_client_takes_its_window_along_to_another_gateway() {
    let shards = Shards::start(4);
    let start = |secret: &str, window: &str| {
        let cookie = json!({"secret": {"env": "SHARD_COOKIE_SECRET"}});
        let policy = with(json!({"window": window, "by": {"cookie": cookie}}));
        let builder = shards.gateway(&policy).alternative("cookie");
        builder.env("SHARD_COOKIE_SECRET", secret).start()
    };
    let secret = "a secret of the gateways";
    let (one, two) = (start(secret, "1h"), start(secret, "1h"));
    let answer = send(&one, "POST", "/x", &[("x-user", "7")]);
    let set = answer.header("set-cookie").expect("a cookie");
    assert!(
        set.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"),
        "{set}"
    );
    let cookie = set.split(';').next().unwrap();

    assert_eq!(role(&two, "7", &[("cookie", cookie)]), "primary");
    assert_eq!(role(&two, "7", &[]), "replica");
    assert_eq!(role(&two, "8", &[("cookie", cookie)]), "replica");
    let (name, value) = cookie.split_once('=').unwrap();
    let mut forged = value.to_owned().into_bytes();
    forged[20] = if forged[20] == b'A' { b'B' } else { b'A' };
    let forged = format!("{name}={}", String::from_utf8(forged).unwrap());
    assert_eq!(role(&two, "7", &[("cookie", &forged)]), "replica");
    let stranger = start("a secret of somebody else", "1h");
    assert_eq!(role(&stranger, "7", &[("cookie", cookie)]), "replica");

    // A read and a refused write set none.
    let read = send(&one, "GET", "/x", &[("x-user", "7")]);
    let refused = send(&one, "POST", "/x?status=400", &[("x-user", "7")]);
    assert_eq!(
        (read.header("set-cookie"), refused.header("set-cookie")),
        (None, None)
    );

    let brief = start(secret, "500ms");
    let answer = send(&brief, "POST", "/x", &[("x-user", "7")]);
    let set = answer.header("set-cookie").expect("a cookie");
    let cookie = set.split(';').next().unwrap();
    wait::until("the cookie to end", || {
        role(&brief, "7", &[("cookie", cookie)]) == "replica"
    });
    for gateway in [one, two, stranger, brief] {
        assert_sound(&gateway);
    }
}

#[test]
fn a_gateway_without_its_secret_does_not_start() {
    let cookie = json!({"secret": {"env": "SHARD_COOKIE_SECRET"}});
    let policy = with(json!({"window": "5s", "by": {"cookie": cookie}}));
    let started = Shards::start(1).gateway(&policy).try_start();
    let log = started.expect_err("it is refused");
    assert!(
        log.contains("found no variable SHARD_COOKIE_SECRET"),
        "{log}"
    );
}

#[test]
fn a_write_by_another_route_of_the_table_is_remembered_as_well() {
    let shards = Shards::start(4);
    let mut policy = with(json!({"window": "1h"}));
    let writes = json!({"name": "writes", "match": {"methods": ["POST"]}, "table": "users", "key": [{"query": "user"}]});
    let routes = policy["routes"].as_array_mut().unwrap();
    for (name, role) in [("primary", json!("primary")), ("none", Value::Null)] {
        let mut route = writes.clone();
        route["name"] = name.into();
        route["match"]["path"] = json!({"prefix": format!("/{name}")});
        if !role.is_null() {
            route["role"] = role;
        }
        routes.insert(0, route);
    }
    let gateway = shards.gateway(&policy).workers(2).start();
    for user in ["primary", "none"] {
        assert_eq!(role(&gateway, user, &[]), "replica");
        let _ = send(&gateway, "POST", &format!("/{user}?user={user}"), &[]);
        assert_eq!(role(&gateway, user, &[]), "primary", "{user}");
    }
    assert_sound(&gateway);
}

/// A window that has ended before the answer has.
#[test]
fn a_window_begins_anew_when_the_answer_has_come_to_its_end() {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |request, number, stream| {
        if request.method == "GET" {
            return made(stream, number);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")?;
        theirs.pass();
        stream.write_all(b"more")?;
        Ok(true)
    });
    let address = (service.address(), service.address());
    let policy = with(json!({"window": "2s"}));
    let gateway = shard::gateway(&[address; 4], &policy).start();
    let role = || {
        let _ = send(&gateway, "GET", "/x", &[("x-user", "7")]);
        let last = service.executions().pop();
        last.and_then(|last| last.header("x-shard-role"))
            .unwrap_or_default()
    };
    thread::scope(|scope| {
        let write = scope.spawn(|| send(&gateway, "POST", "/x", &[("x-user", "7")]));
        wait::until("the window to begin", || role() == "primary");
        wait::until("it to end", || role() == "replica");
        gate.open();
        assert_eq!(write.join().unwrap().status, 200);
    });
    wait::until("it to begin anew", || role() == "primary");
    assert_sound(&gateway);
}
