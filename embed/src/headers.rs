//! Header maps as Envoy keeps them: ordered, lower-case names, bytes, duplicates allowed.
//!
//! Two rules of Envoy's are kept because filters can see them: pseudo headers stand before all others, and a second
//! value for a header that Envoy knows by name is appended to the first.

/// Which of a stream's four maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Map {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
}

/// Which direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Request,
    Response,
}

/// An ordered list of names and values. Names are kept in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

/// Headers that Envoy has a place of their own for: one entry, a second value is joined to the first.
const SINGLE: &[&[u8]] = &[
    b":authority",
    b":method",
    b":path",
    b":protocol",
    b":scheme",
    b":status",
    b"connection",
    b"content-length",
    b"content-type",
    b"date",
    b"grpc-timeout",
    b"keep-alive",
    b"proxy-connection",
    b"server",
    b"te",
    b"transfer-encoding",
    b"upgrade",
    b"user-agent",
    b"via",
    b"x-forwarded-client-cert",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-request-id",
];

impl Headers {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a value. A pseudo header goes behind the last pseudo header; a header that Envoy keeps only once gets
    /// the value joined to what it has, with a comma.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref().to_ascii_lowercase();
        let value = value.as_ref();
        if SINGLE.binary_search(&name.as_slice()).is_ok()
            && let Some((_, old)) = self.0.iter_mut().find(|(key, _)| *key == name)
        {
            if !old.is_empty() && !value.is_empty() {
                old.push(b',');
            }
            old.extend_from_slice(value);
            return;
        }
        let entry = (name, value.to_vec());
        if entry.0.starts_with(b":") {
            let end = self.0.iter().take_while(|(key, _)| key.starts_with(b":"));
            let end = end.count();
            self.0.insert(end, entry);
        } else {
            self.0.push(entry);
        }
    }

    /// Removes all values of the name and appends this one.
    pub fn replace(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.remove(name.as_ref());
        self.add(name, value);
    }

    /// Removes all values of the name.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        let name = name.as_ref();
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// The first value of the name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        let mut entries = self.iter();
        let found = entries.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// All values of the name, in order.
    pub fn get_all<'a, 'b>(
        &'a self,
        name: &'b [u8],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'b> {
        self.iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (&name[..], &value[..]))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all names and values together, without separators.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.add(name, value);
        }
        headers
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const LEN: usize> From<[(N, V); LEN]> for Headers {
    fn from(pairs: [(N, V); LEN]) -> Self {
        pairs.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_single_headers_is_sorted() {
        assert!(SINGLE.is_sorted());
    }

    #[test]
    fn pseudo_headers_stay_in_front_and_known_ones_are_joined() {
        let mut headers = Headers::from([("X-A", "1"), (":path", "/"), ("via", "a")]);
        headers.add("x-a", "2");
        headers.add("via", "b");
        headers.add(":method", "GET");
        let text: Vec<String> = headers
            .iter()
            .map(|(name, value)| {
                let text = String::from_utf8_lossy;
                format!("{}={}", text(name), text(value))
            })
            .collect();
        assert_eq!(
            text,
            [":path=/", ":method=GET", "x-a=1", "via=a,b", "x-a=2"]
        );
        headers.replace("X-A", "3");
        assert_eq!(headers.get_all(b"x-a").collect::<Vec<_>>(), [b"3"]);
        assert_eq!(headers.byte_size(), 6 + 10 + 6 + 4);
    }
}
