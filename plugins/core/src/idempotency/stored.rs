//! An answer as it is stored: bytes of a format with a version, and which header fields are kept.
//!
//! The bytes are "SI", the version (4: 1 had another sum), an XXH64 over all that follows, then, numbers big endian: the
//! status (2 bytes), the number of fields (2), each field's name (2 bytes of length before it) and value (4), and the
//! body. How these bytes go into a store is for [`seal`](super::seal) to say.
//!
//! The sum is against accidents, and every replay pays for it: a cryptographic one took half of the time of a large
//! replay, and without a key it would be no help against somebody who writes to the store.

use super::settings::HeaderFilter;
use bytes::Bytes;
use twox_hash::XxHash64;

const VERSION: [u8; 3] = *b"SI\x04";

/// Fields that no replay may repeat: they belong to one connection, one client or one moment.
const NEVER: [&str; 16] = [
    "set-cookie",
    "set-cookie2",
    "date",
    "content-length",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-envoy-upstream-service-time",
    super::problem::REPLAYED,
    super::problem::STATUS,
];

/// Whether no replay may repeat the field, whatever a policy says. `name` in lower case.
#[must_use]
pub fn is_never_kept(name: &[u8]) -> bool {
    NEVER.iter().any(|never| never.as_bytes() == name)
}

/// A header field: name in lower case, value.
pub type Field = (Vec<u8>, Vec<u8>);

/// An answer to be replayed, or, without a body and fields, one of which only the status is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub status: u16,
    pub fields: Vec<Field>,
    pub body: Bytes,
}

/// The stored bytes are not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

impl Stored {
    /// The answer as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let fields = self
            .fields
            .iter()
            .map(|(name, value)| name.len() + value.len() + 6);
        let size = 15 + fields.sum::<usize>() + self.body.len();
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(&VERSION);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.status.to_be_bytes());
        // More fields than fit, or longer ones, no gateway accepts.
        let fits = |field: &&Field| {
            field.0.len() <= usize::from(u16::MAX) && u32::try_from(field.1.len()).is_ok()
        };
        let fields: Vec<&Field> = self
            .fields
            .iter()
            .filter(fits)
            .take(usize::from(u16::MAX))
            .collect();
        out.extend_from_slice(&(fields.len() as u16).to_be_bytes());
        for (name, value) in fields {
            out.extend_from_slice(&(name.len() as u16).to_be_bytes());
            out.extend_from_slice(name);
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
        out.extend_from_slice(&self.body);
        let check = check(out.get(11..).unwrap_or_default());
        if let Some(place) = out.get_mut(3..11) {
            place.copy_from_slice(&check);
        }
        out
    }

    /// Reads what [`Stored::to_bytes`] wrote.
    ///
    /// # Errors
    /// When a single bit of it differs.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, Corrupt> {
        let rest = bytes.strip_prefix(&VERSION).ok_or(Corrupt)?;
        let (sum, rest) = rest.split_first_chunk::<8>().ok_or(Corrupt)?;
        if *sum != check(rest) {
            return Err(Corrupt);
        }
        let mut reader = Reader(rest);
        let status = reader.short()?;
        let count = reader.short()?;
        let mut fields = Vec::with_capacity(usize::from(count).min(rest.len() / 6));
        for _ in 0..count {
            let length = usize::from(reader.short()?);
            let name = reader.take(length)?.to_vec();
            let length = reader.long()? as usize;
            fields.push((name, reader.take(length)?.to_vec()));
        }
        Ok(Self {
            status,
            fields,
            body: part(bytes, reader.0),
        })
    }
}

/// A part of some bytes, which it shares with them.
#[must_use]
pub fn part(whole: &Bytes, part: &[u8]) -> Bytes {
    let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    let end = start.saturating_add(part.len());
    if end <= whole.len() {
        whole.slice(start..end)
    } else {
        Bytes::copy_from_slice(part)
    }
}

fn check(bytes: &[u8]) -> [u8; 8] {
    XxHash64::oneshot(0, bytes).to_be_bytes()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Corrupt)?;
        self.0 = rest;
        Ok(taken)
    }

    fn short(&mut self) -> Result<u16, Corrupt> {
        let (taken, rest) = self.0.split_first_chunk::<2>().ok_or(Corrupt)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*taken))
    }

    fn long(&mut self) -> Result<u32, Corrupt> {
        let (taken, rest) = self.0.split_first_chunk::<4>().ok_or(Corrupt)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*taken))
    }
}

/// The fields of an answer that a replay repeats, in order.
#[must_use]
pub fn kept<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    filter: &HeaderFilter,
) -> Vec<Field> {
    let named: Vec<Vec<u8>> = fields
        .clone()
        .filter(|(name, _)| *name == b"connection")
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(|name| name.trim_ascii().to_ascii_lowercase())
        .collect();
    let is_in = |list: &[String], name: &[u8]| list.iter().any(|known| known.as_bytes() == name);
    fields
        .filter(|(name, _)| {
            !name.starts_with(b":")
                && !is_never_kept(name)
                && !named.iter().any(|hop| hop == name)
                && match filter {
                    HeaderFilter::Allow(list) => is_in(list, name),
                    HeaderFilter::Deny(list) => !is_in(list, name),
                }
        })
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(pairs: &[(&str, &str)], filter: &HeaderFilter) -> Vec<String> {
        let fields = pairs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let kept = kept(fields, filter);
        kept.into_iter()
            .map(|(name, _)| String::from_utf8(name).unwrap())
            .collect()
    }

    #[test]
    fn cookies_dates_and_what_belongs_to_the_connection_are_never_replayed() {
        let pairs = [
            (":status", "200"),
            ("content-type", "text/plain"),
            ("set-cookie", "session=secret"),
            ("date", "now"),
            ("content-length", "3"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("x-order", "7"),
            ("x-order", "8"),
            ("idempotency-replayed", "true"),
        ];
        let all = HeaderFilter::Deny(vec![]);
        assert_eq!(names(&pairs, &all), ["content-type", "x-order", "x-order"]);
        let allow = HeaderFilter::Allow(vec!["x-order".into(), "set-cookie".into(), "date".into()]);
        assert_eq!(names(&pairs, &allow), ["x-order", "x-order"]);
        let deny = HeaderFilter::Deny(vec!["x-order".into()]);
        assert_eq!(names(&pairs, &deny), ["content-type"]);
    }

    #[test]
    fn the_format_is_fixed() {
        let stored = Stored {
            status: 201,
            fields: vec![(b"a".to_vec(), b"bc".to_vec())],
            body: "body".into(),
        };
        let bytes = stored.to_bytes();
        assert_eq!(&bytes[..3], b"SI\x04");
        assert_eq!(&bytes[11..], b"\0\xc9\0\x01\0\x01a\0\0\0\x02bcbody");
        assert_eq!(Stored::from_bytes(&bytes.into()), Ok(stored));
    }

    #[test]
    fn a_part_is_shared_and_what_is_none_is_copied() {
        let whole = Bytes::from(b"head and body".to_vec());
        let body = part(&whole, &whole[9..]);
        assert_eq!(
            (&body[..], body.as_ptr()),
            (&b"body"[..], whole[9..].as_ptr())
        );
        let other = b"and".to_vec();
        for whole in [whole.slice(..3), Bytes::new()] {
            assert_eq!(&part(&whole, &body)[..], b"body");
            assert_eq!(&part(&whole, &other)[..], b"and");
            assert_eq!(&part(&whole, b"")[..], b"");
        }
    }

    proptest! {
        #[test]
        fn an_answer_comes_back_byte_for_byte(
            status: u16,
            fields in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..5),
            body: Vec<u8>,
        ) {
            let stored = Stored { status, fields, body: body.into() };
            prop_assert_eq!(Stored::from_bytes(&stored.to_bytes().into()), Ok(stored));
        }

        #[test]
        fn a_flipped_bit_or_a_missing_end_is_found(body: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let stored = Stored { status: 200, fields: vec![(b"n".to_vec(), b"v".to_vec())], body: body.into() };
            let mut bytes = stored.to_bytes();
            let at = at.index(bytes.len());
            prop_assert_eq!(Stored::from_bytes(&Bytes::copy_from_slice(&bytes[..at])), Err(Corrupt));
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Stored::from_bytes(&bytes.into()), Err(Corrupt));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = Stored::from_bytes(&bytes.into());
        }
    }
}
