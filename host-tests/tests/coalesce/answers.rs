//! Which answer a client gets, and from where.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use host_tests::coalesce::{
    FRESH, Sent, answer, assert_sound, gateway, get, head, status, until_event,
};
use host_tests::idempotency::Service;
use host_tests::message::Message;
use host_tests::wait;
use serde_json::json;

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

/// A service that answers its number.
fn counting(fields: &'static str) -> Service {
    Service::start(move |_, number, stream| answer(stream, fields, number.to_string().as_bytes()))
}

#[test]
fn a_hit_has_all_that_the_answer_had_and_its_age() {
    let service = counting(
        "cache-control: max-age=60\r\nx-a: 1\r\nx-a: 2\r\nx-bytes: \u{e9}\r\nconnection: x-hop\r\nx-hop: 1\r\n",
    );
    let gateway = gateway(service.address(), json!({})).start();
    let first = get(&gateway, "/a", "");
    assert_eq!(status(&first), "c; fwd=uri-miss; stored");
    let hit = get(&gateway, "/a", "");
    assert_eq!((hit.status, text(&hit)), (200, "1".to_owned()));
    let all: Vec<_> = hit
        .headers
        .iter()
        .filter(|(name, _)| name == "x-a")
        .collect();
    assert_eq!(all.len(), 2);
    assert_eq!(hit.header("x-bytes"), first.header("x-bytes"));
    assert_eq!(hit.header("x-hop"), None);
    assert_eq!(hit.header("content-type"), None, "it had none");
    assert_eq!(hit.header("content-length").as_deref(), Some("1"));
    assert!(
        hit.header("age")
            .is_some_and(|age| age.parse::<u64>().unwrap() < 10)
    );
    assert_eq!(hit.header("date"), first.header("date"));
    assert_sound(&gateway);
}

#[test]
fn variants_have_answers_of_their_own() {
    let service = Service::start(|message, number, stream| {
        let language = message.header("accept-language").unwrap_or_default();
        let fields = format!("{FRESH}vary: accept-language\r\n");
        answer(stream, &fields, format!("{language} {number}").as_bytes())
    });
    let gateway = gateway(service.address(), json!({})).workers(2).start();
    let ask = |language: &str| {
        text(&get(
            &gateway,
            "/a",
            &format!("accept-language: {language}\r\n"),
        ))
    };
    for _ in 0..3 {
        assert_eq!(ask("de"), "de 1");
        assert_eq!(ask("en"), "en 2");
        assert_eq!(text(&get(&gateway, "/a", "")), " 3");
    }
    assert_eq!(service.count(), 3);
    assert_sound(&gateway);
}

#[test]
fn a_stale_answer_is_revalidated_and_served_again() {
    let service = Service::start(|message, number, stream| {
        let fields = "cache-control: max-age=0, must-revalidate\r\netag: \"v\"\r\n";
        if message.header("if-none-match").as_deref() == Some("\"v\"") {
            head(stream, "304 Not Modified", fields, 0)?;
            return Ok(true);
        }
        answer(stream, fields, number.to_string().as_bytes())
    });
    let gateway = gateway(service.address(), json!({})).start();
    assert_eq!(text(&get(&gateway, "/a", "")), "1");
    for _ in 0..3 {
        let again = get(&gateway, "/a", "");
        assert_eq!((again.status, text(&again)), (200, "1".to_owned()));
        assert!(
            status(&again).starts_with("c; fwd=stale; fwd-status=304"),
            "{}",
            status(&again)
        );
    }
    let mut has_it = Sent::get(&gateway, "/a", "if-none-match: \"v\"\r\n");
    let told = has_it.answer();
    assert_eq!((told.status, text(&told)), (304, String::new()));
    assert_eq!(service.count(), 5);
    assert_sound(&gateway);
}

#[test]
fn a_client_that_has_a_fresh_answer_is_told_so_without_asking() {
    let service = counting("cache-control: max-age=60\r\netag: \"v\"\r\n");
    let gateway = gateway(service.address(), json!({})).start();
    let _ = get(&gateway, "/a", "");
    let told = get(&gateway, "/a", "if-none-match: \"x\", \"v\"\r\n");
    assert_eq!(
        (told.status, told.header("etag").as_deref()),
        (304, Some("\"v\""))
    );
    assert_eq!(get(&gateway, "/a", "if-none-match: \"x\"\r\n").status, 200);
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

#[test]
fn head_is_answered_from_what_get_brought() {
    let service = Service::start(|message, _, stream| {
        if message.method == "HEAD" {
            head(stream, "200 OK", FRESH, 5)?;
            return Ok(true);
        }
        answer(stream, FRESH, b"12345")
    });
    let gateway = gateway(service.address(), json!({})).start();
    let ask = || Sent::send(&gateway, "HEAD", "/a", "").head();
    assert_eq!(ask().header("content-length").as_deref(), Some("5"));
    assert_eq!(service.count(), 1);
    assert_eq!(text(&get(&gateway, "/a", "")), "12345");
    let hit = ask();
    assert!(status(&hit).starts_with("c; hit"), "{}", status(&hit));
    assert_eq!(hit.header("content-length").as_deref(), Some("5"));
    assert_eq!(service.count(), 2);
    assert_sound(&gateway);
}

/// A service that can be broken.
fn breakable(fields: &'static str) -> (Service, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&broken);
    let service = Service::start(move |_, number, stream| {
        if theirs.load(Ordering::SeqCst) {
            head(stream, "503 Unavailable", "", 0)?;
            return Ok(true);
        }
        answer(stream, fields, number.to_string().as_bytes())
    });
    (service, broken)
}

#[test]
fn a_stale_answer_stands_in_for_an_origin_that_fails() {
    let (service, broken) = breakable("cache-control: max-age=1\r\n");
    let gateway = gateway(service.address(), json!({"stale_if_error": "1h"})).start();
    assert_eq!(text(&get(&gateway, "/a", "")), "1");
    broken.store(true, Ordering::SeqCst);
    wait::until("the answer to be stale", || {
        service.count() > 1 || {
            let got = get(&gateway, "/a", "");
            assert_eq!((got.status, text(&got)), (200, "1".to_owned()));
            false
        }
    });
    let got = get(&gateway, "/a", "");
    assert_eq!((got.status, text(&got)), (200, "1".to_owned()));
    assert!(
        status(&got).starts_with("c; fwd=stale; fwd-status=503"),
        "{}",
        status(&got)
    );
    assert_eq!(get(&gateway, "/other", "").status, 503);
    assert_sound(&gateway);
}

#[test]
fn a_stale_answer_is_served_while_the_gateway_fetches_another() {
    let (service, _) = breakable("cache-control: max-age=1\r\n");
    let route = json!({"stale_while_revalidate": "1h", "refresh": {"cluster": "origin"}});
    let gateway = gateway(service.address(), route).workers(2).start();
    assert_eq!(text(&get(&gateway, "/a", "x-mine: 1\r\n")), "1");
    // Nobody waits: all are hits.
    wait::until("another answer", || {
        let got = get(&gateway, "/a", "x-mine: 1\r\n");
        assert!(status(&got).starts_with("c; hit"), "{}", status(&got));
        text(&got) == "2"
    });
    let seen = service.executions();
    assert_eq!(seen[1].method, "GET");
    assert_eq!(seen[1].path, "/a");
    assert_eq!(seen[1].header("host").as_deref(), Some("shop"));
    assert_eq!(seen[1].header("x-mine").as_deref(), Some("1"));
    assert_sound(&gateway);
}

#[test]
fn a_change_makes_all_workers_ask_again() {
    let service = counting(FRESH);
    let gateway = gateway(service.address(), json!({})).workers(4).start();
    // The other workers hear of it a moment later.
    let all = |expected: &str| {
        let one = || text(&get(&gateway, "/a", "")) == expected;
        wait::until("all workers to know", || (0..20).all(|_| one()));
    };
    all("1");
    assert_eq!(
        Sent::send(&gateway, "POST", "/a", "content-length: 0\r\n")
            .answer()
            .status,
        200
    );
    all("3");
    assert_eq!(service.count(), 3);
    assert_sound(&gateway);
}

#[test]
fn a_purge_forgets_in_all_workers_and_wants_the_token() {
    let service = counting(FRESH);
    let gateway = gateway(service.address(), json!({})).workers(4).start();
    let purge = |token: &str, target: &str| {
        let fields = format!(
            "authorization: Bearer {token}\r\nsluice-purge: {target}\r\ncontent-length: 0\r\n"
        );
        Sent::send(&gateway, "POST", "/.purge", &fields)
            .answer()
            .status
    };
    let all = |path: &str, expected: &str| {
        let one = || text(&get(&gateway, path, "")) == expected;
        wait::until("all workers to know", || (0..20).all(|_| one()));
    };
    all("/a", "1");
    all("/b", "2");
    assert_eq!(purge("wrong", "*"), 401);
    all("/a", "1");
    assert_eq!(purge("secret", "/a"), 204);
    all("/a", "3");
    all("/b", "2");
    assert_eq!(purge("secret", "*"), 204);
    all("/b", "4");
    assert_eq!(service.count(), 4, "a purge never goes upstream");
    assert_sound(&gateway);
}

#[test]
fn nothing_is_shared_that_must_not_be() {
    let service = Service::start(|message, number, stream| {
        let fields = match message.path.as_str() {
            "/private" => "cache-control: private, max-age=60\r\n",
            "/no-store" => "cache-control: no-store\r\n",
            "/vary" => "cache-control: max-age=60\r\nvary: *\r\n",
            "/silent" => "",
            _ => FRESH,
        };
        answer(stream, fields, number.to_string().as_bytes())
    });
    let gateway = gateway(service.address(), json!({})).start();
    let mut number = 0;
    let mut own = |path: &str, fields: &str| {
        number += 1;
        assert_eq!(
            text(&get(&gateway, path, fields)),
            number.to_string(),
            "{path} {fields}"
        );
    };
    for path in ["/private", "/no-store", "/vary", "/silent"] {
        own(path, "");
        own(path, "");
    }
    own("/public", "");
    for fields in [
        "authorization: Basic YTpi\r\n",
        "cookie: a=b\r\n",
        "cache-control: no-store\r\n",
        "range: bytes=0-1\r\nif-range: \"a\"\r\n",
    ] {
        own("/public", fields);
    }
    let shared = get(&gateway, "/public", "");
    assert_eq!(text(&shared), "9");
    until_event(&gateway, "bypass", 4);
    assert_sound(&gateway);
}
