//! The Cache-Status field (RFC 9211): what this cache did with a request, for whoever looks for a reason.

use std::fmt;

/// One cache's member of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// The cache's name: a token.
    pub cache: &'a str,
    pub outcome: Outcome,
    /// Seconds for which the answer stays fresh; negative since it does not.
    pub ttl: Option<i64>,
    /// Why, in one token.
    pub detail: Option<&'a str>,
}

/// Where the answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The store.
    Hit,
    /// Upstream.
    Forward {
        reason: Forward,
        /// What upstream answered, if that is not what the client gets.
        status: Option<u16>,
        /// Whether the answer is stored.
        stored: bool,
        /// Whether another request fetched it.
        collapsed: bool,
    },
}

/// Why a request went upstream (RFC 9211, 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// The cache does not handle the request.
    Bypass,
    /// Its method.
    Method,
    /// Nothing is stored for the URI.
    UriMiss,
    /// What is stored is for other requests.
    VaryMiss,
    /// What is stored is fresh, but the client wanted more.
    Request,
    /// What is stored is stale.
    Stale,
}

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cache)?;
        match self.outcome {
            Outcome::Hit => f.write_str("; hit")?,
            Outcome::Forward {
                reason,
                status,
                stored,
                collapsed,
            } => {
                write!(f, "; fwd={}", reason.name())?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={status}")?;
                }
                if stored {
                    f.write_str("; stored")?;
                }
                if collapsed {
                    f.write_str("; collapsed")?;
                }
            }
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if let Some(detail) = self.detail {
            write!(f, "; detail={detail}")?;
        }
        Ok(())
    }
}

impl Forward {
    fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}
