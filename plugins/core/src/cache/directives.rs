//! Cache-Control as clients and origins write it (RFC 9111, 5.2).
//!
//! What restricts is read generously, what permits strictly: `no-store=1` forbids storing, `max-age=1h` grants nothing.

/// Larger numbers mean this many seconds (RFC 9111, 1.2.2).
pub(super) const MOST_SECONDS: u64 = 1 << 31;

/// A number of seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Seconds {
    #[default]
    Absent,
    Value(u64),
    /// There is something that is no number, or there are two that differ: nobody knows what was meant.
    Invalid,
}

impl Seconds {
    /// Milliseconds; what is invalid counts as none.
    pub(super) fn millis(self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Value(seconds) => Some(seconds * 1_000),
            Self::Invalid => Some(0),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        *self = match (*self, other) {
            (Self::Absent, other) => other,
            (one, two) if one == two => one,
            _ => Self::Invalid,
        };
    }
}

/// What an answer says of its use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) max_age: Seconds,
    pub(super) s_maxage: Seconds,
    pub(super) stale_while_revalidate: Seconds,
    pub(super) stale_if_error: Seconds,
    /// Fields that `no-cache` and `private` name, lower case: they are not stored, the others are.
    pub(super) excluded: Vec<Vec<u8>>,
}

impl Response {
    pub(super) fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for line in lines {
            for (name, argument) in directives(line) {
                all.add(&name, argument);
            }
            for word in misplaced(line) {
                all.no_store |= word == b"no-store";
                all.no_cache |= word == b"no-cache";
                all.private |= word == b"private";
            }
        }
        all
    }

    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let seconds = || argument.map_or(Seconds::Invalid, seconds);
        match name {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache |= !self.exclude(argument),
            b"private" => self.private |= !self.exclude(argument),
            b"public" => self.public |= argument.is_none(),
            b"must-revalidate" => self.must_revalidate = true,
            b"must-understand" => self.must_understand |= argument.is_none(),
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"max-age" => self.max_age.add(seconds()),
            b"s-maxage" => self.s_maxage.add(seconds()),
            b"stale-while-revalidate" => self.stale_while_revalidate.add(seconds()),
            b"stale-if-error" => self.stale_if_error.add(seconds()),
            _ => {}
        }
    }

    /// Takes the names of fields that a directive is limited to. `false` when it names none, and so is not limited.
    fn exclude(&mut self, argument: Option<&[u8]>) -> bool {
        let names: Vec<Vec<u8>> = argument
            .map(|argument| unquoted(argument).unwrap_or(argument))
            .unwrap_or_default()
            .split(|byte| *byte == b',')
            .map(|name| name.trim_ascii().to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        let limited = !names.is_empty() && names.iter().flatten().copied().all(is_token);
        if limited {
            self.excluded.extend(names);
        }
        limited
    }
}

/// What a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    /// Milliseconds; without a number any age will do.
    pub(super) max_stale: Option<u64>,
}

impl Request {
    pub(super) fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for (name, argument) in lines.flat_map(directives) {
            let number = argument.map_or(Seconds::Invalid, seconds);
            match (name.as_slice(), number) {
                (b"no-store", _) => all.no_store = true,
                (b"no-cache", _) => all.no_cache = true,
                (b"only-if-cached", _) => all.only_if_cached = true,
                (b"max-age" | b"min-fresh", Seconds::Invalid | Seconds::Absent) => {
                    all.no_cache = true;
                }
                (b"max-age", Seconds::Value(seconds)) => {
                    let before = all.max_age.unwrap_or(u64::MAX);
                    all.max_age = Some(before.min(seconds * 1_000));
                }
                (b"min-fresh", Seconds::Value(seconds)) => {
                    all.min_fresh = all.min_fresh.max(Some(seconds * 1_000));
                }
                (b"max-stale", Seconds::Value(seconds)) => {
                    let before = all.max_stale.unwrap_or(u64::MAX);
                    all.max_stale = Some(before.min(seconds * 1_000));
                }
                (b"max-stale", _) if argument.is_none() => {
                    all.max_stale = all.max_stale.or(Some(u64::MAX));
                }
                _ => {}
            }
        }
        all
    }
}

/// The directives of one field line: names in lower case, arguments as they stand, spaces and quotes included.
fn directives(line: &[u8]) -> impl Iterator<Item = (Vec<u8>, Option<&[u8]>)> {
    members(line).map(|member| {
        let equals = member.iter().position(|byte| *byte == b'=');
        let (name, argument) = match equals.and_then(|at| member.split_at_checked(at)) {
            Some((name, rest)) => (name, rest.get(1..)),
            None => (member, None),
        };
        (name.trim_ascii().to_ascii_lowercase(), argument)
    })
}

/// Words between any separators: `private; max-age=60` was meant to restrict, and so was `"private"`. Not those in an
/// argument that is quoted as it should be.
fn misplaced(line: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut bare = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (*byte, after.strip_prefix(b"\"").and_then(quoted_end)) {
            // Something that is no separator, for the argument.
            (b'=', Some(behind)) => {
                bare.push(b'=');
                rest = behind;
            }
            (byte, _) => bare.push(byte.to_ascii_lowercase()),
        }
    }
    let separates = |byte: &u8| matches!(byte, b',' | b';' | b'"') || byte.is_ascii_whitespace();
    let words: Vec<Vec<u8>> = bare.split(separates).map(<[u8]>::to_vec).collect();
    words.into_iter()
}

/// What follows a quoted string of which the first quote is gone. None if it does not end.
fn quoted_end(mut rest: &[u8]) -> Option<&[u8]> {
    while let Some((byte, after)) = rest.split_first() {
        match byte {
            b'"' => return Some(after),
            b'\\' => rest = after.get(1..)?,
            _ => rest = after,
        }
    }
    None
}

/// The members of a list, split at commas that stand in no quoted string; without the empty ones.
pub(super) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    line.split(move |byte| {
        let inside = quoted;
        match *byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        *byte == b',' && !inside
    })
    .map(<[u8]>::trim_ascii)
    .filter(|member| !member.is_empty())
}

/// A number of seconds, bare or quoted, and nothing round it.
pub(super) fn seconds(argument: &[u8]) -> Seconds {
    let digits = unquoted(argument).unwrap_or(argument);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Seconds::Invalid;
    }
    let value = digits.iter().fold(0_u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Seconds::Value(value.min(MOST_SECONDS))
}

fn unquoted(argument: &[u8]) -> Option<&[u8]> {
    argument.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
