//! The origin of a scenario: answers by path as the scenario says, to the byte, and remembers what came.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::observed::{self, Arrived};
use super::pace::Pace;
use super::scenario::{Behaviour, Bytes, End, Fields};
use crate::message::{Message, Reader};

/// Between an interim response and the real one.
const INTERIM: Duration = Duration::from_millis(30);

/// A running origin; dropping it closes its port.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behaviours: BTreeMap<String, Behaviour>,
    pace: Pace,
    ledger: Mutex<Vec<Message>>,
    over: AtomicBool,
}

impl Origin {
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(behaviours: &BTreeMap<String, Behaviour>, pace: Pace) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            behaviours: behaviours.clone(),
            pace,
            ledger: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                // An error is the gateway going away.
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests with this path have begun to come, the query aside.
    #[must_use]
    pub fn hits(&self, path: &str) -> usize {
        let ledger = self.shared.ledger();
        ledger
            .iter()
            .filter(|message| message.path.split('?').next() == Some(path))
            .count()
    }

    /// Every request so far.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        observed::arrived(&self.shared.ledger())
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Vec<Message>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = Reader::new(stream);
        loop {
            let mut place = 0;
            let request = reader.request_after(|head| {
                let mut ledger = self.ledger();
                place = ledger.len();
                ledger.push(head.clone());
            })?;
            let path = request.path.split('?').next().unwrap_or_default();
            let behaviour = self.behaviours.get(path).cloned().unwrap_or_default();
            let no_body = request.method == "HEAD";
            let complete = request.complete;
            if let Some(begun) = self.ledger().get_mut(place) {
                *begun = request;
            }
            thread::sleep(Duration::from_millis(behaviour.delay_ms));
            match behaviour.end {
                End::NoAnswer => return Ok(()),
                End::Never => {
                    reader.until_gone();
                    return Ok(());
                }
                End::Complete | End::Cut => {}
            }
            say(reader.stream(), &behaviour, no_body, &self.pace)?;
            if behaviour.end == End::Cut || !complete {
                return Ok(());
            }
        }
    }
}

fn say(
    stream: &mut TcpStream,
    behaviour: &Behaviour,
    no_body: bool,
    pace: &Pace,
) -> io::Result<()> {
    if let Some(status) = behaviour.interim {
        stream
            .write_all(format!("HTTP/1.1 {status} Interim\r\nx-interim: yes\r\n\r\n").as_bytes())?;
        thread::sleep(INTERIM);
    }
    let mut head = format!("HTTP/1.1 {} Scenario\r\n", behaviour.status).into_bytes();
    push_fields(&mut head, &behaviour.headers);
    let chunked = !behaviour.pieces.is_empty() || !behaviour.trailers.is_empty();
    let pieces = match chunked || behaviour.end == End::Cut {
        true => Some((behaviour.pieces.as_slice(), &behaviour.trailers)),
        false => None,
    };
    if no_body || behaviour.status == 204 || behaviour.status == 304 {
        if no_body {
            let length = behaviour.body.bytes().len();
            head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        return stream.write_all(&head);
    }
    push_body(
        stream,
        head,
        Some(&behaviour.body),
        pieces,
        behaviour.end == End::Cut,
        pace,
    )
}

pub(super) fn push_fields(out: &mut Vec<u8>, fields: &Fields) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(&value.bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Sends a head, to which nothing but the framing is missing, and its body: `pieces` and trailers as chunks, or else
/// `body` with its length. `cut` leaves out the last chunk.
pub(super) fn push_body(
    stream: &mut TcpStream,
    mut head: Vec<u8>,
    body: Option<&Bytes>,
    pieces: Option<(&[Bytes], &Fields)>,
    cut: bool,
    pace: &Pace,
) -> io::Result<()> {
    let Some((pieces, trailers)) = pieces else {
        let body = body.map(Bytes::bytes);
        if let Some(body) = &body {
            head.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(&body.unwrap_or_default());
        return stream.write_all(&head);
    };
    head.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    stream.write_all(&head)?;
    for piece in pieces {
        let before = pace.had();
        let bytes = piece.bytes();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(&bytes);
        chunk.extend_from_slice(b"\r\n");
        stream.write_all(&chunk)?;
        pace.wait(before);
    }
    if cut {
        return Ok(());
    }
    let mut end = b"0\r\n".to_vec();
    push_fields(&mut end, trailers);
    end.extend_from_slice(b"\r\n");
    stream.write_all(&end)
}
