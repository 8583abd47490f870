//! Which keys were written a moment ago: records in the gateway's memory, and cookies.

use sluice_core::gcra::Ps;
use sluice_core::headers::Headers;
use sluice_core::policy::shard_route::{By, Sticky};
use sluice_core::shard::sticky;
use sluice_core::slots::{SlotTable, Step};
use sluice_host::message;
use sluice_host::shared::{self, GatewayShared};
use std::sync::Arc;

/// Keys of all tables that have a record at once: 65,536, in 1.5 MiB at most.
const BUCKETS: u32 = 8_192;
const WAYS: u32 = 8;

/// A write that is under way.
#[derive(Debug, Clone)]
pub struct Write {
    /// All that want to know of it.
    pub rules: Arc<[Arc<Sticky>]>,
    pub table: String,
    pub key: Vec<u8>,
}

pub struct Writes {
    records: SlotTable<GatewayShared>,
    secret: u64,
}

impl Writes {
    pub fn new() -> Self {
        let [secret, ..] = shared::process_secret();
        Self {
            records: SlotTable::new(GatewayShared, "shard-written", BUCKETS, WAYS),
            secret,
        }
    }

    /// Whether the key was written within the rule's window.
    pub fn holds(
        &mut self,
        rule: &Sticky,
        headers: &Headers,
        table: &str,
        key: &[u8],
        now: Ps,
    ) -> bool {
        match &rule.by {
            By::Cookie { cookies, .. } => cookies
                .as_ref()
                .is_some_and(|cookies| cookies.holds(headers, table, key, now, rule.window)),
            By::SharedData => {
                let held = self.records.update(
                    sticky::record(self.secret, table, key),
                    |record| Ps::from_le_bytes(*record) > now,
                    |record| Step::Keep(record.is_some_and(|ends| Ps::from_le_bytes(ends) > now)),
                );
                // Where nobody can tell, the primary is never wrong.
                held.unwrap_or(true)
            }
        }
    }

    /// The write may have been carried out. With `answer` its response's headers are at hand. False when there was no
    /// room to remember it.
    pub fn happened(&mut self, write: &Write, now: Ps, answer: bool) -> bool {
        let Write { rules, table, key } = write;
        let mut good = true;
        for rule in rules.iter() {
            match &rule.by {
                By::Cookie { cookies, .. } => {
                    if let Some(cookies) = cookies
                        && answer
                    {
                        let cookie = cookies.issue(table, key, now, rule.window);
                        message::add_response_header("set-cookie", cookie.as_bytes());
                    }
                }
                By::SharedData => good &= self.remember(table, key, now, now + rule.window),
            }
        }
        good
    }

    fn remember(&mut self, table: &str, key: &[u8], now: Ps, ends: Ps) -> bool {
        let kept = self.records.update(
            sticky::record(self.secret, table, key),
            |record| Ps::from_le_bytes(*record) > now,
            |record| {
                let before = record.map_or(0, Ps::from_le_bytes);
                Step::Write(before.max(ends).to_le_bytes(), ())
            },
        );
        kept.is_ok()
    }
}
