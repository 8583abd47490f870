//! The ABI's serialized lists of pairs: a count, the sizes of each name and value, then each text with a zero byte.
//! All numbers are 32 bits, little endian.

/// The most pairs that Envoy takes from a filter.
const MAX_PAIRS: usize = 1024;
/// The most bytes that Envoy takes from a filter in one list.
const MAX_BYTES: usize = 1024 * 1024;

/// Writes pairs.
pub(crate) fn write<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let mut bytes = Vec::new();
    let number = |number: usize, bytes: &mut Vec<u8>| {
        bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    };
    number(pairs.clone().count(), &mut bytes);
    for (name, value) in pairs.clone() {
        number(name.len(), &mut bytes);
        number(value.len(), &mut bytes);
    }
    for (name, value) in pairs {
        for text in [name, value] {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
    }
    bytes
}

/// Reads pairs. What is malformed or past the limits reads as no pairs at all, as in Envoy.
pub(crate) fn read(bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    parse(bytes).unwrap_or_default()
}

fn parse(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let (count, rest) = number(bytes)?;
    if count > MAX_PAIRS {
        return None;
    }
    let (mut sizes, mut texts) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut pairs = Vec::with_capacity(count);
    while !sizes.is_empty() {
        let (name_size, after) = number(sizes)?;
        let (value_size, after) = number(after)?;
        sizes = after;
        let (name, after) = text(texts, name_size)?;
        let (value, after) = text(after, value_size)?;
        texts = after;
        pairs.push((name, value));
    }
    texts.is_empty().then_some(pairs)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn text(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(size)?;
    let (&zero, rest) = rest.split_first()?;
    (zero == 0).then_some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        write(pairs.iter().copied())
    }

    #[test]
    fn what_is_written_is_read() {
        let pairs: [(&[u8], &[u8]); 3] = [(b":path", b"/\xff"), (b"empty", b""), (b"", b"x")];
        assert_eq!(read(&written(&pairs)), pairs);
        assert_eq!(written(&[]), [0, 0, 0, 0]);
        assert_eq!(
            written(&[(b"a", b"bc")]),
            b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0"
        );
    }

    #[test]
    fn whatever_is_malformed_reads_as_nothing() {
        let good = written(&[(b"name", b"value"), (b"other", b"one")]);
        for end in 0..good.len() {
            assert!(read(good.get(..end).unwrap()).is_empty(), "cut at {end}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(read(&longer).is_empty());
        let mut unterminated = good;
        *unterminated.last_mut().unwrap() = b'x';
        assert!(read(&unterminated).is_empty());
        assert!(read(&[0xff; 64]).is_empty());
    }

    #[test]
    fn the_limits_are_envoys() {
        let pair: (&[u8], &[u8]) = (b"n", b"v");
        assert_eq!(read(&written(&vec![pair; 1024])).len(), 1024);
        assert!(read(&written(&vec![pair; 1025])).is_empty());
        // 4 + 8 + "n" and two zero bytes: 15 bytes besides the value.
        let value = vec![b'v'; MAX_BYTES - 15];
        assert_eq!(read(&written(&[(b"n", &value)])).len(), 1);
        let value = vec![b'v'; MAX_BYTES - 14];
        assert!(read(&written(&[(b"n", &value)])).is_empty());
    }
}
