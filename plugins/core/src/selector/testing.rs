//! A request out of nothing, for tests.

use crate::headers::Headers;
use crate::selector::Request;

pub(crate) struct Fake {
    pub headers: Headers,
    pub peer: Option<Vec<u8>>,
}

impl Fake {
    pub fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(headers: &[(N, V)]) -> Self {
        Self {
            headers: Headers::from_pairs(headers),
            peer: Some(b"198.51.100.7:4711".to_vec()),
        }
    }

    pub fn path(path: &str) -> Self {
        Self::new(&[(":method", "GET"), (":path", path)])
    }

    pub fn with_peer(mut self, peer: Option<&str>) -> Self {
        self.peer = peer.map(|peer| peer.as_bytes().to_vec());
        self
    }
}

impl From<Headers> for Fake {
    fn from(headers: Headers) -> Self {
        let peer = None;
        Self { headers, peer }
    }
}

impl Request for Fake {
    fn headers(&self) -> &Headers {
        &self.headers
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        match path {
            ["source", "address"] => self.peer.clone(),
            ["request", "host"] => Some(b"example.com".to_vec()),
            ["empty"] => Some(Vec::new()),
            _ => None,
        }
    }
}
