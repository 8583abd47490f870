//! The service behind the gateway: it answers as the nature of a key says, numbers its answers, and keeps a book of them.

use super::faults::Faults;
use super::nature::{LANGUAGE, Nature, Vary};
use crate::trouble::Trouble;
use fastrand::Rng;
use sluice_embed::{Headers, HttpCall, HttpReply};
use sluice_emulator::{CallAnswer, OriginReply, OriginRequest, OriginTrouble};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Which answer it is, and which one has confirmed it since.
pub const ANSWER_HEADER: &str = "x-answer";
pub const CONFIRMED_HEADER: &str = "x-confirmed";

/// A request that came to the origin, and what it answered.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The gateway that asked.
    pub gateway: usize,
    /// Whose request it was: the place in the list of exchanges. None: the gateway's own, without a client.
    pub exchange: Option<usize>,
    pub at: Duration,
    pub request: Headers,
    pub reply: OriginReply,
}

#[derive(Debug)]
struct Book {
    rng: Rng,
    natures: Vec<Nature>,
    trouble: Trouble,
    /// How often it answers 502 or 503, whatever it would say otherwise.
    errors: f64,
    slow_ms: u64,
    entries: Vec<Entry>,
    refused: Vec<usize>,
    versions: BTreeMap<String, usize>,
}

/// The origin, as a gateway has it.
#[derive(Clone)]
pub struct Origin {
    gateway: usize,
    book: Arc<Mutex<Book>>,
}

impl Origin {
    #[must_use]
    pub fn new(seed: u64, natures: Vec<Nature>, faults: &Faults) -> Self {
        let book = Book {
            rng: Rng::with_seed(seed ^ 0xc0a1_e5ce_0419_1700),
            natures,
            trouble: faults.trouble.clone(),
            errors: faults.errors,
            slow_ms: faults.slow_ms,
            entries: Vec::new(),
            refused: Vec::new(),
            versions: BTreeMap::new(),
        };
        Self {
            gateway: 0,
            book: Arc::new(Mutex::new(book)),
        }
    }

    /// The same, as another gateway has it.
    #[must_use]
    pub fn of(&self, gateway: usize) -> Self {
        Self {
            gateway,
            book: Arc::clone(&self.book),
        }
    }

    /// What it did, and the exchanges to which it gave no connection.
    ///
    /// # Panics
    /// When it has panicked.
    #[must_use]
    pub fn book(&self) -> (Vec<Entry>, Vec<usize>) {
        let book = self.book.lock().unwrap();
        (book.entries.clone(), book.refused.clone())
    }

    /// From now on it is well, and fast.
    ///
    /// # Panics
    /// When it has panicked.
    pub fn recover(&self) {
        let mut book = self.book.lock().unwrap();
        book.trouble = Trouble::default();
        book.errors = 0.0;
        book.slow_ms = 0;
    }
}

impl sluice_emulator::Origin for Origin {
    fn connect(&mut self, request: &OriginRequest) -> Result<(), OriginTrouble> {
        let mut book = self.book.lock().unwrap();
        let Book {
            rng,
            trouble,
            refused,
            ..
        } = &mut *book;
        trouble.connect(rng, request, refused)
    }

    fn answer(&mut self, request: &OriginRequest) -> OriginReply {
        let mut book = self.book.lock().unwrap();
        let who = (self.gateway, Some(request.exchange));
        book.reply(who, request.at, &request.headers)
    }

    fn fetch(&mut self, at: Duration, call: &HttpCall) -> CallAnswer {
        let mut book = self.book.lock().unwrap();
        let reply = book.reply((self.gateway, None), at, &call.headers);
        match reply.trouble {
            None => {}
            Some(OriginTrouble::Silent) => return CallAnswer::Silent,
            Some(_) => return CallAnswer::Reset,
        }
        let mut headers = Headers::from([(":status", reply.status.to_string())]);
        for (name, value) in reply.headers.iter() {
            headers.add(name, value);
        }
        let whole = HttpReply {
            headers,
            body: reply.body.concat(),
            trailers: None,
        };
        CallAnswer::Reply(whole, reply.after)
    }
}

impl Book {
    fn reply(
        &mut self,
        (gateway, exchange): (usize, Option<usize>),
        at: Duration,
        request: &Headers,
    ) -> OriginReply {
        let method = text(request, ":method");
        let mut reply = match method.as_str() {
            "GET" | "HEAD" => self.read(request, &method),
            "OPTIONS" => OriginReply::new(200, "options").header("cache-control", "max-age=60"),
            _ => self.change(request),
        };
        let rng = &mut self.rng;
        reply.after = Duration::from_micros(match rng.u8(..4) {
            0 => rng.u64(..=self.slow_ms * 1000),
            1 => rng.u64(..=self.slow_ms.min(60) * 1000),
            _ => rng.u64(..=self.slow_ms.min(5) * 1000),
        });
        let pieces = reply.body.len();
        reply.trouble = self.trouble.answer(rng, pieces);
        self.entries.push(Entry {
            gateway,
            exchange,
            at,
            request: request.clone(),
            reply: reply.clone(),
        });
        reply
    }

    fn read(&mut self, request: &Headers, method: &str) -> OriginReply {
        let number = self.entries.len();
        let path = text(request, ":path");
        let Some(nature) = key(&path).and_then(|key| self.natures.get(key)) else {
            return OriginReply::new(404, "");
        };
        let error = self.rng.f64() < self.errors;
        let version = self.versions.get(resource(&path)).copied().unwrap_or(0);
        let language = (nature.vary == Vary::Language)
            .then(|| request.get(LANGUAGE))
            .flatten()
            .map(|value| String::from_utf8_lossy(value).into_owned());
        let tag = tag(&path, version, language.as_deref());
        let known = request.get("if-none-match") == Some(tag.as_bytes());
        let known = known && nature.validator && nature.status == 200 && !error;
        let status = match (known, error) {
            (true, _) => 304,
            (_, true) => [502, 503][self.rng.usize(..2)],
            _ => nature.status,
        };
        let name = if known {
            CONFIRMED_HEADER
        } else {
            ANSWER_HEADER
        };
        let mut reply = OriginReply::new(status, "").header(name, number.to_string());
        if nature.validator {
            reply = reply.header("etag", tag);
        }
        reply = described(reply, nature);
        if known {
            return reply;
        }
        let who = ["authorization", "cookie", "x-user", LANGUAGE].map(|name| text(request, name));
        let mut body = format!("{number}; {path}; {who:?}; {version}; ");
        body.truncate(nature.size);
        let filler = nature.size - body.len();
        body.extend(std::iter::repeat_n('x', filler));
        if nature.sized {
            reply = reply.header("content-length", body.len().to_string());
        }
        if method == "GET" && !body.is_empty() {
            let piece = body.len().div_ceil(nature.pieces).max(1);
            reply.body = body.as_bytes().chunks(piece).map(<[u8]>::to_vec).collect();
        }
        reply
    }

    fn change(&mut self, request: &Headers) -> OriginReply {
        let number = self.entries.len();
        let path = text(request, ":path");
        let rng = &mut self.rng;
        let status = [200, 204, 303, 404, 500][rng.usize(..5)];
        let other = rng.usize(..self.natures.len());
        let mut reply = OriginReply::new(status, "").header(ANSWER_HEADER, number.to_string());
        if rng.u8(..3) == 0 {
            reply = reply.header("location", format!("/items/{other}"));
        }
        if status < 400 {
            *self.versions.entry(resource(&path).to_owned()).or_default() += 1;
        }
        reply
    }
}

/// What the nature of a key adds to its answers.
fn described(mut reply: OriginReply, nature: &Nature) -> OriginReply {
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            reply.headers.add(name, value);
        }
    };
    set("cache-control", nature.directives());
    set("age", nature.age.map(|age| age.to_string()));
    set(
        "set-cookie",
        nature.set_cookie.then(|| "session=secret".to_owned()),
    );
    let kind = if nature.event_stream {
        "text/event-stream"
    } else {
        "text/plain"
    };
    set("content-type", Some(kind.to_owned()));
    set(
        "vary",
        match nature.vary {
            Vary::Nothing => None,
            Vary::Language => Some(LANGUAGE.to_owned()),
            Vary::Everything => Some("*".to_owned()),
        },
    );
    reply
}

/// The entity tag of a version.
#[must_use]
pub fn tag(path: &str, version: usize, language: Option<&str>) -> String {
    format!("\"{path}-{version}-{}\"", language.unwrap_or_default())
}

/// The key that a path names.
#[must_use]
pub fn key(path: &str) -> Option<usize> {
    resource(path).rsplit('/').next()?.parse().ok()
}

/// A path without its query.
#[must_use]
pub fn resource(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// A field of a request as text; empty where it is not there.
#[must_use]
pub fn text(request: &Headers, name: &str) -> String {
    String::from_utf8_lossy(request.get(name).unwrap_or_default()).into_owned()
}
