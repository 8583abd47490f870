//! What the tests of the coalescing filter share: policies, a herd, an origin's answers, and the filter's counts.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::{Builder, Gateway, Route};
use crate::limits;
use crate::message::{Message, Reader};
use crate::wait;

/// An answer that is fresh for an hour.
pub const FRESH: &str = "cache-control: max-age=3600\r\n";

/// A policy with one route, for everything. `route` is set in it; nothing is left to chance.
#[must_use]
pub fn policy(route: Value) -> Value {
    let all = json!({"name": "all", "jitter": 0, "early_refresh": 0});
    json!({
        "cache_status": {"name": "c"},
        "purge": {"path": "/.purge", "token": "secret"},
        "routes": [limits::with(all, route)],
    })
}

/// A gateway with the filter in front of `service`, to be started.
#[must_use]
pub fn gateway(service: SocketAddr, route: Value) -> Builder {
    Gateway::builder()
        .route(Route::Coalesce)
        .policy(policy(route))
        .edit(move |config| config.endpoints("origin", &[service]))
}

/// Answers 200 with these fields (each line with its end) and a body.
///
/// # Errors
/// When the gateway has gone.
pub fn answer(stream: &mut TcpStream, fields: &str, body: &[u8]) -> io::Result<bool> {
    head(stream, "200 OK", fields, body.len())?;
    stream.write_all(body)?;
    Ok(true)
}

/// The head of an answer with so long a body.
///
/// # Errors
/// When the gateway has gone.
pub fn head(stream: &mut TcpStream, status: &str, fields: &str, length: usize) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{fields}\r\n"
    )
}

/// A client that has sent its request and not read the answer.
#[derive(Debug)]
pub struct Sent(Reader);

impl Sent {
    /// GET `path` on a connection of its own; `fields` each with its end.
    ///
    /// # Panics
    /// When there is no connection.
    #[must_use]
    pub fn get(gateway: &Gateway, path: &str, fields: &str) -> Self {
        Self::send(gateway, "GET", path, fields)
    }

    /// The same with any method that has no body.
    ///
    /// # Panics
    /// When there is no connection.
    #[must_use]
    pub fn send(gateway: &Gateway, method: &str, path: &str, fields: &str) -> Self {
        let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
        stream
            .set_read_timeout(Some(wait::PATIENCE))
            .expect("a timeout");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: shop\r\n{fields}\r\n"
        )
        .expect("the gateway reads");
        Self(Reader::new(stream))
    }

    /// The answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn answer(&mut self) -> Message {
        self.0.response(false).expect("an answer")
    }

    /// The answer to HEAD.
    ///
    /// # Panics
    /// When there is none.
    pub fn head(&mut self) -> Message {
        self.0.response(true).expect("an answer")
    }
}

/// GET and its whole answer.
#[must_use]
pub fn get(gateway: &Gateway, path: &str, fields: &str) -> Message {
    Sent::get(gateway, path, fields).answer()
}

/// So many clients at once, all in the gateway when this returns; `before` were there already.
#[must_use]
pub fn herd(gateway: &Gateway, clients: usize, path: &str, before: usize) -> Vec<Sent> {
    let herd = (0..clients).map(|_| Sent::get(gateway, path, "")).collect();
    until_active(gateway, before + clients);
    herd
}

/// Waits until so many requests are in the gateway.
pub fn until_active(gateway: &Gateway, requests: usize) {
    wait::until("the requests to be in the gateway", || {
        gateway.envoy().stat("http.gateway.downstream_rq_active") == requests as u64
    });
}

/// What the filter says that it did.
#[must_use]
pub fn status(message: &Message) -> String {
    message.header("cache-status").unwrap_or_default()
}

/// Waits until the filter has counted so many of an event.
///
/// # Panics
/// When it does not.
pub fn until_event(gateway: &Gateway, event: &str, count: u64) {
    let name = format!("wasmcustom.sluice_coalesce.event.{event}");
    let mut last = 0;
    let reached = wait::poll(Duration::from_secs(5), || {
        last = gateway.envoy().stat(&name);
        (last == count).then_some(())
    });
    assert!(reached.is_some(), "{event}: {last}, expected {count}");
}

/// Nobody waits, nothing is under way, and nothing went wrong.
///
/// # Panics
/// When it is not so.
pub fn assert_sound(gateway: &Gateway) {
    limits::assert_sound(gateway);
    wait::until("nobody to wait", || {
        gateway.envoy().stat("wasmcustom.sluice_coalesce.waiting") == 0
    });
}
