//! A client of a scenario: one request on a connection of its own, which can be left at any time.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::observed::Answer;
use super::origin::{push_body, push_fields};
use super::pace::Pace;
use super::scenario::Request;
use crate::message::Reader;

/// Longer than any scenario waits.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A request under way.
pub struct Call {
    stream: TcpStream,
    left: Arc<AtomicBool>,
    thread: JoinHandle<Answer>,
}

impl Call {
    /// # Panics
    /// When there is no connection.
    #[must_use]
    pub fn start(address: SocketAddr, request: &Request, pace: &Pace) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway accepts connections");
        stream.set_nodelay(true).expect("a socket has options");
        stream
            .set_read_timeout(Some(TIMEOUT))
            .expect("a socket has options");
        let theirs = stream.try_clone().expect("a socket can be cloned");
        let request = request.clone();
        let pace = pace.clone();
        let left = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&left);
        let thread = thread::spawn(move || {
            let mut answer = exchange(theirs, &request, pace);
            answer.left = flag.load(Ordering::Relaxed);
            answer.cut &= !answer.left;
            answer
        });
        Self {
            stream,
            left,
            thread,
        }
    }

    /// Closes the connection, whatever has come.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// What came, when all has come, or the connection has ended.
    ///
    /// # Panics
    /// When the client's thread did.
    #[must_use]
    pub fn finish(self) -> Answer {
        self.thread.join().expect("a client does not panic")
    }
}

fn exchange(stream: TcpStream, request: &Request, pace: Pace) -> Answer {
    let mut writer = stream.try_clone().expect("a socket can be cloned");
    let copy = request.clone();
    // The answer may come, and even end the connection, before all of the request is out.
    let sending = thread::spawn(move || {
        let mut head = format!("{} {} HTTP/1.1\r\n", copy.method, copy.path).into_bytes();
        if !copy
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head.extend_from_slice(b"host: gateway\r\n");
        }
        push_fields(&mut head, &copy.headers);
        let chunked = !copy.pieces.is_empty() || !copy.trailers.is_empty();
        let pieces = chunked.then_some((copy.pieces.as_slice(), &copy.trailers));
        let _ = push_body(&mut writer, head, copy.body.as_ref(), pieces, false, &pace);
    });
    let answer = match Reader::new(stream).response(request.method == "HEAD") {
        Ok(message) => message.into(),
        Err(_) => Answer {
            cut: true,
            ..Answer::default()
        },
    };
    sending.join().expect("a client does not panic");
    answer
}
