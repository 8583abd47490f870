//! What `proxy_get_property` reads: facts about a stream, its connection, and the gateway.

use std::collections::BTreeMap;

use crate::headers::Headers;

/// Facts by their path. A path is a list of names, such as `["source", "address"]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<Vec<u8>, Vec<u8>>);

impl Attributes {
    /// A text or bytes.
    #[must_use]
    pub fn text(self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.bytes(path, value.as_ref().to_vec())
    }

    /// A number: a count, a port, a duration or a time in nanoseconds. Eight bytes, little endian.
    #[must_use]
    pub fn number(self, path: &[&str], value: i64) -> Self {
        self.bytes(path, value.to_le_bytes().to_vec())
    }

    /// A boolean: one byte.
    #[must_use]
    pub fn flag(self, path: &[&str], value: bool) -> Self {
        self.bytes(path, vec![u8::from(value)])
    }

    fn bytes(mut self, path: &[&str], value: Vec<u8>) -> Self {
        self.0.insert(path.join("\0").into_bytes(), value);
        self
    }

    /// Adds what `other` has, over what is there.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// By the path as the ABI writes it: names joined by a zero byte, perhaps one more at the end.
    pub(crate) fn get(&self, path: &[u8]) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }
}

/// Names that stand for more than one attribute.
pub(crate) const GROUPS: [&[u8]; 7] = [
    b"connection",
    b"destination",
    b"request",
    b"response",
    b"source",
    b"upstream",
    b"xds",
];

/// The attributes that Envoy takes from the request headers as they are at the moment.
pub(crate) fn of_request(headers: &Headers, path: &[u8]) -> Option<Vec<u8>> {
    let name = path.strip_prefix(b"request\0")?;
    if let Some(name) = name.strip_prefix(b"headers\0") {
        let mut values = headers.get_all(name);
        let first = values.next()?.to_vec();
        return Some(values.fold(first, |mut all, value| {
            all.push(b',');
            all.extend_from_slice(value);
            all
        }));
    }
    let header = |name: &str| headers.get(name).map(<[u8]>::to_vec);
    let split = |path: Vec<u8>, after: bool| {
        let mut parts = path.splitn(2, |&byte| byte == b'?');
        let first = parts.next().unwrap_or_default().to_vec();
        if after {
            parts.next().unwrap_or_default().to_vec()
        } else {
            first
        }
    };
    match name {
        b"path" => header(":path"),
        b"url_path" => header(":path").map(|path| split(path, false)),
        b"query" => header(":path").map(|path| split(path, true)),
        b"method" => header(":method"),
        b"host" => header(":authority"),
        b"scheme" => header(":scheme"),
        b"referer" => header("referer"),
        b"useragent" => header("user-agent"),
        b"id" => header("x-request-id"),
        _ => None,
    }
}

/// The attributes that Envoy takes from the response headers.
pub(crate) fn of_response(headers: &Headers, path: &[u8]) -> Option<Vec<u8>> {
    let name = path.strip_prefix(b"response\0")?;
    if let Some(name) = name.strip_prefix(b"headers\0") {
        return headers.get(name).map(<[u8]>::to_vec);
    }
    None
}
