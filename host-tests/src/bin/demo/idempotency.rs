//! Idempotency keys: the scenarios of payments that must not be made twice. The service counts what it carries out.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use host_tests::client::Response;
use host_tests::gateway::Gateway;
use host_tests::idempotency::{
    LEASE, Service, brisk, gateway, pay, policy, request, told, until_answered, until_event,
    until_settled,
};
use host_tests::redis::Redis;
use host_tests::wait;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::report::Report;

pub fn run(report: &mut Report) {
    five_at_once(report);
    dropped_connection(report);
    killed_gateway(report);
}

fn begin(report: &mut Report, title: &str, policy: &Value) {
    report.scenario(title, &[]);
    report.note("route", &policy["routes"][0]);
}

fn summary(answer: &Response) -> String {
    let (status, text) = told(answer);
    let replayed = match answer.header("idempotency-replayed") {
        Some(_) => ", Idempotency-Replayed: true",
        None => "",
    };
    format!("{status} {}{replayed}", text.trim())
}

fn five_at_once(report: &mut Report) {
    let policy = policy(json!({}), json!({}));
    begin(
        report,
        "Two Envoys, one Redis: five POSTs at once with one idempotency key",
        &policy,
    );
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let gateways = [(); 2].map(|()| {
        let builder = gateway(service.address(), policy.clone());
        builder.redis(&redis).workers(2).start()
    });
    let answers: Vec<Response> = thread::scope(|scope| {
        let all: Vec<_> = (0..5)
            .map(|number| {
                let gateway = &gateways[number % 2];
                scope.spawn(move || pay(gateway, "order-17", b"amount=100"))
            })
            .collect();
        // While the first runs the others are told so.
        wait::until("four answers", || {
            all.iter().filter(|one| one.is_finished()).count() == 4
        });
        gate.open();
        let all = all.into_iter().map(|one| one.join().expect("no panic"));
        all.map(|answer| answer.expect("an answer")).collect()
    });
    let mut summaries: Vec<String> = answers.iter().map(summary).collect();
    summaries.sort();
    report.note("answers", summaries.join("; "));
    report.equal("the service carried out one", service.count(), 1);
    report.equal(
        "one client has its answer, four are told that it is in flight",
        summaries.join("; "),
        "201 charge 1; 409 in-flight; 409 in-flight; 409 in-flight; 409 in-flight".to_owned(),
    );
    let retries: Vec<String> = gateways
        .iter()
        .map(|gateway| summary(&sent(gateway, "order-17", b"amount=100")))
        .collect();
    report.note("retries", retries.join("; "));
    report.equal(
        "a retry gets the first answer, from either Envoy",
        retries,
        vec!["201 charge 1, Idempotency-Replayed: true".to_owned(); 2],
    );
    let changed = sent(&gateways[1], "order-17", b"amount=1000000");
    report.note("changed", summary(&changed));
    report.equal(
        "the same key with another body is refused",
        told(&changed),
        (422, "key-reused".to_owned()),
    );
    report.equal("the service still carried out one", service.count(), 1);
    let fence = service.executions()[0].header("idempotency-fence");
    report.holds(
        format!(
            "and was told a fencing number: {}",
            fence.as_deref().unwrap_or("none")
        ),
        fence.is_some(),
        "Idempotency-Fence",
        "none",
    );
}

fn sent(gateway: &Gateway, key: &str, body: &[u8]) -> Response {
    pay(gateway, key, body).expect("the gateway answers")
}

fn dropped_connection(report: &mut Report) {
    let policy = policy(json!({}), json!({"wait": "10s"}));
    begin(
        report,
        "The client's connection drops when the payment has been made: it retries",
        &policy,
    );
    let redis = Redis::start();
    let service = Service::counting();
    let gateway = gateway(service.address(), policy).redis(&redis).start();
    let mut client = TcpStream::connect(gateway.address()).expect("a connection");
    let bytes = request("order-18", b"amount=100");
    client.write_all(&bytes).expect("the request is sent");
    until_event(&gateway, "committed", 1);
    drop(client);
    report.note("client", "gone without having read the answer");
    let retry = sent(&gateway, "order-18", b"amount=100");
    report.note("retry", summary(&retry));
    report.equal(
        "the retry gets the answer that was lost",
        summary(&retry),
        "201 charge 1, Idempotency-Replayed: true".to_owned(),
    );
    report.equal("the service carried out one", service.count(), 1);
}

fn killed_gateway(report: &mut Report) {
    let policy = policy(brisk(), json!({"lease": LEASE}));
    begin(
        report,
        "Envoy is killed after the payment was made, before its answer could be recorded",
        &policy,
    );
    let mut redis = Redis::builder()
        .option("appendonly", "yes")
        .option("appendfsync", "always")
        .start();
    let (service, gate) = Service::gated();
    let mut gateway = gateway(service.address(), policy).redis(&redis).start();
    thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "order-19", b"amount=100"));
        wait::until("the payment to be made", || service.count() == 1);
        redis.kill();
        gate.open();
        until_answered(&gateway, 201);
        gateway.envoy().running().signal(Signal::KILL);
        let first = first.join().expect("no panic");
        report.holds(
            "the client gets no answer",
            first.is_err(),
            "an error",
            first.map_or_else(|error| error.to_string(), |answer| summary(&answer)),
        );
    });
    redis.restart();
    gateway.envoy_mut().restart();
    report.note(
        "restart",
        "another Envoy, and Redis with its append-only file",
    );
    let early = sent(&gateway, "order-19", b"amount=100");
    report.note("retry", summary(&early));
    let late = until_settled(&gateway, "order-19", b"amount=100");
    report.note("later", summary(&late));
    report.equal(
        "when the lease has ended the client is told that nobody knows",
        told(&late),
        (409, "unknown".to_owned()),
    );
    let again = sent(&gateway, "order-19", b"amount=100");
    report.equal("and always the same", told(&again), told(&late));
    report.equal("the service carried out one", service.count(), 1);
    resolved(report, &redis, &gateway, &service);
}

/// An operator has looked, and undone the payment: its key may be used again.
fn resolved(report: &mut Report, redis: &Redis, gateway: &Gateway, service: &Service) {
    let record = host_tests::idempotency::records(redis).remove(0);
    let fields: Vec<String> = redis.query(&["HMGET", &record, "route", "key", "fence", "state"]);
    report.note("record", fields.join(" "));
    let script = include_str!("../../../../plugins/core/src/idempotency/lua/resolve.lua");
    let word: Vec<String> = redis.query(&["EVAL", script, "1", &record, &fields[2], "free", "0"]);
    report.note("operator", format!("free: {}", word.join(" ")));
    let retry = sent(gateway, "order-19", b"amount=100");
    report.note("retry", summary(&retry));
    report.equal(
        "once an operator has freed the key, the next retry is carried out",
        (summary(&retry), service.count()),
        ("201 charge 2".to_owned(), 2),
    );
}
