//! Clients that speak HTTP/2: many requests on one connection are a herd like any other, and a stream that is reset is a
//! client that leaves.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use host_tests::coalesce::{FRESH, answer, assert_sound, gateway, head, until_active};
use host_tests::gateway::Gateway;
use host_tests::idempotency::{Gate, Service};
use host_tests::wait;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

type Connection = SendRequest<Empty<Bytes>>;

/// Answers its number and a large body, as soon as the gate is open.
fn gated() -> (Service, Arc<Gate>) {
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        theirs.pass();
        answer(stream, FRESH, &body(number))
    });
    (service, gate)
}

fn body(number: usize) -> Vec<u8> {
    format!("answer {number:09}").repeat(10_000).into_bytes()
}

fn start(service: &Service) -> Gateway {
    let route = json!({"flight": {"wait": "20s", "max_time": "20s"}});
    gateway(service.address(), route).workers(2).start()
}

async fn connect(gateway: &Gateway) -> Connection {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// GET of one item; status and body.
fn get(connection: &Connection) -> JoinHandle<(u16, Bytes)> {
    let mut connection = connection.clone();
    tokio::spawn(async move {
        let request = Request::get("http://shop/item").body(Empty::new()).unwrap();
        let answer = connection.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        (
            status,
            answer.into_body().collect().await.unwrap().to_bytes(),
        )
    })
}

#[test]
fn the_streams_of_two_connections_are_one_request() {
    let (service, gate) = gated();
    let gateway = start(&service);
    Runtime::new().unwrap().block_on(async {
        let connections = [connect(&gateway).await, connect(&gateway).await];
        let herd: Vec<_> = (0..100).map(|turn| get(&connections[turn % 2])).collect();
        until_active(&gateway, 100);
        gate.open();
        for client in herd {
            assert_eq!(client.await.unwrap(), (200, body(1).into()));
        }
    });
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

#[test]
fn a_leader_whose_stream_is_reset_is_replaced_and_its_connection_goes_on() {
    let (service, gate) = gated();
    let gateway = start(&service);
    Runtime::new().unwrap().block_on(async {
        let connection = connect(&gateway).await;
        let leader = get(&connection);
        wait::until("the leader to be upstream", || service.count() == 1);
        let herd: Vec<_> = (0..50).map(|_| get(&connection)).collect();
        until_active(&gateway, 51);
        // The request's future is dropped: the stream is reset.
        leader.abort();
        wait::until("another leader", || service.count() == 2);
        until_active(&gateway, 50);
        gate.open();
        for client in herd {
            assert_eq!(client.await.unwrap(), (200, body(2).into()));
        }
    });
    assert_eq!(service.count(), 2);
    assert_sound(&gateway);
}

/// Three of them, one more than failures of the service would be allowed.
#[test]
fn leaders_whose_streams_are_reset_in_the_body_are_no_failures_of_the_service() {
    const RESETS: usize = 3;
    let gate = Gate::closed();
    let theirs = Arc::clone(&gate);
    let service = Service::start(move |_, number, stream| {
        if number > RESETS {
            return answer(stream, FRESH, b"whole");
        }
        head(stream, "200 OK", FRESH, 1_000)?;
        stream.write_all(b"half")?;
        theirs.pass();
        Ok(false)
    });
    let gateway = start(&service);
    Runtime::new().unwrap().block_on(async {
        let connection = connect(&gateway).await;
        let heads = Arc::new(AtomicUsize::new(0));
        let ask = |number: usize| {
            let (mut connection, heads) = (connection.clone(), Arc::clone(&heads));
            tokio::spawn(async move {
                let request = Request::get("http://shop/item").header("x-client", number);
                let request = request.body(Empty::new()).unwrap();
                let answer = connection.send_request(request).await.unwrap();
                heads.fetch_add(1, Ordering::Relaxed);
                answer.into_body().collect().await.unwrap().to_bytes()
            })
        };
        let mut herd: Vec<Option<JoinHandle<Bytes>>> = vec![Some(ask(0))];
        wait::until("the leader to be upstream", || service.count() == 1);
        herd.extend((1..20).map(|number| Some(ask(number))));
        until_active(&gateway, 20);
        for reset in 1..=RESETS {
            wait::until("a head", || {
                service.count() == reset && heads.load(Ordering::Relaxed) == reset
            });
            let leader = service.executions()[reset - 1].header("x-client");
            let leader: usize = leader.unwrap().parse().unwrap();
            herd[leader].take().expect("it leads once").abort();
        }
        for client in herd.into_iter().flatten() {
            assert_eq!(client.await.unwrap(), "whole");
        }
    });
    assert_eq!(service.count(), RESETS + 1);
    gate.open();
    assert_sound(&gateway);
}
