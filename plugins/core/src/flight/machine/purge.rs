//! Forgetting on demand: a request to the policy's purge path, with the token.
//!
//! `sluice-purge: /target?query` names what is forgotten, at the request's own authority; several fields name several,
//! and `*` is everything. Such a request never goes upstream.

use super::{Event, Machine, Reply};
use crate::cache::Millis;
use crate::flight::bus::Posts;
use crate::selector::Request;
use crate::slots::SharedData;

/// Names what is forgotten.
pub const FIELD: &str = "sluice-purge";

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// The answer to a request that purges; none to any other.
    pub(super) fn purge(&mut self, request: &impl Request, now: Millis) -> Option<Reply> {
        let purge = self.settings.policy.purge.as_ref()?;
        let path = request.first(":path")?;
        let path = path.split(|byte| *byte == b'?').next()?;
        if path != purge.path.as_bytes() {
            return None;
        }
        let headers = request.headers();
        let given = headers.first("authorization").unwrap_or_default();
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        let token = self.settings.purge_token.as_deref().unwrap_or_default();
        if token.is_empty() || !same(given, token.as_bytes()) {
            return Some(Reply::plain(401));
        }
        let targets: Vec<Vec<u8>> = headers.all(FIELD).map(<[u8]>::to_vec).collect();
        if targets.is_empty() {
            return Some(Reply::plain(400));
        }
        if targets.iter().any(|target| target == b"*") {
            self.count(Event::Invalidated);
            self.forget_all(now);
        } else {
            self.invalidate(headers, &targets, now);
        }
        Some(Reply::plain(204))
    }
}

/// Compares in a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |all, (one, other)| all | (one ^ other))
            == 0
}
