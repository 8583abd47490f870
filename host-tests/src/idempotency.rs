//! What the tests of the idempotency filter share: a service that does something once for each request it gets, requests
//! with keys, policies, and the filter's counts.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Response;
use crate::gateway::{Builder, Gateway, Route};
use crate::limits;
use crate::message::{Message, Reader};
use crate::redis::Redis;
use crate::wait;

/// Whoever holds the key is told apart by this header.
pub const ACCOUNT: &str = "x-account";

/// A service behind the gateway. Each request it reads to its end is an execution, and goes to what answers it with its
/// number, from 1; what that writes is what the gateway gets. False ends the connection.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    executions: Arc<Mutex<Vec<Message>>>,
}

impl Service {
    /// On a free port of 127.0.0.1.
    pub fn start(
        answer: impl Fn(&Message, usize, &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(([127, 0, 0, 1], 0).into(), answer)
    }

    /// # Panics
    /// When the address is taken.
    pub fn listen(
        address: SocketAddr,
        answer: impl Fn(&Message, usize, &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("the service's address is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let executions = Arc::<Mutex<Vec<Message>>>::default();
        let (answer, theirs) = (Arc::new(answer), Arc::clone(&executions));
        // It ends with the test's process; nothing waits for it.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, executions) = (Arc::clone(&answer), Arc::clone(&theirs));
                thread::spawn(move || serve(stream, &executions, &*answer));
            }
        });
        Self {
            address,
            executions,
        }
    }

    /// One that answers each request 201 with the number of its execution.
    #[must_use]
    pub fn counting() -> Self {
        Self::start(|_, number, stream| made(stream, number))
    }

    /// The same, whose answers wait for the gate.
    #[must_use]
    pub fn gated() -> (Self, Arc<Gate>) {
        let gate = Gate::closed();
        let theirs = Arc::clone(&gate);
        let service = Self::start(move |_, number, stream| {
            theirs.pass();
            made(stream, number)
        });
        (service, gate)
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request that was carried out.
    #[must_use]
    pub fn executions(&self) -> Vec<Message> {
        self.executions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many requests were carried out.
    #[must_use]
    pub fn count(&self) -> usize {
        self.executions().len()
    }
}

fn serve(
    stream: TcpStream,
    executions: &Mutex<Vec<Message>>,
    answer: &dyn Fn(&Message, usize, &mut TcpStream) -> io::Result<bool>,
) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::new(stream);
    while let Ok(message) = reader.request() {
        if !message.complete {
            return;
        }
        let number = {
            let mut executions = executions.lock().unwrap_or_else(PoisonError::into_inner);
            executions.push(message.clone());
            executions.len()
        };
        match answer(&message, number, reader.stream()) {
            Ok(true) => {}
            _ => {
                let _ = reader.stream().shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

/// Answers 201 with the number of the execution.
///
/// # Errors
/// When the gateway has gone.
pub fn made(stream: &mut TcpStream, number: usize) -> io::Result<bool> {
    let body = format!("charge {number}\n");
    write!(
        stream,
        "HTTP/1.1 201 Created\r\nx-charge: {number}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(true)
}

/// A gate that holds whoever comes until it is opened.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    #[must_use]
    pub fn closed() -> Arc<Self> {
        Arc::default()
    }

    pub fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    /// Goes through as soon as it is open; a test that forgot to open it goes on as well, after a while.
    pub fn pass(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self
            .opened
            .wait_timeout_while(open, wait::PATIENCE, |open| !*open);
    }
}

/// A policy whose one route is all of `/pay`, for accounts. `redis` and `route` are set in it. Where nothing else is said
/// the timeout is one that a busy machine keeps.
#[must_use]
pub fn policy(redis: Value, route: Value) -> Value {
    policy_of("redis", "sluice-redis", redis, route)
}

/// The same with the records in etcd; `etcd` is set in the policy's.
#[must_use]
pub fn etcd_policy(etcd: Value, route: Value) -> Value {
    policy_of("etcd", "etcd", etcd, route)
}

fn policy_of(name: &str, cluster: &str, store: Value, route: Value) -> Value {
    let store = limits::with(json!({"cluster": cluster, "timeout": "5s"}), store);
    let route = limits::with(
        json!({
            "name": "pay",
            "match": {"path": {"prefix": "/pay"}},
            "scope": [{"header": ACCOUNT}],
        }),
        route,
    );
    // Most tests are of what the store says.
    json!({name: store, "routes": [route], "worker": {"trust_remembered": "0s"}})
}

/// Of a policy's `redis`: times for a test in which Redis does not answer. The breaker never opens.
#[must_use]
pub fn hasty() -> Value {
    json!({"timeout": "250ms", "breaker": {"failures": 1000, "open_for": "1s"}})
}

/// Of a policy's `redis`: times that go with [`LEASE`].
#[must_use]
pub fn brisk() -> Value {
    json!({"timeout": "500ms", "breaker": {"failures": 1000, "open_for": "1s"}})
}

/// Short enough for a test that waits for its end.
pub const LEASE: &str = "2s";

/// A gateway with the filter in front of `service`, to be started.
#[must_use]
pub fn gateway(service: SocketAddr, policy: Value) -> Builder {
    Gateway::builder()
        .route(Route::Idempotency)
        .policy(policy)
        .edit(move |config| config.endpoints("origin", &[service]))
}

/// POST to `/pay` with a key, for the account `ann`.
///
/// # Errors
/// When the connection ends before an answer is complete.
pub fn pay(gateway: &Gateway, key: &str, body: &[u8]) -> io::Result<Response> {
    let quoted = format!("\"{key}\"");
    gateway.client().send(
        "POST",
        "/pay",
        &[(ACCOUNT, "ann"), ("idempotency-key", quoted.as_str())],
        body,
    )
}

/// The status and the type of a problem, or the status and the body of another answer.
#[must_use]
pub fn told(response: &Response) -> (u16, String) {
    let problem: Option<String> = serde_json::from_slice::<Value>(&response.body)
        .ok()
        .and_then(|body| Some(body["type"].as_str()?.to_owned()));
    let text = match problem {
        Some(kind) => kind
            .trim_start_matches("urn:sluice:problem:idempotency-")
            .to_owned(),
        None => response.text(),
    };
    (response.status, text)
}

/// What the filter has counted of the route.
#[must_use]
pub fn event(gateway: &Gateway, event: &str) -> u64 {
    count(gateway, &format!("route.pay.event.{event}"))
}

/// A count of the filter by the end of its name.
#[must_use]
pub fn count(gateway: &Gateway, name: &str) -> u64 {
    gateway
        .envoy()
        .stat(&format!("wasmcustom.sluice_idempotency.{name}"))
}

/// Waits until the filter has counted so many of an event.
///
/// # Panics
/// When it never does.
pub fn until_event(gateway: &Gateway, name: &str, expected: u64) {
    wait::until(&format!("{expected} of {name}"), || {
        event(gateway, name) >= expected
    });
}

/// Retries with `key` until the answer is another than 409 `in-flight`.
///
/// # Panics
/// When it never is, or when the gateway does not answer.
#[must_use]
pub fn until_settled(gateway: &Gateway, key: &str, body: &[u8]) -> Response {
    wait::poll(Duration::from_secs(20), || {
        let answer = pay(gateway, key, body).expect("the gateway answers");
        (told(&answer).1 != "in-flight").then_some(answer)
    })
    .expect("the first request to be settled")
}

/// The bytes of what [`pay`] sends.
#[must_use]
pub fn request(key: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /pay HTTP/1.1\r\nhost: gateway\r\n{ACCOUNT}: ann\r\nidempotency-key: \"{key}\"\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Retries until it is known that nobody knows what became of the first request.
///
/// # Panics
/// When something else is.
pub fn assert_unknown(gateway: &Gateway, key: &str, body: &[u8]) {
    let answer = until_settled(gateway, key, body);
    assert_eq!(told(&answer), (409, "unknown".to_owned()));
    assert_eq!(answer.header("retry-after"), None);
}

/// Asserts that the answer is the first one again.
///
/// # Panics
/// When it is another, or not marked as a replay.
pub fn assert_replay(replay: &Response, first: &Response) {
    assert_eq!(told(replay), told(first));
    assert_eq!(replay.body, first.body);
    let mark = replay.header("idempotency-replayed");
    assert_eq!(mark.as_deref(), Some("true"));
}

/// Waits until the gateway has had the head of an answer of this status from the service.
///
/// # Panics
/// When it never has.
pub fn until_answered(gateway: &Gateway, status: u16) {
    let name = format!("cluster.origin.upstream_rq_{status}");
    wait::until(&name, || gateway.envoy().stat(&name) > 0);
}

/// The names of the records in a Redis.
#[must_use]
pub fn records(redis: &Redis) -> Vec<String> {
    let mut names: Vec<String> = redis.query(&["KEYS", "*:idem:*"]);
    names.retain(|name| !name.ends_with(":fence") && !name.ends_with(":outbox"));
    names
}
