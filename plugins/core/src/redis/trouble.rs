//! What can go wrong between a command and its reply, by the kinds an operator tells apart.

/// A command whose reply is not known to be an answer. For a charge that means: perhaps charged, never to be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The gateway could not reach Redis, or has no such cluster.
    Connect,
    /// No reply within the time.
    Timeout,
    /// The connection broke before a reply.
    Reset,
    /// The reply ends early.
    Truncated,
    /// The reply is no RESP, or not what the command returns.
    Malformed,
    /// Wrong user or password, or none where one is needed.
    Auth,
    /// Redis is still loading its data.
    Loading,
    /// Redis is a replica, or has stopped accepting writes.
    ReadOnly,
    /// Redis has reached its memory limit.
    OutOfMemory,
    /// The script is missing although it was sent whole.
    NoScript,
    /// The keys of one script live on different nodes of a Redis Cluster.
    CrossSlot,
    /// Any other error reply.
    Error,
    /// Written, but fewer replicas have it, or no file, than the policy asks for.
    NotDurable,
    /// The breaker is open: Redis was not asked.
    BreakerOpen,
    /// Too many commands wait already: Redis was not asked.
    Overloaded,
}

impl Trouble {
    /// Every kind, for the metrics.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::Timeout,
        Self::Reset,
        Self::Truncated,
        Self::Malformed,
        Self::Auth,
        Self::Loading,
        Self::ReadOnly,
        Self::OutOfMemory,
        Self::NoScript,
        Self::CrossSlot,
        Self::Error,
        Self::NotDurable,
        Self::BreakerOpen,
        Self::Overloaded,
    ];

    /// The name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Auth => "auth",
            Self::Loading => "loading",
            Self::ReadOnly => "readonly",
            Self::OutOfMemory => "oom",
            Self::NoScript => "noscript",
            Self::CrossSlot => "crossslot",
            Self::Error => "error",
            Self::NotDurable => "not_durable",
            Self::BreakerOpen => "breaker_open",
            Self::Overloaded => "overloaded",
        }
    }

    /// Tells the kind of an error reply by its first word. Redis writes some of them after "ERR", and a script's error
    /// carries the inner one.
    #[must_use]
    pub fn from_error_reply(text: &[u8]) -> Self {
        let text = text.strip_prefix(b"ERR ").unwrap_or(text);
        let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        match word {
            b"NOAUTH" | b"WRONGPASS" | b"NOPERM" => Self::Auth,
            b"AUTH" | b"Client" if contains(text, b"AUTH") => Self::Auth,
            b"LOADING" | b"MASTERDOWN" => Self::Loading,
            b"READONLY" | b"MISCONF" | b"NOREPLICAS" => Self::ReadOnly,
            b"OOM" => Self::OutOfMemory,
            b"NOSCRIPT" => Self::NoScript,
            b"CROSSSLOT" => Self::CrossSlot,
            _ if contains(text, b"invalid password") || contains(text, b"invalid username") => {
                Self::Auth
            }
            // A client that has not logged in may not even send long commands.
            _ if contains(text, b"unauthenticated") => Self::Auth,
            _ => Self::Error,
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies_by_kind() {
        for (text, kind) in [
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                Trouble::Auth,
            ),
            ("NOAUTH Authentication required.", Trouble::Auth),
            ("NOPERM this user has no permissions", Trouble::Auth),
            (
                "ERR AUTH <password> called without any password configured",
                Trouble::Auth,
            ),
            (
                "ERR Client sent AUTH, but no password is set",
                Trouble::Auth,
            ),
            (
                "LOADING Redis is loading the dataset in memory",
                Trouble::Loading,
            ),
            (
                "READONLY You can't write against a read only replica.",
                Trouble::ReadOnly,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Trouble::OutOfMemory,
            ),
            (
                "NOSCRIPT No matching script. Please use EVAL.",
                Trouble::NoScript,
            ),
            (
                "CROSSSLOT Keys in request don't hash to the same slot",
                Trouble::CrossSlot,
            ),
            ("WRONGTYPE Operation against a key", Trouble::Error),
            ("", Trouble::Error),
        ] {
            assert_eq!(Trouble::from_error_reply(text.as_bytes()), kind, "{text}");
        }
    }
}
