//! HTTP/1.1 messages as they come over a connection, complete or cut short: the answers that clients read, and the
//! requests that an origin reads.

use std::io::{self, Read};
use std::net::TcpStream;

const MAX_HEADERS: usize = 128;

pub type Fields = Vec<(String, Vec<u8>)>;

/// What came of a message. A request has a method and a path, a response has a status.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub method: String,
    pub path: String,
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// Whether the message came to its end; if not, the body is what came of it.
    pub complete: bool,
}

impl Message {
    /// The first value of a header (name in lower case), as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        first(&self.headers, name)
    }
}

/// The first value of a field (name in lower case), as text.
pub(crate) fn first(fields: &Fields, name: &str) -> Option<String> {
    fields
        .iter()
        .find(|(other, _)| other == name)
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
}

/// Reads one message after another.
#[derive(Debug)]
pub struct Reader<S = TcpStream> {
    stream: S,
    pending: Vec<u8>,
}

impl<S: Read> Reader<S> {
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    #[must_use]
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// # Errors
    /// When the connection ends before a whole head has come, or with what is no request.
    pub fn request(&mut self) -> io::Result<Message> {
        self.request_after(|_| ())
    }

    /// The same; `head` is shown what has come before the body has.
    ///
    /// # Errors
    /// As there.
    pub fn request_after(&mut self, head: impl FnOnce(&Message)) -> io::Result<Message> {
        let mut message = self.head(|bytes| {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut parsed = httparse::Request::new(&mut headers);
            let length = parsed.parse(bytes).map_err(io::Error::other)?;
            let message = Message {
                method: parsed.method.unwrap_or_default().to_owned(),
                path: parsed.path.unwrap_or_default().to_owned(),
                headers: fields(parsed.headers),
                ..Message::default()
            };
            Ok((length, message))
        })?;
        head(&message);
        message.complete = self.body(&mut message, false).is_ok();
        Ok(message)
    }

    /// The next response that is not an interim one. The answer to HEAD has no body (`no_body`).
    ///
    /// # Errors
    /// When the connection ends before a whole head has come, or with what is no response.
    pub fn response(&mut self, no_body: bool) -> io::Result<Message> {
        loop {
            let mut message = self.head(|bytes| {
                let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
                let mut parsed = httparse::Response::new(&mut headers);
                let length = parsed.parse(bytes).map_err(io::Error::other)?;
                let message = Message {
                    status: parsed.code.unwrap_or_default(),
                    headers: fields(parsed.headers),
                    ..Message::default()
                };
                Ok((length, message))
            })?;
            if message.status >= 200 {
                let none = no_body || matches!(message.status, 204 | 304);
                message.complete = none || self.body(&mut message, true).is_ok();
                return Ok(message);
            }
        }
    }

    /// Waits until the peer has gone.
    pub fn until_gone(&mut self) {
        while matches!(self.fill(), Ok(true)) {}
    }

    fn head(
        &mut self,
        parse: impl Fn(&[u8]) -> io::Result<(httparse::Status<usize>, Message)>,
    ) -> io::Result<Message> {
        loop {
            if let (httparse::Status::Complete(length), message) = parse(&self.pending)? {
                self.pending.drain(..length);
                return Ok(message);
            }
            self.must_fill()?;
        }
    }

    /// Reads the body into `message`. `to_the_end`: one of unknown length goes on until the connection ends.
    fn body(&mut self, message: &mut Message, to_the_end: bool) -> io::Result<()> {
        if message.header("transfer-encoding").as_deref() == Some("chunked") {
            loop {
                let size = self.chunk_size()?;
                if size == 0 {
                    message.trailers = self.trailers()?;
                    return Ok(());
                }
                self.take(size, &mut message.body)?;
                self.take(2, &mut Vec::new())?;
            }
        }
        if let Some(length) = message.header("content-length") {
            return self.take(length.parse().map_err(io::Error::other)?, &mut message.body);
        }
        if to_the_end {
            while self.fill()? {}
            message.body = std::mem::take(&mut self.pending);
        }
        Ok(())
    }

    fn chunk_size(&mut self) -> io::Result<usize> {
        loop {
            let parsed = httparse::parse_chunk_size(&self.pending)
                .map_err(|_| io::Error::other("not a chunk"))?;
            if let httparse::Status::Complete((length, size)) = parsed {
                self.pending.drain(..length);
                return usize::try_from(size).map_err(io::Error::other);
            }
            self.must_fill()?;
        }
    }

    fn trailers(&mut self) -> io::Result<Fields> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let parsed =
                httparse::parse_headers(&self.pending, &mut headers).map_err(io::Error::other)?;
            if let httparse::Status::Complete((length, trailers)) = parsed {
                let trailers = fields(trailers);
                self.pending.drain(..length);
                return Ok(trailers);
            }
            self.must_fill()?;
        }
    }

    /// Moves `length` bytes to `out`; those that come before the connection ends in any case.
    fn take(&mut self, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let mut missing = length;
        loop {
            let count = missing.min(self.pending.len());
            out.extend(self.pending.drain(..count));
            missing -= count;
            if missing == 0 {
                return Ok(());
            }
            self.must_fill()?;
        }
    }

    /// Reads more into `pending`; at the end of the stream that is false.
    fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk)?;
        self.pending.extend_from_slice(&chunk[..count]);
        Ok(count > 0)
    }

    fn must_fill(&mut self) -> io::Result<()> {
        if self.fill()? {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

fn fields(headers: &[httparse::Header]) -> Fields {
    headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()))
        .collect()
}
