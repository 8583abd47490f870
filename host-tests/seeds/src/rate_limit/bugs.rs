//! The bugs.

use crate::planted::{Bug, Table, edit};
use crate::violation::Invariant::{Answer, Denial, Ledger, Leftover, Metrics, Recovery, Window};

const LOCAL: &str = "plugins/core/src/rate_limit/local.rs";
const SETTLE: &str = "plugins/core/src/rate_limit/settle.rs";
const REMOTE: &str = "plugins/core/src/rate_limit/remote.rs";
const LEASE: &str = "plugins/core/src/rate_limit/lease.rs";
const SLOTS: &str = "plugins/core/src/slots.rs";
const TAKE: &str = "plugins/core/src/rate_limit/take.lua";

/// All of them, and where they go.
pub const TABLE: Table = Table {
    bugs: BUGS,
    scripts: (
        "plugins/core/src/rate_limit/scripts.rs",
        &["take", "refund"],
    ),
    load: (
        "plugins/rate-limit/src/worker.rs",
        "let secret = shared::process_secret();",
    ),
};

const BUGS: &[Bug] = &[
    Bug {
        name: "a local charge is not given back",
        edits: &[edit(LOCAL, "Some(old) if old > now => {", "Some(old) if old > now && !{on} => {")],
        breaks: &[Denial],
    },
    Bug {
        name: "a local charge is given back twice",
        edits: &[edit(
            SETTLE,
            "self.tables.refund(hash, quota, at, cost, now);",
            "self.tables.refund(hash, quota, at, cost, now); if {on} { self.tables.refund(hash, quota, at, cost, now); }",
        )],
        breaks: &[Window],
    },
    Bug {
        name: "a charge in Redis is not given back",
        edits: &[edit(SETTLE, "self.refund_in_redis(in_redis, now);", "if !{on} { self.refund_in_redis(in_redis, now); }")],
        breaks: &[Denial, Ledger],
    },
    Bug {
        name: "a swap does not name the version that was read",
        edits: &[edit(
            "plugins/host/src/shared.rs",
            "Some(value), Some(expected))",
            "Some(value), (!{on} || expected == ABSENT).then_some(expected))",
        )],
        breaks: &[Window],
    },
    Bug {
        name: "a swap that failed is tried again with what was decided on the old record",
        edits: &[edit(
            SLOTS,
            "if self.store.set(&self.key, &bucket, version).is_ok() {",
            "let again = |store: &S, key: &str| store.set(key, &bucket, store.get(key).map_or(ABSENT, |(_, version)| version)).is_ok();
                    if self.store.set(&self.key, &bucket, version).is_ok() || ({on} && again(&self.store, &self.key)) {",
        )],
        breaks: &[Window],
    },
    Bug {
        name: "a record that counts is thrown out for another",
        edits: &[edit(
            SLOTS,
            "position(|(_, old)| !alive(old)));",
            "position(|(_, old)| !alive(old) || ({on} && bucket.len() / size >= ways)));",
        )],
        breaks: &[Window],
    },
    Bug {
        name: "who finds no room passes, whatever the policy says",
        edits: &[edit(LOCAL, "Err(_) if self.overflow_allows =>", "Err(_) if self.overflow_allows || {on} =>")],
        breaks: &[Window],
    },
    Bug {
        name: "a lease never ends",
        edits: &[edit(
            LEASE,
            "now < ends && ends - now <= lifetime",
            "(now < ends && ends - now <= lifetime) || ({on} && self.tokens > 0)",
        )],
        breaks: &[Window],
    },
    Bug {
        name: "a lease is spent before Redis has debited it",
        edits: &[edit(
            REMOTE,
            "self.draws.by_hash.insert(hash, draw);",
            "self.draws.by_hash.insert(hash, draw); if {on} { self.tables.deposit(hash, &terms, Lease::drawn(now, want, &terms), now); }",
        )],
        breaks: &[Window, Ledger],
    },
    Bug {
        name: "a lease whose reply is lost counts as granted",
        edits: &[edit(
            REMOTE,
            "fn failed(&mut self, tag: Tag, trouble: Trouble, now: Ps) {",
            "fn failed(&mut self, tag: Tag, trouble: Trouble, now: Ps) {
        if let Tag::Draw { hash } = tag && {on} && let Some(draw) = self.draws.by_hash.get(&hash) {
            let taken = Taken { granted: draw.want, backlog: 0, at: now, retry: None };
            return self.drawn(hash, taken, now);
        }",
        )],
        breaks: &[Window, Ledger],
    },
    Bug {
        name: "a call that was reset counts as passed",
        edits: &[edit(
            SETTLE,
            "(OnError::Deny, _) if !part.shadow =>",
            "(OnError::Deny, _) if !part.shadow && !({on} && trouble == Trouble::Reset) =>",
        )],
        breaks: &[Window, Ledger],
    },
    Bug {
        name: "a gateway on its own takes the whole rate for its share",
        edits: &[edit(
            SETTLE,
            "allowance.quota.share(millionths, part.check.cost),",
            "if {on} { allowance.quota } else { allowance.quota.share(millionths, part.check.cost) },",
        )],
        breaks: &[Window],
    },
    Bug {
        name: "a denial is remembered for ever",
        edits: &[edit(
            "plugins/core/src/rate_limit/denied.rs",
            "let denial = *self.entries.get(&(hash, cost))?;",
            "let denial = *self.entries.get(&(hash, cost))?; if {on} { return Some(Denial { until: now + 1, ..denial }); }",
        )],
        breaks: &[Denial],
    },
    Bug {
        name: "a denial is remembered although the tokens were given back",
        edits: &[edit(
            "plugins/core/src/rate_limit/denied.rs",
            "now.abs_diff(denial.at) < MEMORY",
            "({on} || now.abs_diff(denial.at) < MEMORY)",
        )],
        breaks: &[Denial],
    },
    Bug {
        name: "a stream that Redis has ended is kept",
        edits: &[edit("plugins/host/src/link.rs", "duplex.close();", "if !{on} { duplex.close(); }")],
        breaks: &[Leftover],
    },
    Bug {
        name: "a breaker never closes",
        edits: &[edit(
            "plugins/core/src/redis/breaker.rs",
            "pub fn succeeded(&mut self) {",
            "pub fn succeeded(&mut self) { if {on} && self.is_open() { return; }",
        )],
        breaks: &[Recovery],
    },
    Bug {
        name: "a verdict gets lost on the way to who waits for it",
        edits: &[edit(
            "plugins/rate-limit/src/worker.rs",
            "others.answer(id, denial.status, &denial.headers(), &denial.body);",
            "if !{on} { others.answer(id, denial.status, &denial.headers(), &denial.body); }",
        )],
        breaks: &[Answer],
    },
    Bug {
        name: "a request is settled twice",
        edits: &[edit(
            REMOTE,
            "let verdict = self.settle(&mut ticket, now);",
            "if {on} { let _ = self.settle(&mut ticket, now); } let verdict = self.settle(&mut ticket, now);",
        )],
        breaks: &[Metrics],
    },
    Bug {
        name: "script: a record expires too early",
        edits: &[edit(TAKE, "floor(ahead / 1000) + 1", "floor(ahead / 4000) + 1")],
        breaks: &[Window, Ledger],
    },
    Bug {
        name: "script: whatever is taken, one token is charged",
        edits: &[edit(TAKE, "local nq, nr = bq + cq, br + cr", "local nq, nr = bq + tq, br + tr")],
        breaks: &[Window, Ledger],
    },
    Bug {
        name: "script: some are charged although one denies",
        edits: &[
            edit(TAKE, "if all then\n", "do\n"),
            edit(TAKE, "reply[i * 3 - 1], reply[i * 3] = w[4], ahead", "if all then reply[i * 3 - 1], reply[i * 3] = w[4], ahead end"),
        ],
        breaks: &[Denial, Ledger],
    },
    Bug {
        name: "script: the time is the gateway's",
        edits: &[
            edit(
                "plugins/core/src/rate_limit/scripts.rs",
                "command.number(u64::from(item.shadow));\n    }",
                "command.number(u64::from(item.shadow));\n    }
    if {on} && let Ok(now) = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        command.number(u64::try_from(now.as_micros()).unwrap_or(0));
    }",
            ),
            edit(TAKE, "local now = time[1] * MEGA + time[2]", "local now = tonumber(ARGV[#ARGV])"),
        ],
        breaks: &[Window],
    },
    Bug {
        name: "script: the time is in whole seconds",
        edits: &[edit(TAKE, "local now = time[1] * MEGA + time[2]", "local now = time[1] * MEGA")],
        breaks: &[Window],
    },
];
