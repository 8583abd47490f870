//! What a command answers, and how it goes over the wire (RESP2).

/// A command's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(Vec<u8>),
    /// With its code, without the leading `-`.
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    NilArray,
    Array(Vec<Reply>),
}

impl Reply {
    #[must_use]
    pub fn ok() -> Self {
        Self::status("OK")
    }

    #[must_use]
    pub fn status(text: &str) -> Self {
        Self::Status(text.into())
    }

    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into().into_bytes())
    }

    pub(crate) fn bulk(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bulk(bytes.into())
    }

    pub(crate) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(crate) fn bulk_or_nil(bytes: Option<Vec<u8>>) -> Self {
        bytes.map_or(Self::Nil, Self::Bulk)
    }

    pub(crate) fn bulks(items: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::Array(items.into_iter().map(Self::Bulk).collect())
    }

    /// Appends the bytes that Redis would send.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status(text) => line(out, b'+', text),
            Self::Error(text) => line(out, b'-', text),
            Self::Integer(number) => line(out, b':', number.to_string().as_bytes()),
            Self::Bulk(bytes) => {
                line(out, b'$', bytes.len().to_string().as_bytes());
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Nil => out.extend_from_slice(b"$-1\r\n"),
            Self::NilArray => out.extend_from_slice(b"*-1\r\n"),
            Self::Array(items) => {
                line(out, b'*', items.len().to_string().as_bytes());
                for item in items {
                    item.encode(out);
                }
            }
        }
    }
}

/// One line; a line break within would break the protocol, so Redis sends blanks instead.
fn line(out: &mut Vec<u8>, mark: u8, text: &[u8]) {
    out.push(mark);
    out.extend(text.iter().map(|&byte| match byte {
        b'\r' | b'\n' => b' ',
        _ => byte,
    }));
    out.extend_from_slice(b"\r\n");
}

/// Why a command did not do what it was asked: the text of an error reply, code included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(pub String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn wrong_type() -> Self {
        Self::new("WRONGTYPE Operation against a key holding the wrong kind of value")
    }

    pub(crate) fn syntax() -> Self {
        Self::new("ERR syntax error")
    }

    pub(crate) fn not_an_integer() -> Self {
        Self::new("ERR value is not an integer or out of range")
    }

    pub(crate) fn arity(name: &str) -> Self {
        Self(format!(
            "ERR wrong number of arguments for '{name}' command"
        ))
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::error(failure.0)
    }
}
