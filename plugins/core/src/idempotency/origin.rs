//! Whose answer it is: the upstream's, or the gateway's own; and of the latter, whether the request was ever sent.
//!
//! The bits are Envoy's response flags, as the property `response.flags` has them, and the text is
//! `response.code_details`.

/// No healthy upstream (UH), upstream connection failure (UF), no route (NR), no cluster (NC), a cluster told to drop
/// requests (DO), a circuit breaker (UO): nothing was sent.
const NEVER_SENT: u64 = 0x02 | 0x20 | 0x100 | 0x0100_0000 | 0x2800_0000 | OVERFLOW;
/// A circuit breaker (UO). It is set as well where one refuses to send again what was sent before.
const OVERFLOW: u64 = 0x80;
/// Upstream request timeout (UT).
const TIMEOUT: u64 = 0x04;

/// What the gateway says about a response.
#[derive(Debug, Clone, Copy, Default)]
pub struct Provenance<'a> {
    pub flags: u64,
    /// Empty where the gateway does not say.
    pub details: &'a [u8],
    /// How often the gateway tried the upstream, where it says; tries before the last may have been sent.
    pub attempts: Option<u64>,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Upstream,
    /// The gateway's: the request has provably not left it.
    NeverSent,
    /// The gateway's: what this route answers by itself, a redirect for one; it has no upstream.
    Route,
    /// The gateway's: the upstream took too long.
    TimedOut,
    /// The gateway's: nobody knows what the upstream did.
    Gateway,
}

impl Provenance<'_> {
    /// In doubt the request counts as sent.
    #[must_use]
    pub fn origin(&self) -> Origin {
        if self.details == b"via_upstream" || (self.details.is_empty() && self.flags == 0) {
            return Origin::Upstream;
        }
        // Any other flag beside it tells of an attempt that went further.
        let only = |bits: u64| self.flags & bits != 0 && self.flags & !bits == 0;
        if self.flags == 0
            && self.details == b"direct_response"
            && self.attempts.is_none_or(|attempts| attempts == 0)
        {
            return Origin::Route;
        }
        if self.flags & OVERFLOW != 0 && !self.details.ends_with(b"{overflow}") {
            return Origin::Gateway;
        }
        if only(NEVER_SENT) && self.attempts.is_none_or(|attempts| attempts <= 1) {
            return Origin::NeverSent;
        }
        if self.flags & TIMEOUT != 0 {
            return Origin::TimedOut;
        }
        Origin::Gateway
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(flags: u64, details: &str, attempts: Option<u64>) -> Origin {
        let details = details.as_bytes();
        Provenance {
            flags,
            details,
            attempts,
        }
        .origin()
    }

    #[test]
    fn only_what_certainly_was_not_sent_counts_as_never_sent() {
        let refused = "upstream_reset_before_response_started{remote_connection_failure}";
        assert_eq!(origin(0x20, refused, None), Origin::NeverSent);
        assert_eq!(origin(0x20, refused, Some(1)), Origin::NeverSent);
        assert_eq!(
            origin(0x02, "no_healthy_upstream", Some(0)),
            Origin::NeverSent
        );
        assert_eq!(origin(0x100, "route_not_found", None), Origin::NeverSent);
        // Refused at last, but an attempt before may have been sent.
        assert_eq!(origin(0x20, refused, Some(2)), Origin::Gateway);
        assert_eq!(origin(0x20 | 0x8000, refused, None), Origin::Gateway);
        assert_eq!(origin(0x20 | 0x40, refused, None), Origin::Gateway);
        // Reset after it was sent.
        assert_eq!(
            origin(0x40, "upstream_reset_before_response_started", None),
            Origin::Gateway
        );
        assert_eq!(origin(0x04, "response_timeout", None), Origin::TimedOut);
        assert_eq!(
            origin(0x20 | 0x04, "response_timeout", None),
            Origin::TimedOut
        );
        // A later filter's.
        assert_eq!(origin(0x800, "request_rate_limited", None), Origin::Gateway);
        // A filter's that says so of itself.
        assert_eq!(origin(0, "lua_response", None), Origin::Gateway);
    }

    #[test]
    fn a_gateway_that_asked_nobody_says_why() {
        let overflow = "upstream_reset_before_response_started{overflow}";
        for (flags, details) in [
            (0x80, overflow),
            (0x0100_0000, "cluster_not_found"),
            (0x0800_0000, "drop_overload"),
            (0x2000_0000, "unconditional_drop_overload"),
        ] {
            assert_eq!(origin(flags, details, Some(1)), Origin::NeverSent);
            assert_eq!(origin(flags, details, Some(2)), Origin::Gateway);
            assert_eq!(origin(flags | 0x40, details, Some(1)), Origin::Gateway);
        }
        // The circuit breaker refused another try only.
        let reset = "upstream_reset_before_response_started{connection_termination}";
        assert_eq!(origin(0x80, reset, Some(1)), Origin::Gateway);
    }

    #[test]
    fn what_a_route_answers_by_itself_was_sent_to_nobody() {
        assert_eq!(origin(0, "direct_response", None), Origin::Route);
        assert_eq!(origin(0, "direct_response", Some(0)), Origin::Route);
        assert_eq!(origin(0, "direct_response", Some(1)), Origin::Gateway);
        assert_eq!(origin(0x400, "direct_response", None), Origin::Gateway);
    }

    #[test]
    fn the_upstreams_answer_is_known_by_its_details_or_by_nothing_to_the_contrary() {
        assert_eq!(origin(0, "via_upstream", None), Origin::Upstream);
        assert_eq!(origin(0x8000, "via_upstream", Some(3)), Origin::Upstream);
        assert_eq!(origin(0, "", None), Origin::Upstream);
    }
}
