//! Reads commands from the bytes a client sends, which may stop anywhere.

/// Most arguments and longest argument before a client has said who it is, and after.
const ARGUMENTS: [i64; 2] = [10, i32::MAX as i64];
const BYTES: [i64; 2] = [16 * 1024, 512 * 1024 * 1024];
/// Longest line of a length or an inline command.
const LINE: usize = 64 * 1024;

/// Reads the command that begins at `at` in `input`, and moves `at` behind it: its words, or `None` while it is not
/// all there.
///
/// # Errors
/// The text after `Protocol error: `; the connection is then of no use any more.
pub(crate) fn next(
    input: &[u8],
    at: &mut usize,
    authenticated: bool,
) -> Result<Option<Vec<Vec<u8>>>, String> {
    let mut reader = Reader { input, at: *at };
    let words = reader.command(usize::from(authenticated))?;
    if words.is_some() {
        *at = reader.at;
    }
    Ok(words)
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn command(&mut self, limits: usize) -> Result<Option<Vec<Vec<u8>>>, String> {
        if self.input.get(self.at).is_some_and(|&byte| byte != b'*') {
            let Some(line) = self.line("too big inline request")? else {
                return Ok(None);
            };
            let words = line.split(u8::is_ascii_whitespace);
            return Ok(Some(
                words
                    .filter(|word| !word.is_empty())
                    .map(<[u8]>::to_vec)
                    .collect(),
            ));
        }
        let Some(line) = self.line("too big mbulk count string")? else {
            return Ok(None);
        };
        let count = number(line.get(1..).unwrap_or_default()).ok_or("invalid multibulk length")?;
        if count > ARGUMENTS[1] {
            return Err("invalid multibulk length".to_owned());
        }
        if count > ARGUMENTS[limits] {
            return Err("unauthenticated multibulk length".to_owned());
        }
        let mut words = Vec::new();
        for _ in 0..count {
            let Some(line) = self.line("too big bulk count string")? else {
                return Ok(None);
            };
            let Some((b'$', length)) = line.split_first() else {
                let got = line.first().map_or('\r', |&byte| char::from(byte));
                return Err(format!("expected '$', got '{got}'"));
            };
            let length = number(length)
                .filter(|length| (0..=BYTES[1]).contains(length))
                .ok_or("invalid bulk length")?;
            if length > BYTES[limits] {
                return Err("unauthenticated bulk length".to_owned());
            }
            let end = self.at + usize::try_from(length).unwrap_or(usize::MAX);
            // Redis does not look at the two bytes that end an argument either.
            if self.input.len() < end + 2 {
                return Ok(None);
            }
            words.push(self.input[self.at..end].to_vec());
            self.at = end + 2;
        }
        Ok(Some(words))
    }

    fn line(&mut self, too_long: &str) -> Result<Option<Vec<u8>>, String> {
        let rest = &self.input[self.at..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            return if rest.len() > LINE {
                Err(too_long.to_owned())
            } else {
                Ok(None)
            };
        };
        self.at += end + 1;
        let line = &rest[..end];
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec()))
    }
}

/// A whole number as Redis reads one everywhere: no sign but `-`, no blanks, no leading zeros.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !plain {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_however_it_is_cut() {
        let whole = b"*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n";
        for cut in 0..whole.len() {
            let mut at = 0;
            assert_eq!(next(&whole[..cut], &mut at, true), Ok(None), "{cut}");
            assert_eq!(at, 0);
        }
        let two = [&whole[..], b"*1\r\n"].concat();
        let mut at = 0;
        let words = next(&two, &mut at, true).unwrap().unwrap();
        assert_eq!(words, [b"ECHO".to_vec(), b"a\r\n".to_vec()]);
        assert_eq!(at, whole.len());
        assert_eq!(next(&two, &mut at, true), Ok(None));
    }

    #[test]
    fn numbers_are_as_strict_as_those_of_redis() {
        for (text, want) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(number(text.as_bytes()), want, "{text}");
        }
    }
}
