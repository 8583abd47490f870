//! What HTTP/1.1 makes of the emulator's messages: written as Envoy's codec writes them, and read again as clients and
//! the origin read them. So a length that does not fit its body, or a value with a line break, shows as it does there.

use std::io::Cursor;

use host_tests::message::{Message, Reader};
use sluice_embed::Headers;
use sluice_emulator::Answer;

/// What may stand in a request's trailers or not at all.
const BODILESS: [&str; 5] = ["GET", "HEAD", "DELETE", "TRACE", "CONNECT"];

/// One message behind its head.
pub struct Rest<'a> {
    pub only_headers: bool,
    pub body: &'a [u8],
    /// None where the gateway drops them.
    pub trailers: Option<&'a Headers>,
    pub complete: bool,
}

/// A request as an origin reads it.
pub fn request(headers: &Headers, rest: &Rest) -> Message {
    let of = |name| text(headers.get(name).unwrap_or_default());
    let method = of(":method");
    let mut out = format!(
        "{method} {} HTTP/1.1\r\nhost: {}\r\n",
        of(":path"),
        of(":authority")
    );
    let mut bytes = std::mem::take(&mut out).into_bytes();
    let bodiless = BODILESS.contains(&method.as_str());
    write(&mut bytes, headers, bodiless, rest);
    Reader::new(Cursor::new(bytes))
        .request()
        .expect("a gateway sends requests that can be read")
}

/// An answer as a client reads it: nothing if none came.
pub fn answer(answer: Option<&Answer>, is_head: bool, trailers: bool) -> Option<Message> {
    let answer = answer?;
    let mut bytes = format!("HTTP/1.1 {} Emulated\r\n", answer.status).into_bytes();
    let mut headers = answer.headers.clone();
    if answer.closes {
        headers.replace("connection", "close");
    }
    let bodiless = is_head || matches!(answer.status, 204 | 304);
    let rest = Rest {
        only_headers: answer.only_headers,
        body: &answer.body,
        trailers: trailers.then_some(&answer.trailers),
        complete: answer.complete,
    };
    write(&mut bytes, &headers, bodiless, &rest);
    Reader::new(Cursor::new(bytes)).response(is_head).ok()
}

/// Writes all behind the first line. A message of only headers says that its body is empty, unless it may have none.
fn write(out: &mut Vec<u8>, headers: &Headers, bodiless: bool, rest: &Rest) {
    let sent = headers.iter().filter(|(name, _)| !name.starts_with(b":"));
    push(out, sent.filter(|(name, _)| *name != b"transfer-encoding"));
    let sized = headers.get("content-length").is_some();
    let chunked = !sized && !rest.only_headers;
    if chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if !sized && !bodiless {
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !chunked {
        out.extend_from_slice(rest.body);
        return;
    }
    if !rest.body.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", rest.body.len()).as_bytes());
        out.extend_from_slice(rest.body);
        out.extend_from_slice(b"\r\n");
    }
    if rest.complete {
        out.extend_from_slice(b"0\r\n");
        push(
            out,
            rest.trailers.iter().flat_map(|trailers| trailers.iter()),
        );
        out.extend_from_slice(b"\r\n");
    }
}

fn push<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    for (name, value) in fields {
        out.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
