//! The service behind the gateways: it answers, each time something else, and keeps a book of it.

use super::faults::Origin as Faults;
use super::load::TAKES_HEADER;
use super::policy::EXECUTION_HEADER;
use crate::trouble::Trouble;
use fastrand::Rng;
use sluice_emulator::{OriginReply, OriginRequest, OriginTrouble};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An answer of the origin's.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Whose request it was: the place in the list of exchanges.
    pub exchange: usize,
    pub reply: OriginReply,
}

/// All that the origin did, in order.
#[derive(Debug)]
pub struct Book {
    rng: Rng,
    trouble: Trouble,
    slow_ms: u64,
    pub answered: Vec<Answered>,
    /// Exchanges to which no connection was given.
    pub refused: Vec<usize>,
}

/// The origin, as each gateway has it.
#[derive(Clone)]
pub struct Origin(Arc<Mutex<Book>>);

impl Origin {
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self(Arc::new(Mutex::new(Book {
            rng: Rng::with_seed(seed ^ 0x0419_1700_0000_0000),
            trouble: faults.trouble,
            slow_ms: faults.slow_ms,
            answered: Vec::new(),
            refused: Vec::new(),
        })))
    }

    /// What it did.
    ///
    /// # Panics
    /// When it has panicked.
    #[must_use]
    pub fn book(&self) -> (Vec<Answered>, Vec<usize>) {
        let book = self.0.lock().unwrap();
        (book.answered.clone(), book.refused.clone())
    }
}

impl sluice_emulator::Origin for Origin {
    fn connect(&mut self, request: &OriginRequest) -> Result<(), OriginTrouble> {
        let mut book = self.0.lock().unwrap();
        let Book {
            rng,
            trouble,
            refused,
            ..
        } = &mut *book;
        trouble.connect(rng, request, refused)
    }

    fn answer(&mut self, request: &OriginRequest) -> OriginReply {
        let mut book = self.0.lock().unwrap();
        let mut reply = book.reply();
        let takes = request.header(TAKES_HEADER);
        if let Some(takes) = takes.and_then(|text| text.parse().ok()) {
            reply.after = Duration::from_millis(takes);
        }
        book.answered.push(Answered {
            exchange: request.exchange,
            reply: reply.clone(),
        });
        reply
    }
}

impl Book {
    fn reply(&mut self) -> OriginReply {
        let number = self.answered.len();
        let rng = &mut self.rng;
        let status = match rng.u8(..10) {
            0 => [402, 404, 409][rng.usize(..3)],
            1 => [500, 503][rng.usize(..2)],
            2 => 204,
            _ => [200, 201][rng.usize(..2)],
        };
        let mut body = match (status, rng.u8(..8)) {
            (204, _) => Vec::new(),
            (_, 0) => vec!["long ".repeat(70); rng.usize(1..=3)],
            (_, 1) => Vec::new(),
            // Too long to be returned by the script that finds it, and to be remembered.
            (_, 2) => vec![format!("{number} long ").repeat(1_200)],
            (_, pieces) => vec![format!("answer {number}, "); usize::from(pieces) % 3 + 1],
        };
        let length: usize = body.iter().map(String::len).sum();
        let mut reply = OriginReply::new(status, "")
            .header(EXECUTION_HEADER, number.to_string())
            .header("x-order", format!("a{number}"))
            .header("set-cookie", "session=secret")
            .header("date", "Thu, 01 Jan 1970 00:00:00 GMT")
            .header("x-order", "b");
        if rng.u8(..5) == 0 {
            reply = reply.header("connection", "X-Hop").header("x-hop", "1");
        }
        match rng.u8(..12) {
            0 if length > 0 => {
                reply = reply.header("content-type", "text/event-stream; charset=utf-8");
                body.push("data: end".to_owned());
            }
            1 if length > 0 => {
                reply = reply.header("content-type", "text/plain");
                reply.trailers.add("x-checksum", "7");
            }
            2..6 if length > 0 => {
                reply = reply
                    .header("content-type", "text/plain")
                    .header("content-length", length.to_string());
            }
            _ if length > 0 => reply = reply.header("content-type", "application/json"),
            _ => {}
        }
        reply.body = body.into_iter().map(String::into_bytes).collect();
        reply.after = Duration::from_micros(match rng.u8(..4) {
            0 => rng.u64(..=self.slow_ms * 1000),
            1 => rng.u64(..60_000),
            _ => rng.u64(..5_000),
        });
        let pieces = reply.body.len();
        reply.trouble = self.trouble.answer(rng, pieces);
        reply
    }
}
