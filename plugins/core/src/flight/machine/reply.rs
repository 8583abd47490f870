//! Answers that are made here.

use super::{Ask, Machine};
use crate::cache::{
    Head, Match, Millis, Outcome, Status, conditional, hit_fields, not_modified_fields, part,
};
use crate::flight::bus::Posts;
use crate::flight::entry::Answer;
use crate::slots::SharedData;
use std::rc::Rc;

/// An answer in place of the upstream's. For HEAD the gateway leaves out the body by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Rc<Vec<u8>>,
}

impl Reply {
    pub(super) fn plain(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Rc::default(),
        }
    }
}

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// The Cache-Status, if the policy wants one.
    pub(super) fn cache_status(
        &self,
        outcome: Outcome,
        ttl: Option<i64>,
        detail: Option<&str>,
    ) -> Option<String> {
        let cache = self.settings.policy.cache_status.as_deref()?;
        let status = Status {
            cache,
            outcome,
            ttl,
            detail,
        };
        Some(status.to_string())
    }

    /// A stored answer for a request, or 304 for a client that has it, or the part that it asks for. `age` in seconds.
    pub(super) fn stored_reply(
        &self,
        ask: &Ask,
        answer: &Answer,
        age: u64,
        outcome: Outcome,
        now: Millis,
    ) -> Reply {
        let status = self.cache_status(outcome, Some(answer.terms.ttl(now)), None);
        self.reply(ask, &answer.head, answer, age, status)
    }

    /// The same with another head.
    pub(super) fn reply(
        &self,
        ask: &Ask,
        head: &Head,
        answer: &Answer,
        age: u64,
        cache_status: Option<String>,
    ) -> Reply {
        let mut fields = hit_fields(head, age, cache_status.as_deref().unwrap_or_default());
        if cache_status.is_none() {
            fields.retain(|(name, value)| name != b"cache-status" || !value.is_empty());
        }
        match conditional(&ask.request, head, answer.terms.received_at) {
            Match::NotModified => Reply {
                status: 304,
                fields: not_modified_fields(fields),
                body: Rc::default(),
            },
            Match::Full => match part(&ask.request, head, answer.body.len()) {
                None => Reply {
                    status: head.status,
                    fields,
                    body: Rc::clone(&answer.body),
                },
                Some(part) => {
                    let fields = part.fields(fields);
                    let body = answer.body.get(part.bytes).unwrap_or_default();
                    Reply {
                        status: 206,
                        fields,
                        body: Rc::new(body.to_vec()),
                    }
                }
            },
        }
    }
}
