//! What a client is told whose request goes to no shard: a problem (RFC 9457) of a type of its own.

/// Why a request goes to no shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// 400: the request has no shard key.
    KeyMissing,
    /// 400: the key is there twice, or is not what the route wants.
    KeyInvalid,
    /// 413: the key is in the body, and that is longer than may be held.
    BodyTooLarge,
    /// 503: the body that the key is in has not come in time.
    BodyLate,
    /// 503: the key is being moved to another shard.
    Frozen,
    /// 503: the shard has as many requests as it may have.
    Busy,
    /// 503: so it had for as long as the request may wait.
    Waited,
    /// 503: nothing could be set in the request.
    NotRouted,
    /// 503: it is not known yet which tables are in force.
    TablesUnknown,
    /// 503: the worker has no number for the shard. No tables are known that bring this about.
    ShardUnknown,
}

impl Problem {
    pub const ALL: [Self; 10] = [
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::BodyTooLarge,
        Self::BodyLate,
        Self::Frozen,
        Self::Busy,
        Self::Waited,
        Self::NotRouted,
        Self::TablesUnknown,
        Self::ShardUnknown,
    ];

    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::KeyMissing | Self::KeyInvalid => 400,
            Self::BodyTooLarge => 413,
            _ => 503,
        }
    }

    /// The end of the problem's type, `urn:sluice:problem:shard-route-...`, and of the gateway's details.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyMissing => "key-missing",
            Self::KeyInvalid => "key-invalid",
            Self::BodyTooLarge => "body-too-large",
            Self::BodyLate => "body-late",
            Self::Frozen => "frozen",
            Self::Busy => "busy",
            Self::Waited => "waited",
            Self::NotRouted => "not-routed",
            Self::TablesUnknown => "tables-unknown",
            Self::ShardUnknown => "shard-unknown",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::KeyMissing => "The request has no shard key",
            Self::KeyInvalid => "The request's shard key is not valid",
            Self::BodyTooLarge => "The body is too long to look for a shard key in",
            Self::BodyLate => "The body with the shard key has not come in time",
            Self::Frozen => "The data is being moved",
            Self::Busy | Self::Waited => "The shard has too many requests",
            Self::NotRouted => "The request cannot be routed",
            Self::TablesUnknown => "It is not known yet where the data is",
            Self::ShardUnknown => "The shard of the data is not known",
        }
    }

    /// The fields of the answer. `retry_after`: whole seconds, of a status 503.
    #[must_use]
    pub fn fields(self, retry_after: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let field = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let mut fields = vec![
            field("content-type", "application/problem+json"),
            field("cache-control", "no-store"),
        ];
        if self.status() == 503 {
            fields.push(field("retry-after", &retry_after.max(1).to_string()));
        }
        fields
    }

    #[must_use]
    pub fn body(self) -> Vec<u8> {
        let (name, title, status) = (self.name(), self.title(), self.status());
        format!(
            "{{\"type\":\"urn:sluice:problem:shard-route-{name}\",\"title\":\"{title}\",\"status\":{status}}}\n"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_problem_is_json_of_a_type_of_its_own() {
        let mut types = std::collections::BTreeSet::new();
        for problem in Problem::ALL {
            let body: Value = serde_json::from_slice(&problem.body()).unwrap();
            assert_eq!(body["status"], problem.status());
            assert!(types.insert(body["type"].to_string()));
            let retry = problem
                .fields(7)
                .iter()
                .any(|(name, value)| name == b"retry-after" && value == b"7");
            assert_eq!(retry, problem.status() == 503);
        }
    }
}
