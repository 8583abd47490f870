//! Guards on a real gateway and Redis: what does not exist reaches nobody, what exists is never refused, and whatever makes
//! that doubtful has everything pass, and is told.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use host_tests::bloom::{build, count, filter, gateway, open, policy, put, status, until_loaded};
use host_tests::coalesce::{FRESH, Sent, answer, assert_sound, get};
use host_tests::config::Config;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::idempotency::Service;
use host_tests::message::Message;
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::json;

const WORKERS: usize = 2;

/// A service that has every item, and creates those it is sent: their number is in the query.
fn shop() -> Service {
    Service::start(|request, _, stream| {
        let query = request.path.split_once('?').map_or("", |(_, query)| query);
        if request.method == "POST" {
            write!(
                stream,
                "HTTP/1.1 201 Created\r\nlocation: http://shop.internal/items/{query}\r\ncontent-length: 0\r\n\r\n"
            )?;
            return Ok(true);
        }
        answer(stream, FRESH, b"an item")
    })
}

fn start(service: &Service, redis: &Redis, guard: serde_json::Value) -> Gateway {
    gateway(service.address(), redis, &policy(guard))
        .workers(WORKERS)
        .start()
}

/// Creates an item by POST; the answer is read to its end.
fn create(gateway: &Gateway, id: &str) -> Message {
    let request = format!("/items?{id}");
    Sent::send(gateway, "POST", &request, "content-length: 0\r\n").answer()
}

/// Waits until everything passes in all workers, for this reason, and the requests for what does not exist are counted.
fn until_open(gateway: &Gateway, why: &str) {
    wait::until(&format!("{why} to be told"), || {
        open(gateway) == WORKERS as u64 && {
            let _ = status(gateway, "no-such-item");
            count(gateway, &format!("open_{why}")) > 0
        }
    });
    let log = gateway.envoy().log();
    let line = format!("guard items: all passes: open_{why}");
    assert!(log.contains(&line), "{log}");
    assert_eq!(status(gateway, "no-such-item"), 200);
}

#[test]
fn what_does_not_exist_is_answered_here_and_what_exists_is_not() {
    let (redis, service) = (Redis::start(), shop());
    build(
        &redis,
        "items",
        (0..1_000)
            .map(|id| id.to_string())
            .chain(["500 1".to_owned()]),
    );
    let gateway = start(&service, &redis, json!({}));
    until_loaded(&gateway, WORKERS, 1);
    for id in ["0", "7", "999", "500%201", "%37", "500%20%31"] {
        assert_eq!(status(&gateway, id), 200, "{id}");
    }
    let asked = service.count();
    for id in ["1000", "-1", "500%201x", "%30%30%30", "x"] {
        assert_eq!(status(&gateway, id), 404, "{id}");
    }
    let refused = get(&gateway, "/items/x", "");
    let problem: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(problem["type"], "urn:sluice:problem:coalesce-absent");
    assert_eq!(problem["status"], 404);
    let field = |name: &str| refused.header(name);
    assert_eq!(
        field("content-type").as_deref(),
        Some("application/problem+json")
    );
    assert_eq!(field("cache-control").as_deref(), Some("no-store"));
    let head = Sent::send(&gateway, "HEAD", "/items/x", "").head();
    assert_eq!(head.status, 404);
    assert_eq!(service.count(), asked, "none of them reached the origin");
    // What the guard is not for passes.
    assert_eq!(get(&gateway, "/items/x/reviews", "").status, 200);
    assert_eq!(get(&gateway, "/", "").status, 200);
    wait::until("the guard's counts", || {
        count(&gateway, "refused") == 7 && count(&gateway, "passed") == 6
    });
    assert_sound(&gateway);
}

#[test]
fn a_scan_of_ten_thousand_ids_reaches_the_origin_as_often_as_the_filter_was_made_for() {
    let (redis, service) = (Redis::start(), shop());
    put(&redis, "items", &filter(0..1_000, 1_000).to_blob());
    let gateway = start(&service, &redis, json!({}));
    until_loaded(&gateway, WORKERS, 1);
    let mut client = gateway.client();
    let mut refused = 0;
    for id in 10_000..20_000 {
        let answer = client.get::<&str>(&format!("/items/{id}"), &[]).unwrap();
        refused += usize::from(answer.status == 404);
    }
    // 10 of them pass, and six standard deviations are 19.
    assert_eq!(service.count(), 10_000 - refused);
    assert!(service.count() < 30, "{}", service.count());
    assert_sound(&gateway);
}

#[test]
fn what_is_created_is_there_at_once_on_every_worker_and_soon_on_other_gateways() {
    let (redis, service) = (Redis::start(), shop());
    build(&redis, "items", [1]);
    let gateways = [(); 2].map(|()| start(&service, &redis, json!({})));
    for gateway in &gateways {
        until_loaded(gateway, WORKERS, 1);
    }
    let (here, there) = (&gateways[0], &gateways[1]);
    for id in 100..300 {
        let id = format!("{id}%20x");
        assert_eq!(status(here, &id), 404);
        assert_eq!(create(here, &id).status, 201);
        // A connection of its own each: either worker's.
        for _ in 0..2 {
            assert_eq!(status(here, &id), 200, "{id}");
        }
    }
    wait::until("the other gateway to know", || {
        status(there, "299%20x") == 200
    });
    for id in 100..300 {
        assert_eq!(status(there, &format!("{id}%20x")), 200);
    }
    assert_eq!(status(there, "300%20x"), 404);
    wait::until("the counts", || count(here, "learnt") == 200);
    assert_sound(here);
    // A gateway that starts later knows as well.
    let late = start(&service, &redis, json!({}));
    until_loaded(&late, WORKERS, 1);
    assert_eq!(status(&late, "100%20x"), 200);
}

#[test]
fn a_new_build_takes_the_place_of_the_old_one() {
    let (redis, service) = (Redis::start(), shop());
    build(&redis, "items", [1]);
    let gateway = start(&service, &redis, json!({}));
    until_loaded(&gateway, WORKERS, 1);
    assert_eq!((status(&gateway, "1"), status(&gateway, "2")), (200, 404));
    // It comes in many pieces.
    let large = filter(2..3, 5_000_000).to_blob();
    assert!(large.len() > 8 << 20);
    put(&redis, "items", &large);
    until_loaded(&gateway, WORKERS, 2);
    assert_eq!((status(&gateway, "1"), status(&gateway, "2")), (404, 200));
    assert_sound(&gateway);
}

#[test]
fn what_is_missing_corrupt_or_too_large_has_everything_pass_and_is_told() {
    let (redis, service) = (Redis::start(), shop());
    let guard = json!({"max_size": "64KiB"});
    let gateway = start(&service, &redis, guard);
    until_open(&gateway, "missing");
    build(&redis, "items", [1]);
    until_loaded(&gateway, WORKERS, 1);
    assert_eq!(status(&gateway, "2"), 404);

    let mut bad = filter([1], 1_000).to_blob();
    *bad.last_mut().unwrap() ^= 1;
    put(&redis, "items", &bad);
    until_open(&gateway, "corrupt");
    build(&redis, "items", [1]);
    until_loaded(&gateway, WORKERS, 2);
    assert_eq!(status(&gateway, "3"), 404);

    put(&redis, "items", &filter([1], 100_000).to_blob());
    until_open(&gateway, "too_large");
    build(&redis, "items", [1]);
    until_loaded(&gateway, WORKERS, 3);
    assert_eq!(status(&gateway, "4"), 404);
    assert_sound(&gateway);
}

#[test]
fn when_redis_is_gone_for_too_long_everything_passes_until_it_is_back() {
    let (mut redis, service) = (Redis::start(), shop());
    build(&redis, "items", [1]);
    let mut policy = policy(json!({"max_age": "3s"}));
    policy["redis"]["timeout"] = "500ms".into();
    policy["redis"]["breaker"] = json!({"failures": 3, "open_for": "200ms"});
    let gateway = gateway(service.address(), &redis, &policy)
        .workers(WORKERS)
        .start();
    until_loaded(&gateway, WORKERS, 1);
    assert_eq!(status(&gateway, "2"), 404);
    redis.pause();
    // What is learnt meanwhile is kept for when it is back.
    assert_eq!(create(&gateway, "5").status, 201);
    until_open(&gateway, "stale");
    redis.resume();
    wait::until("the guard to close", || open(&gateway) == 0);
    assert_eq!((status(&gateway, "3"), status(&gateway, "5")), (404, 200));
    let key = "sluice:bloom:{items}:added";
    wait::until("Redis to be told", || {
        redis.query::<u64>(&["ZCARD", key]) == 1
    });
    // It comes back with nothing.
    redis.restart();
    until_open(&gateway, "missing");
    let errors = gateway.envoy().stats().into_iter();
    let errors = errors.filter(|(name, _)| name.contains("sluice_coalesce.redis.error"));
    assert!(errors.map(|(_, count)| count).sum::<u64>() > 0);
    assert_sound(&gateway);
}

/// The example with a stream, which the policy may name as well.
#[test]
fn redis_is_reached_by_a_stream_too() {
    let (redis, service) = (Redis::start(), shop());
    build(&redis, "items", [1]);
    let mut policy = policy(json!({}));
    policy["redis"]["transport"] = "stream".into();
    let stream = Config::example(Route::Stream.example());
    let gateway = with_stream(gateway(service.address(), &redis, &policy), &stream)
        .workers(WORKERS)
        .start();
    until_loaded(&gateway, WORKERS, 1);
    assert_eq!((status(&gateway, "1"), status(&gateway, "2")), (200, 404));
    assert_eq!(create(&gateway, "2").status, 201);
    assert_eq!(status(&gateway, "2"), 200);
    put(&redis, "items", &filter([3], 3_000_000).to_blob());
    until_loaded(&gateway, WORKERS, 2);
    assert_eq!((status(&gateway, "2"), status(&gateway, "1")), (200, 404));
    assert_sound(&gateway);
}

/// The listener and the cluster of the example whose connection to Redis stays open.
fn with_stream(builder: Builder, stream: &Config) -> Builder {
    let mut stream = stream.clone();
    builder.edit(move |config| {
        *config.listener("sluice-redis") = stream.listener("sluice-redis").clone();
        *config.cluster("sluice-redis") = stream.cluster("sluice-redis").clone();
    })
}

/// A client that asks while a filter is loaded for the first time is served.
#[test]
fn before_the_filter_is_there_everything_passes() {
    let service = shop();
    // Nobody listens there.
    let nobody: SocketAddr = ([127, 0, 0, 1], host_tests::ports::free()).into();
    assert!(TcpStream::connect(nobody).is_err());
    let policy = policy(json!({}));
    let address = service.address();
    let gateway = Gateway::builder()
        .route(Route::CoalesceBloom)
        .redis_at(&[nobody])
        .policy(&policy)
        .edit(move |config| config.endpoints("origin", &[address]))
        .workers(WORKERS)
        .start();
    assert_eq!(status(&gateway, "1"), 200);
    wait::until("it to be counted", || count(&gateway, "open_unloaded") == 1);
    wait::until("the gauge", || open(&gateway) > 0);
    assert_sound(&gateway);
}
