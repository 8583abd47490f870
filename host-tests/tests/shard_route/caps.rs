//! How many requests a shard gets at once: no more than its cap, whatever clients do, and none is counted that is gone.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use host_tests::client::Client;
use host_tests::gateway::Gateway;
use host_tests::idempotency::{Gate, Service, made};
use host_tests::limits::assert_sound;
use host_tests::shard::{self, count, policy};
use host_tests::wait;
use serde_json::{Value, json};

const CAP: usize = 5;

fn with(in_flight: Value) -> Value {
    let pins = json!({"slow": "s0", "quick": "s1"});
    policy(
        json!({"shards": ["s0", "s1"], "pins": pins, "in_flight": in_flight}),
        json!({}),
    )
}

/// A shard that answers nothing before the gate is opened, and one that answers at once.
struct Slow {
    gate: Arc<Gate>,
    slow: Service,
    gateway: Gateway,
}

fn start(in_flight: Value, workers: usize) -> Slow {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let slow = Service::start(move |_, number, stream| {
        theirs.pass();
        made(stream, number)
    });
    let quick = Service::counting();
    let shards = [slow.address(), quick.address()].map(|address| (address, address));
    let gateway = shard::gateway(&shards, &with(in_flight))
        .workers(workers)
        .start();
    Slow {
        gate,
        slow,
        gateway,
    }
}

impl Slow {
    /// So many requests for the slow shard, each on a connection of its own, all arrived at the gateway.
    fn crowd(&self, size: usize) -> Vec<TcpStream> {
        let connect = |_| {
            let mut stream = TcpStream::connect(self.gateway.address()).unwrap();
            let request = b"GET /x HTTP/1.1\r\nhost: g\r\nx-user: slow\r\n\r\n";
            stream.write_all(request).unwrap();
            stream
        };
        (0..size).map(connect).collect()
    }

    fn active(&self) -> u64 {
        self.gateway
            .envoy()
            .stat("http.gateway.downstream_rq_active")
    }

    fn gauge(&self) -> u64 {
        count(&self.gateway, "table.users.shard.s0.in_flight")
    }

    fn status(&self, user: &str) -> (u16, Option<String>) {
        let answer = self.gateway.get("/x", &[("x-user", user)]);
        (answer.status, answer.header("retry-after"))
    }
}

#[test]
fn one_more_than_the_cap_is_told_to_come_back() {
    let slow = start(json!({"max": CAP, "retry_after": "3s"}), 2);
    let crowd = slow.crowd(CAP);
    wait::until("the crowd to be at the shard", || slow.slow.count() == CAP);
    for _ in 0..3 {
        assert_eq!(slow.status("slow"), (503, Some("3".to_owned())));
    }
    // The other shard has its own cap.
    assert_eq!(slow.status("quick").0, 201);
    wait::until("the gauge", || slow.gauge() == CAP as u64);
    slow.gate.open();
    wait::until("the crowd to be answered", || slow.active() == 0);
    assert_eq!(slow.status("slow").0, 201);
    assert_eq!(slow.slow.count(), CAP + 1);
    drop(crowd);
    wait::until("the gauge to be empty", || slow.gauge() == 0);
    assert_eq!(count(&slow.gateway, "table.users.shard.s0.over_cap"), 3);
    assert_sound(&slow.gateway);
}

#[test]
fn clients_that_leave_in_storms_leave_the_count_at_zero() {
    for queue in [Value::Null, json!({"max": 30, "wait": "10s"})] {
        let mut in_flight = json!({"max": CAP, "queue": queue});
        if queue.is_null() {
            in_flight.as_object_mut().unwrap().remove("queue");
        }
        let slow = start(in_flight, 2);
        for storm in 1..=4 {
            let crowd = slow.crowd(40);
            wait::until("the shard to be full", || slow.slow.count() >= storm * CAP);
            drop(crowd);
            wait::until("the storm to be over", || slow.active() == 0);
        }
        wait::until("the gauge to be empty", || slow.gauge() == 0);
        // All of the cap is there again, and not more.
        let before = slow.slow.count();
        let crowd = slow.crowd(CAP);
        wait::until("the cap to be used", || slow.slow.count() == before + CAP);
        if queue.is_null() {
            assert_eq!(slow.status("slow").0, 503);
        }
        slow.gate.open();
        wait::until("the crowd to be answered", || slow.active() == 0);
        drop(crowd);
        assert_sound(&slow.gateway);
    }
}

#[test]
fn who_waits_gets_the_turn_of_who_leaves() {
    let slow = start(json!({"max": CAP, "queue": {"max": 20, "wait": "1m"}}), 1);
    let crowd = slow.crowd(CAP + 20);
    wait::until("the shard to be full", || slow.slow.count() == CAP);
    wait::until("all to be there", || slow.active() == CAP as u64 + 20);
    // Nobody is left to wait behind.
    assert_eq!(slow.status("slow").0, 503);
    assert_eq!(slow.slow.count(), CAP);
    slow.gate.open();
    wait::until("all to be answered", || slow.active() == 0);
    assert_eq!(slow.slow.count(), CAP + 20);
    drop(crowd);
    assert_sound(&slow.gateway);
}

#[test]
fn who_waits_too_long_is_told_so() {
    let slow = start(
        json!({"max": 1, "queue": {"max": 9, "wait": "200ms"}, "retry_after": "4s"}),
        1,
    );
    let crowd = slow.crowd(1);
    wait::until("the shard to be full", || slow.slow.count() == 1);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let address = slow.gateway.address();
                let answer = Client::new(address)
                    .get("/x", &[("x-user", "slow")])
                    .unwrap();
                assert_eq!(answer.status, 503);
                assert_eq!(answer.header("retry-after").as_deref(), Some("4"));
                assert!(
                    answer.text().contains("shard-route-waited"),
                    "{}",
                    answer.text()
                );
            });
        }
    });
    assert_eq!(slow.slow.count(), 1);
    slow.gate.open();
    drop(crowd);
    assert_sound(&slow.gateway);
}
