//! The server behind the gateway: answers what the request asks for, and remembers every request it got.
//!
//! Query parameters steer the answer: `status=503`, `delay_ms=200`, `size=100000` (bytes of body), `abort=1` (the
//! connection is closed instead of an answer). A path that starts with `/echo` answers the request's headers, one
//! `name: value` a line.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
}

impl Seen {
    /// The first value of a header (name in lower case), as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }
}

type Ledger = Arc<Mutex<Vec<Seen>>>;

/// A running origin; dropping it closes every connection.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    ledger: Ledger,
    _runtime: Runtime,
}

impl Origin {
    /// On a free port of 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        Self::listen(([127, 0, 0, 1], 0).into())
    }

    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn listen(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .expect("the origin's address is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let ledger = Ledger::default();
        let theirs = Arc::clone(&ledger);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&theirs)));
            }
        });
        Self {
            address,
            ledger,
            _runtime: runtime,
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests had this path, the query aside.
    #[must_use]
    pub fn hits(&self, path: &str) -> usize {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger
            .iter()
            .filter(|seen| seen.path.split('?').next() == Some(path))
            .count()
    }

    /// Every request so far, in the order of arrival.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets every request so far.
    pub fn forget(&self) {
        self.ledger
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

async fn serve(stream: TcpStream, ledger: Ledger) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&ledger)));
    // An error is the peer going away, or an abort that was asked for.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The connection ends without an answer.
#[derive(Debug)]
struct Abort;

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the request asked for an abort")
    }
}

impl std::error::Error for Abort {}

impl From<Infallible> for Abort {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

async fn answer(
    request: Request<Incoming>,
    ledger: Ledger,
) -> Result<Response<Full<Bytes>>, Abort> {
    let (head, body) = request.into_parts();
    let seen = Seen {
        method: head.method.to_string(),
        path: head
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect(),
        body: body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default(),
    };
    ledger
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(seen);

    let query = head.uri.query().unwrap_or_default();
    let number = |name: &str| -> Option<u64> {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    if let Some(delay) = number("delay_ms") {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    if number("abort").is_some() {
        return Err(Abort);
    }
    let body = if head.uri.path().starts_with("/echo") {
        let mut lines = String::new();
        for (name, value) in &head.headers {
            let _ = writeln!(
                lines,
                "{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            );
        }
        Bytes::from(lines)
    } else if let Some(size) = number("size") {
        Bytes::from(vec![b'x'; usize::try_from(size).unwrap_or_default()])
    } else {
        Bytes::from_static(b"origin\n")
    };
    let mut response = Response::new(Full::new(body));
    if let Some(status) =
        number("status").and_then(|status| u16::try_from(status).ok()?.try_into().ok())
    {
        *response.status_mut() = status;
    }
    Ok(response)
}
