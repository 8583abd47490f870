//! HTTP/1.1 clients: a polite one that keeps its connection, one that sends any bytes at all, and a crowd.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::message::{self, Reader};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A response; header values are bytes, as a gateway may send any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header (name in lower case), as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        message::first(&self.headers, name)
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is kept from request to request.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    connection: Option<Reader>,
}

impl Client {
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// GET. Header values may hold any bytes.
    ///
    /// # Errors
    /// When the connection fails, closes early or does not speak HTTP/1.1.
    pub fn get<V: AsRef<[u8]>>(
        &mut self,
        path: &str,
        headers: &[(&str, V)],
    ) -> io::Result<Response> {
        self.send("GET", path, headers, b"")
    }

    /// Any method, with a body.
    ///
    /// # Errors
    /// When the connection fails, closes early or does not speak HTTP/1.1.
    pub fn send<V: AsRef<[u8]>>(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, V)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut request = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request.extend_from_slice(b"host: gateway\r\n");
        }
        if !body.is_empty() || method == "POST" || method == "PUT" {
            request.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        for (name, value) in headers {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value.as_ref());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.exchange(&request, method == "HEAD")
    }

    /// Sends these very bytes and reads one response.
    ///
    /// # Errors
    /// When the connection fails, closes early or does not speak HTTP/1.1.
    pub fn exchange(&mut self, request: &[u8], no_body: bool) -> io::Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                Reader::new(stream)
            }
        };
        connection.stream().write_all(request)?;
        let message = connection.response(no_body)?;
        if !message.complete {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let until_closed = !no_body
            && message.header("content-length").is_none()
            && message.header("transfer-encoding").is_none();
        if !until_closed && message.header("connection").as_deref() != Some("close") {
            self.connection = Some(connection);
        }
        Ok(Response {
            status: message.status,
            headers: message.headers,
            body: message.body,
        })
    }
}

/// Sends these bytes on a connection of their own and returns all that comes back until the peer closes, or until it
/// has been silent for `quiet`.
///
/// # Errors
/// When there is no connection.
pub fn raw(address: SocketAddr, request: &[u8], quiet: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(quiet))?;
    let mut answer = Vec::new();
    // The peer may refuse the request before all of it is sent: what it said still counts.
    let _ = stream.write_all(request);
    let mut chunk = [0; 16 * 1024];
    while let Ok(count) = stream.read(&mut chunk) {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..count]);
    }
    Ok(answer)
}

/// Sends a request and leaves at once, without reading the answer.
///
/// # Errors
/// When there is no connection.
pub fn send_and_leave(address: SocketAddr, request: &[u8]) -> io::Result<()> {
    TcpStream::connect_timeout(&address, TIMEOUT)?.write_all(request)
}

/// `clients` connections at once, each asking `each` times; `request` gets the client's number and the turn and makes
/// path and headers. A request that got no response counts as status 0.
pub fn blast<F>(address: SocketAddr, clients: usize, each: usize, request: F) -> Vec<u16>
where
    F: Fn(usize, usize) -> (String, Vec<(String, String)>) + Sync,
{
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..clients)
            .map(|number| {
                let request = &request;
                scope.spawn(move || {
                    let mut client = Client::new(address);
                    (0..each)
                        .map(|turn| {
                            let (path, headers) = request(number, turn);
                            let headers: Vec<(&str, &str)> = headers
                                .iter()
                                .map(|(name, value)| (name.as_str(), value.as_str()))
                                .collect();
                            client
                                .get(&path, &headers)
                                .map_or(0, |response| response.status)
                        })
                        .collect::<Vec<u16>>()
                })
            })
            .collect();
        crowd
            .into_iter()
            .flat_map(|client| client.join().expect("a client does not panic"))
            .collect()
    })
}
