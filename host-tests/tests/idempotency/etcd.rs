//! Records in a real etcd, behind a real Envoy. Rows of the failure matrix (docs/idempotency.md) by their numbers.

use std::thread;
use std::time::Duration;

use host_tests::etcd::{Etcd, Kv};
use host_tests::gateway::Gateway;
use host_tests::idempotency::{
    LEASE, Service, assert_replay, assert_unknown, brisk, count, etcd_policy, event, gateway,
    hasty, made, pay, told, until_answered, until_event, until_settled,
};
use host_tests::limits::assert_sound;
use host_tests::wait;
use rustix::process::Signal;
use serde_json::{Value, json};

fn start(etcd: &Etcd, service: &Service, store: Value, route: Value) -> Gateway {
    gateway(service.address(), etcd_policy(store, route))
        .etcd(etcd)
        .workers(2)
        .start()
}

fn charge(number: usize) -> (u16, String) {
    (201, format!("charge {number}\n"))
}

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

fn records(etcd: &Etcd) -> Vec<Kv> {
    etcd.keys("sluice:idem:")
}

fn fences(service: &Service) -> Vec<u64> {
    let executions = service.executions().into_iter();
    let fences = executions.map(|one| one.header("idempotency-fence").unwrap());
    fences.map(|fence| fence.parse().unwrap()).collect()
}

/// Row 13.
#[test]
fn a_herd_over_two_gateways_is_carried_out_once() {
    let (service, gate) = Service::gated();
    let etcd = Etcd::start();
    let wait = json!({"wait": "20s"});
    let gateways = [(); 2].map(|()| start(&etcd, &service, json!({}), wait.clone()));
    let answers = thread::scope(|scope| {
        let herd: Vec<_> = (0..30)
            .map(|number| {
                scope.spawn({
                    let gateway = &gateways[number % 2];
                    move || pay(gateway, "k", b"a=1").unwrap()
                })
            })
            .collect();
        wait::until("all to have asked", || {
            let waiting: u64 = gateways
                .iter()
                .map(|gateway| event(gateway, "waited"))
                .sum();
            service.count() == 1 && waiting == 29
        });
        gate.open();
        herd.into_iter()
            .map(|one| one.join().unwrap())
            .collect::<Vec<_>>()
    });
    let first = answers
        .iter()
        .find(|answer| answer.header("idempotency-replayed").is_none());
    let first = first.expect("one is the first");
    assert_eq!(told(first), charge(1));
    let replays: Vec<_> = answers.iter().filter(|answer| *answer != first).collect();
    assert_eq!(replays.len(), 29);
    for replay in replays {
        assert_replay(replay, first);
    }
    assert_eq!(service.count(), 1);
    assert_eq!(records(&etcd).len(), 1);
    // Each worker has asked for a lease or two, not each request.
    let leases = etcd.ask("/v3/kv/lease/leases", &json!({}));
    assert!(leases["leases"].as_array().unwrap().len() <= 4, "{leases}");
    gateways.iter().for_each(assert_sound);
}

/// Rows 12 and 14, and what a replay is.
#[test]
fn a_replay_is_the_first_answer_and_another_request_with_the_key_is_refused() {
    let answer = b"\0\x01line\nline\r\n\xff\xfe\"{}".repeat(2_000);
    let body = answer.clone();
    let service = Service::start(move |_, number, stream| {
        use std::io::Write;
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 402 Payment Required\r\nx-charge: {number}\r\nset-cookie: a=b\r\ncontent-length: {length}\r\n\r\n"
        )?;
        stream.write_all(&body)?;
        Ok(true)
    });
    let etcd = Etcd::start();
    let gateways = [(); 2].map(|()| start(&etcd, &service, json!({}), json!({})));
    let first = pay(&gateways[0], "k", b"a=1").unwrap();
    assert_eq!((first.status, &first.body), (402, &answer));
    for gateway in &gateways {
        let replay = pay(gateway, "k", b"a=1").unwrap();
        assert_eq!((replay.status, &replay.body), (402, &answer));
        assert_eq!(replay.header("x-charge").as_deref(), Some("1"));
        assert_eq!(replay.header("set-cookie"), None);
        assert_eq!(
            replay.header("idempotency-replayed").as_deref(),
            Some("true")
        );
        let other = pay(gateway, "k", b"a=2").unwrap();
        assert_eq!(told(&other), problem(422, "key-reused"));
    }
    assert_eq!(service.count(), 1);
    gateways.iter().for_each(assert_sound);
}

/// Rows 16 and 30: a request that takes longer than its lease stays in flight, since it is renewed.
#[test]
fn a_request_in_flight_is_renewed_and_its_retries_wait_or_are_told_so() {
    let (service, gate) = Service::gated();
    let etcd = Etcd::start();
    let gateway = start(&etcd, &service, brisk(), json!({"lease": LEASE}));
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        let revision = records(&etcd)[0].created;
        // Three leases long.
        until_event(&gateway, "renewed", 9);
        let other = pay(&gateway, "k", b"").unwrap();
        assert_eq!(told(&other), problem(409, "in-flight"));
        assert!(other.header("retry-after").is_some());
        let record = records(&etcd).remove(0);
        assert!(record.created == revision && record.modified > revision);
        gate.open();
        first.join().unwrap()
    });
    assert_eq!(told(&first), charge(1));
    assert_replay(&pay(&gateway, "k", b"").unwrap(), &first);
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// Rows 7 and 28: unknown for as long as the record is kept, and a new execution with a higher fence after that.
#[test]
fn who_died_leaves_unknown_until_the_retention_is_over() {
    let (service, gate) = Service::gated();
    let etcd = Etcd::start();
    let route = json!({"lease": "1s", "retention": "10s"});
    let other = start(&etcd, &service, hasty(), route.clone());
    let gateway = start(&etcd, &service, hasty(), route);
    thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b""));
        wait::until("the first to run", || service.count() == 1);
        gateway.envoy().running().signal(Signal::KILL);
        assert!(first.join().unwrap().is_err());
    });
    gate.open();
    assert_unknown(&other, "k", b"");
    assert_eq!(service.count(), 1);
    // etcd ends it by itself.
    let over = || records(&etcd).is_empty().then_some(());
    assert!(wait::poll(Duration::from_secs(60), over).is_some());
    let second = pay(&other, "k", b"").unwrap();
    assert_eq!(told(&second), charge(2));
    let fences = fences(&service);
    assert!(fences[1] > fences[0], "{fences:?}");
    assert_sound(&other);
}

/// Rows 1 and 21: at once where nobody listens, and by the deadline where nobody answers.
#[test]
fn without_its_store_a_gateway_sends_nothing() {
    let service = Service::counting();
    let mut etcd = Etcd::start();
    let gateway = start(&etcd, &service, hasty(), json!({}));
    let first = pay(&gateway, "before", b"").unwrap();
    assert_eq!(told(&first), charge(1));
    etcd.pause();
    let refused = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&refused), problem(503, "store-unavailable"));
    assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
    etcd.kill();
    let refused = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&refused), problem(503, "store-unavailable"));
    assert_eq!(service.count(), 1);
    etcd.restart();
    // What it has acknowledged it has kept.
    assert_replay(&until_available(&gateway, "before"), &first);
    assert_eq!(told(&until_available(&gateway, "k")), charge(2));
    assert_eq!(service.count(), 2);
    let fences = fences(&service);
    assert!(fences[1] > fences[0], "{fences:?}");
    assert!(event(&gateway, "store_unavailable") >= 2);
    assert!(count(&gateway, "etcd.error.timeout") > 0);
    assert_sound(&gateway);
}

/// Asks again as long as the store cannot be asked.
fn until_available(gateway: &Gateway, key: &str) -> host_tests::client::Response {
    wait::poll(wait::PATIENCE, || {
        let answer = until_settled(gateway, key, b"");
        (told(&answer).1 != "store-unavailable").then_some(answer)
    })
    .expect("the store to be there")
}

/// Row 2: what a frozen etcd was sent it carries out later, the acquire and the release of what that took.
#[test]
fn a_key_taken_by_an_acquire_whose_reply_was_lost_is_freed() {
    let service = Service::counting();
    let etcd = Etcd::start();
    let gateway = gateway(service.address(), etcd_policy(hasty(), json!({})))
        .etcd(&etcd)
        .start();
    assert_eq!(told(&pay(&gateway, "before", b"").unwrap()), charge(1));
    etcd.pause();
    let refused = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&refused), problem(503, "store-unavailable"));
    etcd.resume();
    let answer = until_available(&gateway, "k");
    assert_eq!(told(&answer), charge(2));
    assert_eq!(service.count(), 2);
    assert_sound(&gateway);
}

/// Row 8.
#[test]
fn a_commit_whose_reply_was_lost_is_repeated_without_effect() {
    let (service, gate) = Service::gated();
    let etcd = Etcd::start();
    let gateway = start(&etcd, &service, brisk(), json!({}));
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        etcd.pause();
        gate.open();
        wait::until("a commit without a reply", || {
            count(&gateway, "etcd.error.timeout") > 0
        });
        etcd.resume();
        first.join().unwrap()
    });
    assert_eq!(told(&first), charge(1));
    let record = records(&etcd).remove(0);
    assert_replay(&pay(&gateway, "k", b"").unwrap(), &first);
    assert_eq!(records(&etcd), [record]);
    assert_eq!(service.count(), 1);
    until_event(&gateway, "committed", 1);
    assert_sound(&gateway);
}

/// Row 9: what cannot be stored is not given, and its key stays taken, until it can be.
#[test]
fn an_answer_that_cannot_be_stored_is_stored_later() {
    let (service, gate) = Service::gated();
    let mut etcd = Etcd::start();
    let gateway = start(&etcd, &service, brisk(), json!({}));
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        etcd.kill();
        gate.open();
        until_answered(&gateway, 201);
        first.join().unwrap()
    });
    assert_eq!(told(&first), problem(503, "not-recorded"));
    etcd.restart();
    until_event(&gateway, "recorded_late", 1);
    assert_eq!(told(&until_available(&gateway, "k")), charge(1));
    assert_eq!(service.count(), 1);
    until_event(&gateway, "not_recorded", 1);
    assert_sound(&gateway);
}

/// Rows 10 and 23: another has the record by now, or an operator has said what became of the request.
#[test]
fn a_commit_that_comes_too_late_overwrites_nothing() {
    let (service, gate) = Service::gated();
    let etcd = Etcd::start();
    let gateway = start(&etcd, &service, json!({}), json!({}));
    let (first, word) = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        let record = records(&etcd).remove(0);
        let line = String::from_utf8(record.value).unwrap();
        let taken = line.replace("\"token\":\"", "\"token\":\"0");
        etcd.put(&record.key, taken.as_bytes());
        let word = records(&etcd);
        gate.open();
        (first.join().unwrap(), word)
    });
    assert_eq!(told(&first), problem(503, "not-recorded"));
    assert_eq!(records(&etcd), word);
    until_event(&gateway, "superseded", 1);
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// Row 4: what was never sent frees its key.
#[test]
fn a_service_that_is_not_there_leaves_the_key_free() {
    let etcd = Etcd::start();
    let nowhere = ([127, 0, 0, 1], host_tests::ports::free()).into();
    let gateway = gateway(nowhere, etcd_policy(json!({}), json!({})))
        .etcd(&etcd)
        .start();
    let refused = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&refused), problem(503, "not-sent"));
    assert!(records(&etcd).is_empty());
    let service = Service::listen(nowhere, |_, number, stream| made(stream, number));
    assert_eq!(told(&until_sent(&gateway)), charge(1));
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

fn until_sent(gateway: &Gateway) -> host_tests::client::Response {
    wait::poll(wait::PATIENCE, || {
        let answer = pay(gateway, "k", b"").unwrap();
        (told(&answer).1 != "not-sent").then_some(answer)
    })
    .expect("the service to be there")
}

/// Row 27.
#[test]
fn a_record_that_cannot_be_read_lets_nothing_run() {
    let service = Service::counting();
    let etcd = Etcd::start();
    let gateway = start(&etcd, &service, json!({}), json!({}));
    assert_eq!(told(&pay(&gateway, "k", b"").unwrap()), charge(1));
    let record = records(&etcd).remove(0);
    let mut short = record.value.clone();
    short.pop();
    for damage in [&b"text"[..], b"", b"{}\n", b"{\"v\":1}\n", &short] {
        etcd.put(&record.key, damage);
        let answer = pay(&gateway, "k", b"").unwrap();
        assert_eq!(told(&answer), problem(500, "record-corrupt"));
    }
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}
