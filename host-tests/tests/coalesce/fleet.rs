//! Flights of the fleet on real gateways and Redis: one request for all of them, whoever leaves, fails or is killed, and
//! without Redis one for each.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use host_tests::coalesce::{
    FRESH, Sent, answer, assert_sound, get, head, herd, policy, status, until_active, until_event,
};
use host_tests::gateway::{Gateway, Route};
use host_tests::idempotency::{Gate, Service};
use host_tests::limits::with;
use host_tests::redis::Redis;
use host_tests::wait;
use serde_json::{Value, json};

const WORKERS: usize = 2;
const PREFIX: &str = "sluice:flight:1:*";

/// One policy for all gateways. `flight` and `redis` are set in it.
fn fleet_policy(flight: Value, redis: Value) -> Value {
    let patient = json!({"wait": "20s", "max_time": "20s", "fleet": {}});
    let mut policy = policy(json!({"hit_for_miss": "2s", "flight": with(patient, flight)}));
    policy["redis"] = with(json!({"cluster": "sluice-redis", "timeout": "5s"}), redis);
    policy
}

fn start(gateways: usize, service: &Service, redis: &Redis, policy: &Value) -> Vec<Gateway> {
    let origin = service.address();
    (0..gateways)
        .map(|_| {
            Gateway::builder()
                .route(Route::CoalesceFleet)
                .redis(redis)
                .policy(policy)
                .edit(move |config| config.endpoints("origin", &[origin]))
                .workers(WORKERS)
                .start()
        })
        .collect()
}

/// A service that answers its number, as soon as the gate is open.
fn gated(fields: &'static str) -> (Service, Arc<Gate>) {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        theirs.pass();
        answer(stream, fields, format!("answer {number}").as_bytes())
    });
    (service, gate)
}

fn until_asked(service: &Service, count: usize) {
    wait::until("the origin to be asked", || service.count() == count);
}

fn event(gateway: &Gateway, name: &str) -> u64 {
    let name = format!("wasmcustom.sluice_coalesce.event.{name}");
    gateway.envoy().stat(&name)
}

/// Waits until this gateway has heard that another one leads.
fn until_waits(gateway: &Gateway) {
    wait::until("the gateway to wait for another", || {
        event(gateway, "fleet_wait") > 0
    });
}

/// A client at the first gateway that leads, and a herd at the others that waits for it.
fn led(gateways: &[Gateway], service: &Service) -> (Sent, Vec<Sent>) {
    let leader = Sent::get(&gateways[0], "/item", "");
    until_asked(service, 1);
    let others = gateways[1..].iter();
    let clients = others.flat_map(|gateway| {
        let herd = herd(gateway, 20, "/item", 0);
        until_waits(gateway);
        herd
    });
    let clients = clients.collect();
    assert_eq!(service.count(), 1);
    (leader, clients)
}

fn all_sound(gateways: &[Gateway]) {
    gateways.iter().for_each(assert_sound);
}

#[test]
fn a_herd_at_three_gateways_is_one_request_for_each_expiry() {
    let gates = [Gate::closed(), Gate::closed()];
    let theirs = gates.clone();
    let service = Service::start(move |_, number, stream| {
        if let Some(gate) = theirs.get(number - 1) {
            gate.pass();
        }
        let fields = "cache-control: max-age=3\r\n";
        answer(stream, fields, format!("answer {number}").as_bytes())
    });
    let redis = Redis::start();
    let gateways = start(3, &service, &redis, &fleet_policy(json!({}), json!({})));
    for (round, gate) in (1..).zip(gates) {
        let mut clients: Vec<Sent> = gateways
            .iter()
            .flat_map(|gateway| herd(gateway, 100, "/item", 0))
            .collect();
        until_asked(&service, round);
        gate.open();
        let mut stored = 0;
        for client in &mut clients {
            let got = client.answer();
            let body = format!("answer {round}");
            assert_eq!((got.status, &got.body[..]), (200, body.as_bytes()));
            match status(&got) {
                status if status.starts_with("c; fwd=uri-miss; collapsed; ttl=") => {}
                status => {
                    assert_eq!(status, "c; fwd=uri-miss; stored");
                    stored += 1;
                }
            }
        }
        assert_eq!((stored, service.count()), (1, round));
        let leads = || gateways.iter().map(|gateway| event(gateway, "fleet_lead"));
        wait::until("the counts", || leads().sum::<u64>() == round as u64);
        let only_stored = "cache-control: only-if-cached\r\n";
        wait::until("it to expire", || {
            let mut all = gateways.iter();
            all.all(|gateway| get(gateway, "/item", only_stored).status == 504)
        });
    }
    all_sound(&gateways);
}

#[test]
fn a_gateway_that_is_killed_is_replaced_after_its_lease() {
    let (service, gate) = gated(FRESH);
    let redis = Redis::start();
    let policy = fleet_policy(json!({"lease": "2s"}), json!({}));
    let mut gateways = start(3, &service, &redis, &policy);
    let (leader, mut clients) = led(&gateways, &service);
    gateways[0].envoy_mut().kill();
    let killed = Instant::now();
    drop(leader);
    until_asked(&service, 2);
    // The lease was renewed while the service worked.
    assert!(
        killed.elapsed().as_millis() > 1_000,
        "{:?}",
        killed.elapsed()
    );
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().body, b"answer 2");
    }
    assert_eq!(service.count(), 2);
    all_sound(&gateways[1..]);
}

#[test]
fn a_client_that_leaves_has_a_client_of_another_gateway_lead_at_once() {
    let (service, gate) = gated(FRESH);
    let redis = Redis::start();
    let policy = fleet_policy(json!({"lease": "20s"}), json!({}));
    let gateways = start(2, &service, &redis, &policy);
    let (leader, mut clients) = led(&gateways, &service);
    drop(leader);
    until_asked(&service, 2);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().body, b"answer 2");
    }
    assert_eq!(service.count(), 2);
    all_sound(&gateways);
}

#[test]
fn an_upstream_that_fails_is_tried_by_another_gateway() {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        theirs.pass();
        if number == 1 {
            head(stream, "503 Service Unavailable", "", 0)?;
            return Ok(true);
        }
        answer(stream, FRESH, b"good")
    });
    let redis = Redis::start();
    let gateways = start(2, &service, &redis, &fleet_policy(json!({}), json!({})));
    let (mut leader, mut clients) = led(&gateways, &service);
    gate.open();
    assert_eq!(leader.answer().status, 503);
    for client in &mut clients {
        assert_eq!(client.answer().body, b"good");
    }
    assert_eq!(service.count(), 2);
    all_sound(&gateways);
}

#[test]
fn what_is_not_to_be_shared_is_asked_for_by_each_and_nobody_waits_for_another() {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        if number == 1 {
            theirs.pass();
        } else {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        let fields = format!("{FRESH}set-cookie: id={number}\r\n");
        answer(stream, &fields, number.to_string().as_bytes())
    });
    let redis = Redis::start();
    let gateways = start(3, &service, &redis, &fleet_policy(json!({}), json!({})));
    let (mut leader, mut clients) = led(&gateways, &service);
    gate.open();
    let since = Instant::now();
    let mut bodies: Vec<Vec<u8>> = clients
        .iter_mut()
        .map(|client| client.answer().body)
        .collect();
    bodies.push(leader.answer().body);
    let took = since.elapsed();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(
        (bodies.len(), service.count()),
        (41, 41),
        "each has its own"
    );
    // One by one would take eight seconds.
    assert!(took.as_millis() < 4_000, "{took:?}");
    for gateway in &gateways[1..] {
        until_event(gateway, "fleet_own", 1);
    }
    all_sound(&gateways);
}

#[test]
fn an_answer_too_long_for_redis_is_asked_for_by_each_gateway_once() {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, _, stream| {
        theirs.pass();
        answer(stream, FRESH, &[b'x'; 2_000])
    });
    let redis = Redis::start();
    let policy = fleet_policy(json!({"fleet": {"max_body": "1KiB"}}), json!({}));
    let gateways = start(3, &service, &redis, &policy);
    let (mut leader, mut clients) = led(&gateways, &service);
    gate.open();
    assert_eq!(leader.answer().body.len(), 2_000);
    for client in &mut clients {
        assert_eq!(client.answer().body.len(), 2_000);
    }
    assert_eq!(service.count(), 3);
    all_sound(&gateways);
}

#[test]
fn an_answer_of_the_longest_body_goes_from_gateway_to_gateway() {
    let body: Arc<Vec<u8>> = Arc::new((0..1 << 20).map(|at: u32| (at % 251) as u8).collect());
    let theirs = Arc::clone(&body);
    let service = Service::start(move |_, _, stream| answer(stream, FRESH, &theirs));
    let redis = Redis::start();
    let policy = fleet_policy(json!({"fleet": {"max_body": "1MiB"}}), json!({}));
    let gateways = start(2, &service, &redis, &policy);
    for gateway in &gateways {
        assert!(get(gateway, "/item", "").body == *body);
    }
    assert_eq!(service.count(), 1);
    until_event(&gateways[1], "fleet_answer", 1);
    all_sound(&gateways);
}

#[test]
fn variants_are_one_request_each_for_all_gateways() {
    let service = Service::start(|request, number, stream| {
        let language = request.header("accept-language").unwrap_or_default();
        let fields = format!("{FRESH}vary: accept-language\r\n");
        answer(stream, &fields, format!("{language} {number}").as_bytes())
    });
    let redis = Redis::start();
    let gateways = start(3, &service, &redis, &fleet_policy(json!({}), json!({})));
    for _ in 0..2 {
        for gateway in &gateways {
            for (language, body) in [("de", "de 1"), ("fr", "fr 2")] {
                let got = get(
                    gateway,
                    "/item",
                    &format!("accept-language: {language}\r\n"),
                );
                assert_eq!(got.body, body.as_bytes());
            }
        }
    }
    assert_eq!(service.count(), 2);
    all_sound(&gateways);
}

#[test]
fn what_a_gateway_has_invalidated_it_never_takes_from_redis() {
    let version = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&version);
    let service = Service::start(move |request, _, stream| {
        if request.method == "POST" {
            theirs.fetch_add(1, Ordering::SeqCst);
            return answer(stream, "", b"done");
        }
        let version = theirs.load(Ordering::SeqCst);
        answer(stream, FRESH, format!("version {version}").as_bytes())
    });
    let redis = Redis::start();
    let gateways = start(2, &service, &redis, &fleet_policy(json!({}), json!({})));
    for round in 0..30 {
        let path = format!("/item/{round}");
        version.store(0, Ordering::SeqCst);
        assert_eq!(get(&gateways[0], &path, "").body, b"version 0");
        let post = Sent::send(&gateways[1], "POST", &path, "content-length: 0\r\n").answer();
        assert_eq!(post.status, 200);
        for _ in 0..3 {
            assert_eq!(get(&gateways[1], &path, "").body, b"version 1", "{round}");
        }
        // The other one keeps what it has.
        assert_eq!(get(&gateways[0], &path, "").body, b"version 0");
    }
    all_sound(&gateways);
}

/// One request for each gateway, within the time that Redis has, whatever it does.
fn each_for_itself(service: &Service, gateways: &[Gateway]) {
    let since = Instant::now();
    for (index, gateway) in gateways.iter().enumerate() {
        let mut clients: Vec<Sent> = (0..20).map(|_| Sent::get(gateway, "/item", "")).collect();
        for client in &mut clients {
            assert_eq!(
                client.answer().body,
                format!("answer {}", index + 1).as_bytes()
            );
        }
    }
    assert!(since.elapsed().as_millis() < 5_000, "{:?}", since.elapsed());
    assert_eq!(service.count(), gateways.len());
    for gateway in gateways {
        until_event(gateway, "fleet_trouble", 1);
    }
    all_sound(gateways);
}

#[test]
fn without_redis_each_gateway_asks_once() {
    let (service, gate) = gated(FRESH);
    gate.open();
    let mut redis = Redis::start();
    let policy = fleet_policy(json!({}), json!({"timeout": "500ms"}));
    let gateways = start(2, &service, &redis, &policy);
    redis.kill();
    each_for_itself(&service, &gateways);
}

#[test]
fn with_a_redis_that_hangs_each_gateway_asks_once_after_its_timeout() {
    let (service, gate) = gated(FRESH);
    gate.open();
    let redis = Redis::start();
    let policy = fleet_policy(json!({}), json!({"timeout": "500ms"}));
    let gateways = start(2, &service, &redis, &policy);
    redis.pause();
    each_for_itself(&service, &gateways);
    redis.resume();
    // It is used again.
    wait::until("the fleet to be one again", || {
        let before = service.count();
        let path = format!("/again/{before}");
        gateways.iter().for_each(|gateway| {
            let _ = get(gateway, &path, "");
        });
        service.count() == before + 1
    });
}

#[test]
fn with_a_wrong_password_each_gateway_asks_once() {
    let (service, gate) = gated(FRESH);
    gate.open();
    let redis = Redis::builder().password("right").start();
    let policy = fleet_policy(json!({}), json!({"password": "wrong"}));
    let gateways = start(2, &service, &redis, &policy);
    each_for_itself(&service, &gateways);
}

#[test]
fn garbage_in_redis_is_fetched_anew() {
    let (service, gate) = gated(FRESH);
    gate.open();
    let redis = Redis::start();
    let gateways = start(3, &service, &redis, &fleet_policy(json!({}), json!({})));
    assert_eq!(get(&gateways[0], "/item", "").body, b"answer 1");
    let mut names = Vec::new();
    wait::until("the answer to be in Redis", || {
        names = redis.query::<Vec<String>>(&["KEYS", PREFIX]);
        names
            .iter()
            .any(|name| redis.query(&["HEXISTS", name, "blob"]))
    });
    let [name] = names.as_slice() else {
        panic!("{names:?}")
    };
    let left: i64 = redis.query(&["PTTL", name]);
    assert!((1..=3_600_000).contains(&left), "{left}");
    let _ = redis.cmd(&["HSET", name, "blob", "garbage"]);
    assert_eq!(get(&gateways[1], "/item", "").body, b"answer 2");
    until_event(&gateways[1], "fleet_trouble", 1);
    // It is mended.
    wait::until("the answer to be in Redis", || {
        redis.query::<i64>(&["HSTRLEN", name, "blob"]) > 10
    });
    assert_eq!(get(&gateways[2], "/item", "").body, b"answer 2");
    // Of a kind that is no flight at all.
    let _ = redis.cmd(&["FLUSHALL"]);
    let _ = redis.cmd(&["SET", name, "garbage"]);
    let fourth = start(1, &service, &redis, &fleet_policy(json!({}), json!({})));
    assert_eq!(get(&fourth[0], "/item", "").body, b"answer 3");
    assert_eq!(service.count(), 3);
    all_sound(&gateways);
}

/// The answer is still on its way when the client of another gateway leaves.
#[test]
fn clients_that_leave_while_they_wait_for_another_gateway_leave_nothing_behind() {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, _, stream| {
        head(stream, "200 OK", FRESH, 8)?;
        stream.write_all(b"half")?;
        theirs.pass();
        stream.write_all(b"half")?;
        Ok(true)
    });
    let redis = Redis::start();
    let gateways = start(2, &service, &redis, &fleet_policy(json!({}), json!({})));
    let (mut leader, clients) = led(&gateways, &service);
    drop(clients);
    until_active(&gateways[1], 0);
    let mut late = Sent::get(&gateways[1], "/item", "");
    until_active(&gateways[1], 1);
    gate.open();
    assert_eq!(leader.answer().body, b"halfhalf");
    assert_eq!(late.answer().body, b"halfhalf");
    assert_eq!(service.count(), 1);
    all_sound(&gateways);
}

/// Each is longer than what Redis is given at once by a connection that is half closed.
#[test]
fn many_long_answers_at_once_go_from_gateway_to_gateway_whole() {
    const KEYS: usize = 30;
    let service = Service::start(|request, _, stream| {
        let body = request.path.repeat(200_000 / request.path.len());
        answer(stream, FRESH, body.as_bytes())
    });
    let redis = Redis::start();
    let gateways = start(2, &service, &redis, &fleet_policy(json!({}), json!({})));
    let path = |key: usize| format!("/item/{key:02}");
    for key in 0..KEYS {
        let _ = get(&gateways[0], &path(key), "");
    }
    let mut clients: Vec<(usize, Sent)> = (0..KEYS)
        .map(|key| (key, Sent::get(&gateways[1], &path(key), "")))
        .collect();
    for (key, client) in &mut clients {
        let path = path(*key);
        assert!(client.answer().body == path.repeat(200_000 / path.len()).as_bytes());
    }
    assert_eq!(service.count(), KEYS);
    until_event(&gateways[1], "fleet_answer", KEYS as u64);
    all_sound(&gateways);
}
