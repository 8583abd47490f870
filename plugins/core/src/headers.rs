//! A header map as the gateway hands it over: one buffer, every field and every duplicate, bytes only.
//!
//! Proxy-wasm serialises a map as the number of pairs, then each pair's two lengths, then the bytes, each name and
//! value closed by a NUL (proxy-wasm ABI 0.2.1, `proxy_get_header_map_pairs`). Reading it in place costs no
//! allocation per field, which a filter on every request would feel, and nothing here assumes UTF-8: a client chooses
//! these bytes.

/// Every header of one message, in the order received. Names are lower case, as the gateway delivers them;
/// pseudo-headers (`:method`, `:path`, ...) are among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    buffer: Vec<u8>,
}

impl Headers {
    /// Takes a serialised map. A buffer that is cut short yields the pairs that are whole.
    #[must_use]
    pub fn from_serialized(buffer: Vec<u8>) -> Self {
        Self { buffer }
    }

    /// Serialises pairs; for tests and for hosts that have no serialised map.
    #[must_use]
    pub fn from_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Self {
        let mut buffer = Vec::new();
        buffer.extend_from_slice(&length(pairs.len()));
        for (name, value) in pairs {
            buffer.extend_from_slice(&length(name.as_ref().len()));
            buffer.extend_from_slice(&length(value.as_ref().len()));
        }
        for (name, value) in pairs {
            buffer.extend_from_slice(name.as_ref());
            buffer.push(0);
            buffer.extend_from_slice(value.as_ref());
            buffer.push(0);
        }
        Self { buffer }
    }

    /// The serialised map.
    #[must_use]
    pub fn serialized(&self) -> &[u8] {
        &self.buffer
    }

    /// All pairs in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        let count = self
            .buffer
            .first_chunk::<4>()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
        let table = count.saturating_mul(8).min(self.buffer.len());
        Iter {
            lengths: self.buffer.get(4..4 + table).unwrap_or_default(),
            bytes: self.buffer.get(4 + table..).unwrap_or_default(),
        }
    }

    /// Every value of `name` (lower case), in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let mut pairs = self.iter();
        std::iter::from_fn(move || pairs.next_of(name.as_bytes()))
    }

    /// The first value of `name` (lower case).
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter().next_of(name.as_bytes())
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

/// Iterator over the pairs of [`Headers`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    lengths: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, pair) = self.next_pair()?;
        Some((pair.get(..name)?, value(pair, name)?))
    }
}

impl<'a> Iter<'a> {
    /// The value of the next pair of this name. Every request pays for this several times over: a name of another length is
    /// not even looked at.
    fn next_of(&mut self, wanted: &[u8]) -> Option<&'a [u8]> {
        loop {
            let (name, pair) = self.next_pair()?;
            if name == wanted.len() && pair.starts_with(wanted) {
                return value(pair, name);
            }
        }
    }

    /// The length of the next pair's name, and the pair: the name, a NUL, the value, a NUL.
    fn next_pair(&mut self) -> Option<(usize, &'a [u8])> {
        let (lengths, rest) = self.lengths.split_first_chunk::<8>()?;
        let [a, b, c, d, e, f, g, h] = *lengths;
        let name = u32::from_le_bytes([a, b, c, d]) as usize;
        let value = u32::from_le_bytes([e, f, g, h]) as usize;
        let length = name.checked_add(value)?.checked_add(2)?;
        let (pair, bytes) = self.bytes.split_at_checked(length)?;
        (self.lengths, self.bytes) = (rest, bytes);
        Some((name, pair))
    }
}

fn value(pair: &[u8], name: usize) -> Option<&[u8]> {
    pair.get(name + 1..pair.len().checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn duplicates_and_bytes_that_are_no_text_are_kept() {
        let headers =
            Headers::from_pairs(&[(&b":path"[..], &b"/"[..]), (b"x", b"\xff\x00"), (b"x", b"")]);
        assert_eq!(headers.first(":path"), Some(&b"/"[..]));
        assert_eq!(
            headers.all("x").collect::<Vec<_>>(),
            [&b"\xff\x00"[..], b""]
        );
        assert_eq!(headers.first("absent"), None);
    }

    proptest! {
        #[test]
        fn pairs_come_back_as_given(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
            let headers = Headers::from_pairs(&pairs);
            let back: Vec<_> = headers.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(back, pairs);
        }

        #[test]
        fn any_buffer_is_read_without_a_panic(buffer: Vec<u8>) {
            let _ = Headers::from_serialized(buffer).iter().count();
        }
    }
}
