//! A TCP server in the place of Redis that says what a test tells it: garbage, half an answer, an error, nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What a connection gets once its first bytes are in.
#[derive(Debug, Clone)]
pub enum Script {
    /// These bytes, then the connection is closed.
    Say(Vec<u8>),
    /// These bytes, then silence with the connection open.
    SayAndHang(Vec<u8>),
    /// These bytes, then a pause before each next part, then a close.
    Drip(Vec<Vec<u8>>, Duration),
    /// The connection is closed at once, unread bytes and all: the client sees a reset.
    Reset,
    /// One error line for each command of the pipeline, `+OK` for QUIT, as a Redis that is LOADING would.
    ErrorForEach(String),
}

impl Script {
    /// Silence with the connection open.
    #[must_use]
    pub fn hang() -> Self {
        Self::SayAndHang(Vec::new())
    }

    /// Nothing, and a clean close.
    #[must_use]
    pub fn close() -> Self {
        Self::Say(Vec::new())
    }
}

struct Shared {
    script: Mutex<Script>,
    connections: AtomicUsize,
    received: Mutex<Vec<u8>>,
    open: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

/// A running server; dropping it closes every connection.
pub struct FakeRedis {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl FakeRedis {
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            connections: AtomicUsize::new(0),
            received: Mutex::default(),
            open: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.over.load(Ordering::SeqCst) {
                    return;
                }
                theirs.connections.fetch_add(1, Ordering::SeqCst);
                if let Ok(copy) = stream.try_clone() {
                    lock(&theirs.open).push(copy);
                }
                let theirs = Arc::clone(&theirs);
                // An error is the peer going away: nothing to tell anyone.
                thread::spawn(move || serve(stream, &theirs).ok());
            }
        });
        Self { address, shared }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What connections get from now on.
    pub fn play(&self, script: Script) {
        *lock(&self.shared.script) = script;
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Every byte received so far, on any connection.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        lock(&self.shared.received).clone()
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for stream in lock(&self.shared.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let script = lock(&shared.script).clone();
        if matches!(script, Script::Reset) {
            // Closing with unread bytes in the buffer makes the kernel send a reset.
            stream.peek(&mut buffer)?;
            return close(&stream, shared);
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let request = &buffer[..count];
        lock(&shared.received).extend_from_slice(request);
        match script {
            Script::Say(bytes) => {
                stream.write_all(&bytes)?;
                return stream.shutdown(Shutdown::Both);
            }
            Script::SayAndHang(bytes) => stream.write_all(&bytes)?,
            Script::Drip(parts, pause) => {
                for part in parts {
                    stream.write_all(&part)?;
                    thread::sleep(pause);
                }
                return stream.shutdown(Shutdown::Both);
            }
            Script::ErrorForEach(error) => {
                let (commands, quits) = commands(request);
                stream.write_all(format!("-{error}\r\n").repeat(commands).as_bytes())?;
                if quits {
                    stream.write_all(b"+OK\r\n")?;
                    return stream.shutdown(Shutdown::Both);
                }
            }
            Script::Reset => {}
        }
    }
}

/// Drops the copy of `stream` that is kept for the end, so that dropping the stream closes the connection.
fn close(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let peer = stream.peer_addr()?;
    lock(&shared.open).retain(|open| open.peer_addr().is_ok_and(|other| other != peer));
    Ok(())
}

/// How many commands these bytes start, QUIT aside, and whether a QUIT is among them.
fn commands(request: &[u8]) -> (usize, bool) {
    let text = String::from_utf8_lossy(request);
    let arrays = text
        .split("\r\n")
        .filter(|line| line.starts_with('*'))
        .count();
    let quits = text.ends_with("$4\r\nQUIT\r\n");
    (arrays - usize::from(quits), quits)
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn counts_the_commands_of_a_pipeline() {
        assert_eq!(
            commands(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n"),
            (2, true)
        );
        assert_eq!(commands(b"*1\r\n$4\r\nPING\r\n"), (1, false));
    }
}
