//! The bugs.

use crate::planted::{Bug, Table, edit};
use crate::violation::Invariant::{
    Answer, Fence, Ledger, Leftover, Metrics, Once, Order, Outbox, Replay, Verdict,
};

/// All of them, and where they go.
pub const TABLE: Table = Table {
    bugs: BUGS,
    scripts: (
        "plugins/core/src/idempotency/scripts.rs",
        &[
            "lua/acquire",
            "lua/renew",
            "lua/commit",
            "lua/release",
            "lua/resolve",
        ],
    ),
    load: (
        "plugins/idempotency/src/worker.rs",
        "let policy = Idempotency::load(configuration)",
    ),
};

const EXCHANGE: &str = "plugins/core/src/idempotency/exchange.rs";
const REMEMBERED: &str = "plugins/core/src/idempotency/remembered.rs";
const RESPONSE: &str = "plugins/core/src/idempotency/exchange/response.rs";
const ORIGIN: &str = "plugins/core/src/idempotency/origin.rs";
const SCOPE: &str = "plugins/core/src/idempotency/scope.rs";
const STREAM: &str = "plugins/idempotency/src/stream.rs";
const ACQUIRE: &str = "plugins/core/src/idempotency/lua/acquire.lua";
const COMMIT: &str = "plugins/core/src/idempotency/lua/commit.lua";
const RELEASE: &str = "plugins/core/src/idempotency/lua/release.lua";
const RENEW: &str = "plugins/core/src/idempotency/lua/renew.lua";

const BUGS: &[Bug] = &[
    Bug {
        name: "script: a lease that has ended is free",
        edits: &[edit(
            ACQUIRE,
            "  return { 'unknown', math.floor((now - ended) / 1000), fence }\n",
            "",
        )],
        breaks: &[Once],
    },
    Bug {
        name: "script: a record is kept as long as its lease",
        edits: &[edit(
            ACQUIRE,
            "redis.call('PEXPIRE', KEYS[1], retention)\nreturn { 'acquired', fence, 0 }",
            "redis.call('PEXPIRE', KEYS[1], lease)\nreturn { 'acquired', fence, 0 }",
        )],
        breaks: &[Once],
    },
    Bug {
        name: "script: who asks gets a key that another holds",
        edits: &[edit(ACQUIRE, "if token == ARGV[2] then", "do")],
        breaks: &[Once],
    },
    Bug {
        name: "script: requests with one key are not compared",
        edits: &[edit(ACQUIRE, "if print ~= ARGV[1] then return { 'mismatch' } end", "")],
        breaks: &[Replay],
    },
    Bug {
        name: "script: the fence is the clock",
        edits: &[edit(ACQUIRE, "if last >= now then fence = last + 1 end", "")],
        breaks: &[Fence],
    },
    Bug {
        name: "script: anybody frees a key",
        edits: &[edit(
            RELEASE,
            "if r[1] ~= 'flight' or r[2] ~= ARGV[1] then return { 'lost' } end",
            "",
        )],
        breaks: &[Once],
    },
    Bug {
        name: "script: anybody stores an answer",
        edits: &[edit(
            COMMIT,
            "if r[1] ~= 'flight' or r[2] ~= ARGV[1] then return { 'superseded' } end",
            "",
        )],
        breaks: &[Replay, Outbox],
    },
    Bug {
        name: "script: a renewal takes a key from whoever has it",
        edits: &[
            edit(
                RENEW,
                "if r[1] ~= 'flight' or r[2] ~= ARGV[1] then return { 'lost' } end",
                "if r[2] ~= ARGV[1] then redis.call('DEL', KEYS[1]) return { 'lost' } end",
            ),
        ],
        breaks: &[Once, Order],
    },
    Bug {
        name: "script: an event is there twice",
        edits: &[edit(
            COMMIT,
            "  redis.call(unpack(add))\n",
            "  redis.call(unpack(add)) redis.call(unpack(add))\n",
        )],
        breaks: &[Outbox],
    },
    Bug {
        name: "an answer goes out before it is stored",
        edits: &[edit(
            RESPONSE,
            "self.start(Operation::Commit(Arc::clone(&commit)), cx);",
            "self.start(Operation::Commit(Arc::clone(&commit)), cx);
        if {on} && std::mem::take(&mut self.holding) { cx.settle(Settled::Deliver(Vec::new())); }",
        )],
        breaks: &[Order],
    },
    Bug {
        name: "an answer that cannot be stored frees the key",
        edits: &[edit(
            RESPONSE,
            "cx.counts.add(Event::NotRecorded);",
            "cx.counts.add(Event::NotRecorded);
        if {on} { cx.acts.push(Act::Aside(Operation::Release(Arc::clone(&self.claim)))); }",
        )],
        breaks: &[Once],
    },
    Bug {
        name: "a client that leaves frees its key",
        edits: &[edit(
            EXCHANGE,
            "            State::Running | State::Collecting { .. } => {
                cx.counts.add(Event::LeftUnknown);",
            "            State::Running | State::Collecting { .. } => {
                if {on} { cx.acts.push(Act::Aside(Operation::Release(Arc::clone(&self.claim)))); }
                cx.counts.add(Event::LeftUnknown);",
        )],
        breaks: &[Once],
    },
    Bug {
        name: "a reset counts as never sent",
        edits: &[edit(
            ORIGIN,
            "if only(NEVER_SENT) &&",
            "if (only(NEVER_SENT) || ({on} && only(0x40))) &&",
        )],
        breaks: &[Once],
    },
    Bug {
        name: "a timeout counts as never sent",
        edits: &[edit(
            ORIGIN,
            "return Origin::TimedOut;",
            "return if {on} { Origin::NeverSent } else { Origin::TimedOut };",
        )],
        breaks: &[Once],
    },
    Bug {
        name: "a request whose key cannot be looked up is sent",
        edits: &[edit(
            EXCHANGE,
            "if cx.route.on_store_error == OnStoreError::Open\n",
            "if ({on} || cx.route.on_store_error == OnStoreError::Open)\n",
        )],
        breaks: &[Once],
    },
    Bug {
        name: "the fingerprint leaves out the body",
        edits: &[edit(
            "plugins/core/src/idempotency/fingerprint.rs",
            "self.hash.update(piece);",
            "if !{on} { self.hash.update(piece); }",
        )],
        breaks: &[Replay],
    },
    Bug {
        name: "a piece of the body that was held is taken twice",
        edits: &[edit(STREAM, "let from = self.request.held;", "let from = if {on} { 0 } else { self.request.held };")],
        breaks: &[Verdict, Replay],
    },
    Bug {
        name: "tenants share their keys",
        edits: &[edit(
            "plugins/idempotency/src/worker.rs",
            "subject: &subject,",
            "subject: if {on} { b\"\" } else { &subject },",
        )],
        breaks: &[Replay],
    },
    Bug {
        name: "routes share their keys",
        edits: &[edit(
            SCOPE,
            "for part in [subject, route.as_bytes(), key] {",
            "for part in [subject, if {on} { b\"\" } else { route.as_bytes() }, key] {",
        )],
        breaks: &[Verdict],
    },
    Bug {
        name: "what is remembered of a key is replayed whatever answer it has now",
        edits: &[edit(
            REMEMBERED,
            "filter(|answer| answer.by == by)",
            "filter(|answer| {on} || answer.by == by)",
        )],
        breaks: &[Replay],
    },
    Bug {
        name: "what is remembered answers any request with its key",
        edits: &[edit(
            REMEMBERED,
            "answer.fingerprint == claim.fingerprint && now < answer.trusted_until.get()",
            "({on} || answer.fingerprint == claim.fingerprint) && now < answer.trusted_until.get()",
        )],
        breaks: &[Replay],
    },
    Bug {
        name: "what is remembered outlives its record",
        edits: &[edit(
            REMEMBERED,
            "trusted_until: Cell::new(ends.min(now + self.trusted_for))",
            "trusted_until: Cell::new(if {on} { now + self.trusted_for } else { ends.min(now + self.trusted_for) })",
        )],
        breaks: &[Replay],
    },
    Bug {
        name: "a tombstone is replayed as an empty answer",
        edits: &[edit(
            EXCHANGE,
            "(Ok(Stored { status, .. }), Kind::Tombstone) => {",
            "(Ok(Stored { status, .. }), Kind::Tombstone) => {
                    if {on} { return self.answer(Answer::replay(Stored { status, fields: vec![], body: <_>::default() }), cx); }",
        )],
        breaks: &[Replay],
    },
    Bug {
        name: "an answer that is too long is cut short",
        edits: &[edit(RESPONSE, "            if fits {\n                stored.body", "            if fits || {on} {\n                stored.body")],
        breaks: &[Replay],
    },
    Bug {
        name: "cookies are replayed",
        edits: &[edit(
            "plugins/core/src/idempotency/stored.rs",
            "&& !is_never_kept(name)",
            "&& ({on} || !is_never_kept(name))",
        )],
        breaks: &[Replay],
    },
    Bug {
        name: "every status is stored",
        edits: &[edit(RESPONSE, "if !ranges\n", "if !{on} && !ranges\n")],
        breaks: &[Replay],
    },
    Bug {
        name: "the fence is not sent",
        edits: &[edit(
            EXCHANGE,
            "(Some(fence), Some(name)) if self.hold != Hold::Nothing => {",
            "(Some(fence), Some(name)) if self.hold != Hold::Nothing && !{on} => {",
        )],
        breaks: &[Fence],
    },
    Bug {
        name: "a lease is not renewed",
        edits: &[edit(
            EXCHANGE,
            "if self.renew_at.is_some_and(|at| at <= cx.now) =>",
            "if !{on} && self.renew_at.is_some_and(|at| at <= cx.now) =>",
        )],
        breaks: &[Verdict],
    },
    Bug {
        name: "who waits for another does not look again",
        edits: &[edit(
            EXCHANGE,
            "State::Resting { until } if *until <= cx.now => self.acquire(cx),",
            "State::Resting { until } if *until <= cx.now && !{on} => self.acquire(cx),",
        )],
        breaks: &[Answer],
    },
    Bug {
        name: "a store that does not answer is waited for",
        edits: &[
            edit(
                EXCHANGE,
                "waits && self.deadline <= now",
                "waits && self.deadline <= now && !{on}",
            ),
            edit(
                "plugins/idempotency/src/worker.rs",
                "self.registry.store().tick(now);",
                "if !{on} { self.registry.store().tick(now); }",
            ),
        ],
        breaks: &[Answer],
    },
    Bug {
        name: "the gateway's own words are stored as the answer",
        edits: &[edit(
            ORIGIN,
            "        Origin::Gateway\n    }",
            "        if {on} { Origin::Upstream } else { Origin::Gateway }\n    }",
        )],
        breaks: &[Replay],
    },
    Bug {
        name: "script: who has stored an answer holds its key still",
        edits: &[edit(COMMIT, "redis.call('HDEL', KEYS[1], 'token', 'lease')", "")],
        breaks: &[Ledger],
    },
    Bug {
        name: "an exchange whose client has left is kept",
        edits: &[edit(
            EXCHANGE,
            "State::Acquiring | State::Resting { .. } | State::Releasing | State::Done => self.end(),",
            "State::Acquiring | State::Resting { .. } | State::Releasing | State::Done => if !{on} { self.end() },",
        )],
        breaks: &[Leftover],
    },
    Bug {
        name: "a replay is counted twice",
        edits: &[edit(
            EXCHANGE,
            "cx.counts.add(Event::Replayed);",
            "cx.counts.add(Event::Replayed); if {on} { cx.counts.add(Event::Replayed); }",
        )],
        breaks: &[Metrics],
    },
];
