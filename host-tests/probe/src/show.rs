//! How answers of the host look in the log: on one line, in ASCII.

use std::fmt::Write as _;

const MOST: usize = 400;

/// The ABI's name of a status.
pub fn status(status: u32) -> String {
    let name = match status {
        0 => "ok",
        1 => "not_found",
        2 => "bad_argument",
        3 => "serialization_failure",
        4 => "parse_failure",
        5 => "bad_expression",
        6 => "invalid_memory_access",
        7 => "empty",
        8 => "cas_mismatch",
        9 => "result_mismatch",
        10 => "internal_failure",
        11 => "broken_connection",
        12 => "unimplemented",
        other => return format!("status {other}"),
    };
    name.to_owned()
}

/// Bytes in quotes; the end of many is left out.
pub fn bytes(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes.iter().take(MOST) {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            0x20..0x7f => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push('"');
    if bytes.len() > MOST {
        let _ = write!(text, "... {} bytes", bytes.len());
    }
    text
}

/// What a call that gives bytes gave: the host may answer ok and leave the pointer null.
pub fn given(answer: &(u32, Option<Vec<u8>>)) -> String {
    match answer {
        (0, Some(value)) => format!("ok {}", bytes(value)),
        (0, None) => "ok null".to_owned(),
        (other, _) => status(*other),
    }
}
