//! A herd that comes at the moment when an entry is missing, or has expired.

use crate::measure::Start;
use host_tests::idempotency::Service;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

const CLIENTS: usize = 1_000;
/// How often the entry expires.
const EXPIRIES: usize = 5;

pub fn run(origin: &Service, servers: &[(&str, Start<'_>)]) {
    let limit = rustix::process::Resource::Nofile;
    let mut files = rustix::process::getrlimit(limit);
    files.current = files.maximum;
    rustix::process::setrlimit(limit, files).expect("the limit of files can be raised");
    let title = format!("{CLIENTS} clients, one key, 200 ms upstream");
    println!(
        "\n{title:48} {:>8} {:>10} {:>8} {:>8} {:>8}",
        "missing", "an expiry", "p50", "p99", "most"
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for (name, start) in servers {
        let server = start();
        let mut behind = Vec::new();
        let mut asked = Vec::new();
        runtime.block_on(async {
            let mut clients = connect(&server.url()).await;
            for _ in 0..=EXPIRIES {
                let before = origin.count();
                let arrived;
                (clients, arrived) = herd(clients).await;
                asked.push(origin.count() - before);
                let first = arrived.iter().min().copied().expect("clients");
                behind.extend(arrived.iter().map(|one| *one - first));
                // The answer is fresh for a second; a fetch behind a stale one takes a while.
                tokio::time::sleep(Duration::from_millis(1_700)).await;
            }
        });
        behind.sort_unstable();
        let at = |part: f64| {
            let place = (behind.len() as f64 * part) as usize;
            let time = behind.get(place.min(behind.len() - 1)).copied();
            time.unwrap_or_default().as_secs_f64() * 1_000.0
        };
        let (missing, expired) = asked.split_first().expect("a first herd");
        let each = expired.iter().sum::<usize>() as f64 / EXPIRIES as f64;
        println!(
            "{name:48} {missing:>8} {each:>10.2} {:>5.1} ms {:>5.1} ms {:>5.1} ms",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    println!("(upstream requests; times after the first answer of each herd)");
}

type Client = SendRequest<Empty<Bytes>>;

async fn connect(url: &str) -> Vec<Client> {
    let address = url.trim_start_matches("http://");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let made = handshake(TokioIo::new(stream)).await;
        let (client, connection) = made.expect("a connection");
        tokio::spawn(connection);
        clients.push(client);
    }
    clients
}

/// All ask at once; when each had its answer.
async fn herd(clients: Vec<Client>) -> (Vec<Client>, Vec<Instant>) {
    let ready = Arc::new(Barrier::new(clients.len()));
    let asking: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let ready = Arc::clone(&ready);
            tokio::spawn(async move {
                let request = Request::get("/herd").header("host", "shop");
                let request = request.body(Empty::new()).expect("a request");
                ready.wait().await;
                let answer = client.send_request(request).await.expect("an answer");
                assert_eq!(answer.status(), 200);
                let body = answer.into_body().collect().await.expect("a body");
                let arrived = Instant::now();
                assert_eq!(body.to_bytes().len(), 1024);
                (client, arrived)
            })
        })
        .collect();
    let (mut clients, mut arrived) = (Vec::new(), Vec::new());
    for one in asking {
        let (client, at) = one.await.expect("a client");
        clients.push(client);
        arrived.push(at);
    }
    (clients, arrived)
}
