//! RESP2, the wire format of Redis: commands out, replies in.
//!
//! A pipeline's replies come as one body that may be cut short or be no RESP at all (a gateway's error page), so the
//! decoder says exactly which. It borrows from the body: a batch holds dozens of small replies.

/// Replies nest this deep at most. Ours nest once; the bound keeps a hostile reply off the stack.
const MAX_DEPTH: u8 = 8;

/// A reply, borrowed from the body it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR ...`, without the dash
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    Array(Vec<Reply<'a>>),
    /// `$-1` or `*-1`
    Nil,
}

/// Why a reply could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The body ends in the middle of a reply.
    Truncated,
    /// The bytes are not RESP.
    Malformed,
}

/// Appends one command, every argument as a bulk string (binary safe).
pub fn encode(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    header(out, b'*', arguments.len());
    for word in arguments {
        argument(out, word);
    }
}

/// Appends one argument.
pub fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends what stands before `count` arguments (`*`) or bytes (`$`).
pub(super) fn header(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    decimal(out, count as u64);
    out.extend_from_slice(b"\r\n");
}

/// Appends `number` in decimal, without the formatting machinery: a command carries several of them.
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    let start = out.len();
    let mut rest = number;
    loop {
        out.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Reads the first reply of `bytes` and returns it with the bytes that follow it.
///
/// # Errors
/// [`DecodeError::Truncated`] when more bytes could complete it, [`DecodeError::Malformed`] when none could.
pub fn decode(bytes: &[u8]) -> Result<(Reply<'_>, &[u8]), DecodeError> {
    decode_nested(bytes, 0)
}

fn decode_nested(bytes: &[u8], depth: u8) -> Result<(Reply<'_>, &[u8]), DecodeError> {
    let (kind, rest) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    if !matches!(kind, b'+' | b'-' | b':' | b'$' | b'*') || depth > MAX_DEPTH {
        return Err(DecodeError::Malformed);
    }
    let (line, rest) = line(rest)?;
    match kind {
        b'+' => Ok((Reply::Simple(line), rest)),
        b'-' => Ok((Reply::Error(line), rest)),
        b':' => Ok((Reply::Integer(integer(line)?), rest)),
        b'$' => bulk(integer(line)?, rest),
        _ => array(integer(line)?, rest, depth),
    }
}

fn bulk(length: i64, bytes: &[u8]) -> Result<(Reply<'_>, &[u8]), DecodeError> {
    if length == -1 {
        return Ok((Reply::Nil, bytes));
    }
    let length = usize::try_from(length).map_err(|_| DecodeError::Malformed)?;
    let (text, rest) = bytes
        .split_at_checked(length)
        .ok_or(DecodeError::Truncated)?;
    match rest {
        [b'\r', b'\n', rest @ ..] => Ok((Reply::Bulk(text), rest)),
        [] | [b'\r'] => Err(DecodeError::Truncated),
        _ => Err(DecodeError::Malformed),
    }
}

fn array(count: i64, bytes: &[u8], depth: u8) -> Result<(Reply<'_>, &[u8]), DecodeError> {
    if count == -1 {
        return Ok((Reply::Nil, bytes));
    }
    let count = usize::try_from(count).map_err(|_| DecodeError::Malformed)?;
    // The count is only a claim: allocate for what has arrived, not for what is promised.
    let mut replies = Vec::with_capacity(count.min(bytes.len() / 3));
    let mut rest = bytes;
    for _ in 0..count {
        let (reply, after) = decode_nested(rest, depth + 1)?;
        replies.push(reply);
        rest = after;
    }
    Ok((Reply::Array(replies), rest))
}

fn line(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(DecodeError::Truncated)?;
    let (line, rest) = bytes.split_at_checked(end).ok_or(DecodeError::Truncated)?;
    let line = line.strip_suffix(b"\r").ok_or(DecodeError::Malformed)?;
    Ok((line, rest.get(1..).unwrap_or_default()))
}

fn integer(line: &[u8]) -> Result<i64, DecodeError> {
    std::str::from_utf8(line)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(DecodeError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut out = Vec::new();
        encode(&mut out, &[b"SET", b"k\r\n", b""]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n");
    }

    #[test]
    fn every_kind_of_reply() {
        let body = b"+OK\r\n-ERR no\r\n:-7\r\n$2\r\n\r\n\r\n$-1\r\n*2\r\n:1\r\n*0\r\n*-1\r\n";
        let mut rest = &body[..];
        let mut replies = Vec::new();
        while !rest.is_empty() {
            let (reply, after) = decode(rest).unwrap();
            replies.push(reply);
            rest = after;
        }
        assert_eq!(
            replies,
            [
                Reply::Simple(b"OK"),
                Reply::Error(b"ERR no"),
                Reply::Integer(-7),
                Reply::Bulk(b"\r\n"),
                Reply::Nil,
                Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![])]),
                Reply::Nil,
            ]
        );
    }

    #[test]
    fn what_is_no_resp_is_told_from_what_is_cut_short() {
        for body in [
            &b"upstream connect error"[..],
            b":x\r\n",
            b"$-2\r\n",
            b"$1\r\nabc",
            b"+OK\n",
        ] {
            assert_eq!(decode(body), Err(DecodeError::Malformed), "{body:?}");
        }
        let deep = b"*1\r\n".repeat(100_000);
        assert_eq!(decode(&deep), Err(DecodeError::Malformed));
        assert_eq!(decode(b"*999999999\r\n:1\r\n"), Err(DecodeError::Truncated));
    }

    fn reply() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|text| {
                let mut out = format!("${}\r\n", text.len()).into_bytes();
                out.extend(text);
                out.extend(b"\r\n");
                out
            }),
            Just(b"+OK\r\n".to_vec()),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop::collection::vec(inner, 0..5).prop_map(|items| {
                let mut out = format!("*{}\r\n", items.len()).into_bytes();
                out.extend(items.concat());
                out
            })
        })
    }

    proptest! {
        #[test]
        fn every_cut_of_a_reply_is_truncated_and_the_whole_is_read(body in reply()) {
            for cut in 0..body.len() {
                prop_assert_eq!(decode(&body[..cut]), Err(DecodeError::Truncated));
            }
            prop_assert!(matches!(decode(&body), Ok((_, []))));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(body: Vec<u8>) {
            let _ = decode(&body);
        }

        #[test]
        fn decimal_is_to_string(number: u64) {
            let mut out = Vec::new();
            decimal(&mut out, number);
            prop_assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
