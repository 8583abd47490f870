//! A real Redis and the model, asked the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host_tests::redis::{Builder, Redis};
use sluice_model_redis::{Connection, Server, Settings};

pub struct Pair {
    pub redis: Redis,
    stream: BufReader<TcpStream>,
    pub server: Server,
    connection: Connection,
}

/// A command as Redis gets it.
pub fn encode<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

pub fn connect(redis: &Redis) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(redis.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    BufReader::new(stream)
}

/// The bytes of one reply.
pub fn read_reply(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_until(b'\n', &mut bytes).unwrap();
    assert!(!bytes.is_empty(), "Redis closed the connection");
    let number = || -> i64 {
        let line = std::str::from_utf8(&bytes[1..]).unwrap();
        line.trim_end().parse().unwrap()
    };
    match bytes[0] {
        b'$' if number() >= 0 => {
            let mut rest = vec![0; usize::try_from(number()).unwrap() + 2];
            stream.read_exact(&mut rest).unwrap();
            bytes.extend(rest);
        }
        b'*' => {
            for _ in 0..number() {
                let item = read_reply(stream);
                bytes.extend(item);
            }
        }
        _ => {}
    }
    bytes
}

impl Pair {
    pub fn start() -> Self {
        Self::with(Redis::builder(), Settings::default())
    }

    pub fn with(redis: Builder, settings: Settings) -> Self {
        let redis = redis.start();
        let mut server = Server::new(settings);
        Self {
            stream: connect(&redis),
            connection: server.connect(),
            redis,
            server,
        }
    }

    /// Both get a new client.
    pub fn reconnect(&mut self) {
        self.stream = connect(&self.redis);
        self.connection = self.server.connect();
    }

    /// Both are empty, and have a new client.
    pub fn fresh(&mut self) {
        self.reconnect();
        self.same(&["FLUSHALL"]);
    }

    /// What the real one and what the model answers to any bytes that ask for `replies`.
    pub fn ask_raw(&mut self, bytes: &[u8], replies: usize) -> (Vec<u8>, Vec<u8>) {
        self.stream.get_mut().write_all(bytes).unwrap();
        let real = (0..replies).flat_map(|_| read_reply(&mut self.stream));
        let real = real.collect();
        let model = self.server.feed(&mut self.connection, bytes, now());
        (real, model)
    }

    pub fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> (Vec<u8>, Vec<u8>) {
        self.ask_raw(&encode(words), 1)
    }

    /// Both must answer the same; returns what.
    pub fn same<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Vec<u8> {
        self.compare(words)
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// What both answer, or how they differ.
    pub fn compare<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Vec<u8>, String> {
        let (real, model) = self.ask(words);
        let text = words.iter().map(|word| word.as_ref().escape_ascii());
        let text: Vec<String> = text.map(|word| word.to_string()).collect();
        if alike(&real, &model, &text[0].to_lowercase()) {
            return Ok(real);
        }
        Err(format!(
            "{}\n  real {}\n model {}\n",
            text.join(" "),
            real.escape_ascii(),
            model.escape_ascii()
        ))
    }

    /// As [`Pair::same`], but the numbers of the answer may be so far apart.
    pub fn about<W: AsRef<[u8]>>(&mut self, words: &[W], slack: i64) {
        let (real, model) = self.ask(words);
        let (a, b) = (numbers(&real), numbers(&model));
        let near = |(a, b): (&i64, &i64)| (a - b).abs() <= slack;
        assert!(
            a.len() == b.len() && !a.is_empty() && a.iter().zip(&b).all(near),
            "real {} model {}",
            real.escape_ascii(),
            model.escape_ascii()
        );
    }
}

/// Lists that have no order are compared without one, times with slack.
fn alike(real: &[u8], model: &[u8], name: &str) -> bool {
    let lines = |bytes: &[u8]| {
        let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    match name {
        "smembers" | "keys" => lines(real) == lines(model),
        "pttl" | "pexpiretime" => close(real, model, 2000),
        "ttl" | "expiretime" => close(real, model, 2),
        _ => real == model,
    }
}

fn close(real: &[u8], model: &[u8], slack: i64) -> bool {
    match (&numbers(real)[..], &numbers(model)[..]) {
        ([a], [b]) if *a >= 0 && *b >= 0 => (a - b).abs() <= slack,
        _ => real == model,
    }
}

/// The integers among the lines of an answer.
fn numbers(bytes: &[u8]) -> Vec<i64> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter_map(|line| line.strip_prefix(':'));
    lines.map(|number| number.parse().unwrap()).collect()
}
