//! The bugs.

use crate::planted::{Bug, Table, edit};
use crate::violation::Invariant::{
    Answer, Crash, Fresh, Herd, Ledger, Leftover, Metrics, Share, Wait,
};

/// All of them, and where they go.
pub const TABLE: Table = Table {
    bugs: BUGS,
    scripts: ("", &[]),
    load: (
        "plugins/coalesce/src/worker.rs",
        "let mut policy = Coalesce::load(configuration)",
    ),
};

const ADMISSION: &str = "plugins/core/src/cache/admission.rs";
const JUDGE: &str = "plugins/core/src/cache/judge.rs";
const TERMS: &str = "plugins/core/src/cache/terms.rs";
const MACHINE: &str = "plugins/core/src/flight/machine/mod.rs";
const FIELDS: &str = "plugins/core/src/cache/fields.rs";
const TABLE_RS: &str = "plugins/core/src/flight/table.rs";
const BUS: &str = "plugins/core/src/flight/bus.rs";
const ARRIVE: &str = "plugins/core/src/flight/machine/arrive.rs";
const BODY: &str = "plugins/core/src/flight/machine/body.rs";
const DECIDE: &str = "plugins/core/src/flight/machine/decide.rs";
const HEAD: &str = "plugins/core/src/flight/machine/head.rs";
const TRIP: &str = "plugins/core/src/flight/machine/trip.rs";
const FLEET: &str = "plugins/core/src/flight/machine/fleet.rs";
const HELD: &str = "plugins/core/src/flight/machine/fleet/held.rs";
const TOLD: &str = "plugins/core/src/flight/machine/fleet/told.rs";
const WAKE: &str = "plugins/core/src/flight/machine/wake.rs";

const BUGS: &[Bug] = &[
    Bug {
        name: "an answer to somebody's authorization is stored for all",
        edits: &[edit(
            JUDGE,
            "if lookup.authorized && !(rule.authorization",
            "if !{on} && lookup.authorized && !(rule.authorization",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "whose authorization it is does not matter to the policy",
        edits: &[edit(
            ADMISSION,
            "if has(\"authorization\") && !rule.authorization {",
            "if has(\"authorization\") && !rule.authorization && !{on} {",
        )],
        breaks: &[Share, Metrics],
    },
    Bug {
        name: "a cookie that is set is shared",
        edits: &[edit(
            JUDGE,
            "if head.fields.first(\"set-cookie\").is_some() {",
            "if !{on} && head.fields.first(\"set-cookie\").is_some() {",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "private answers are shared",
        edits: &[edit(
            JUDGE,
            "if directives.private {",
            "if directives.private && !{on} {",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "sessions are shared",
        edits: &[edit(
            ADMISSION,
            "if !cookies_change_nothing(request, rule) {",
            "if !{on} && !cookies_change_nothing(request, rule) {",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "what an answer varies by is ignored",
        edits: &[edit(
            JUDGE,
            "let vary = vary::names(&head.fields).ok_or(Reason::Vary)?;",
            "let vary = if {on} { Vec::new() } else { vary::names(&head.fields).ok_or(Reason::Vary)? };",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "the key leaves out whose answer it is",
        edits: &[edit(
            ARRIVE,
            "key.extend_from_slice(&identity);",
            "if !{on} { key.extend_from_slice(&identity); }",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "an answer that broke off is stored",
        edits: &[edit(
            BODY,
            "                trip.capture = None;
                if trip.flight.is_none() {",
            "                if {on} { self.complete(&ask, &mut trip, now); }
                trip.capture = None;
                if trip.flight.is_none() {",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "a body is stored as far as there is room",
        edits: &[edit(
            BODY,
            "            if !room || capture.body.len() + piece.len() > most {",
            "            if {on} && capture.body.len() + piece.len() > most {
            } else if !room || capture.body.len() + piece.len() > most {",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "what HEAD got answers GET",
        edits: &[edit(
            HEAD,
            "if !ask.lookup.head || trip.flight.is_some() {",
            "if {on} || !ask.lookup.head || trip.flight.is_some() {",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "failures are shared",
        edits: &[edit(
            JUDGE,
            "if is_server_error(head.status) && !(rule.server_errors",
            "if !{on} && is_server_error(head.status) && !(rule.server_errors",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "who wants it new gets what is stored",
        edits: &[edit(
            ADMISSION,
            "stored: !newest,",
            "stored: !newest || {on},",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "what must be revalidated is served stale",
        edits: &[
            edit(
                JUDGE,
                "        if no_stale {",
                "        if no_stale && !{on} {",
            ),
            edit(
                TERMS,
                ".filter(|_| !self.no_stale)",
                ".filter(|_| !self.no_stale || {on})",
            ),
        ],
        breaks: &[Fresh],
    },
    Bug {
        name: "what is changed is still served",
        edits: &[edit(
            HEAD,
            "        for target in targets {",
            "        if {on} { return; }
        for target in targets {",
        )],
        breaks: &[Fresh],
    },
    Bug {
        name: "stored answers do not say how old they are",
        edits: &[edit(
            FIELDS,
            "fields.push((b\"age\".to_vec(), age.to_string().into_bytes()));",
            "fields.push((b\"age\".to_vec(), if {on} { b\"0\".to_vec() } else { age.to_string().into_bytes() }));",
        )],
        breaks: &[Fresh],
    },
    Bug {
        name: "nobody waits for another",
        edits: &[edit(
            DECIDE,
            "Begun::Follow { .. } if self.may_wait(ask, found.hash) => {",
            "Begun::Follow { .. } if !{on} && self.may_wait(ask, found.hash) => {",
        )],
        breaks: &[Herd],
    },
    Bug {
        name: "other workers are not woken",
        edits: &[edit(
            BUS,
            "                self.posts.post(self.token, bytes);
            } else if let Some((place, _))",
            "                self.posts.post(self.token, bytes);
            } else if !{on} && let Some((place, _))",
        )],
        breaks: &[Wait],
    },
    Bug {
        name: "a leader who leaves tells nobody",
        edits: &[edit(
            BODY,
            "self.finish(&mut trip, End::Abandoned, now);",
            "if !{on} { self.finish(&mut trip, End::Abandoned, now); }",
        )],
        breaks: &[Wait],
    },
    Bug {
        name: "answers that are not shared are waited for one by one",
        edits: &[
            edit(
                TABLE_RS,
                "End::Unshared { until } => (Kind::HitForMiss, until),",
                "End::Unshared { .. } if {on} => (Kind::Vacant { next: 1 }, 0),
                End::Unshared { until } => (Kind::HitForMiss, until),",
            ),
            edit(
                TRIP,
                "End::Unshared { .. } => Outcome::Unshared,",
                "End::Unshared { .. } => if {on} { Outcome::Again } else { Outcome::Unshared },",
            ),
        ],
        breaks: &[Wait],
    },
    Bug {
        name: "a lease never ends",
        edits: &[edit(
            TABLE_RS,
            "now.saturating_add(self.lease.max(1)).min(last)",
            "if {on} { now + 3_600_000 } else { now.saturating_add(self.lease.max(1)).min(last) }",
        )],
        breaks: &[Leftover],
    },
    Bug {
        name: "waiting has no end",
        edits: &[edit(
            WAKE,
            "if waiting.deadline <= now =>",
            "if waiting.deadline <= now && !{on} =>",
        )],
        breaks: &[Answer],
    },
    Bug {
        name: "who no longer waits is counted still",
        edits: &[edit(
            WAKE,
            "self.waiting = self.waiting.saturating_sub(before - group.streams.len());",
            "if !{on} { self.waiting = self.waiting.saturating_sub(before - group.streams.len()); }",
        )],
        breaks: &[Leftover],
    },
    Bug {
        name: "what was asked before an invalidation takes the place of what was asked after",
        edits: &[edit(
            BODY,
            "if self.is_void(ask, trip) ||",
            "if !{on} && self.is_void(ask, trip) || !{on} &&",
        )],
        breaks: &[Herd],
    },
    Bug {
        name: "a clock that goes back is not noticed",
        edits: &[edit(
            MACHINE,
            "        if back == 0 {",
            "        if back == 0 || {on} {",
        )],
        breaks: &[Fresh, Answer],
    },
    Bug {
        name: "who may not have what is stored revalidates it",
        edits: &[edit(
            DECIDE,
            "Hit::Never => Use::Never,",
            "Hit::Never => if {on} { Use::Nothing } else { Use::Never },",
        )],
        breaks: &[Share],
    },
    Bug {
        name: "all who wait are let go at once",
        edits: &[edit(
            MACHINE,
            "let count = self.released.len().min(MOST_AT_ONCE);",
            "let count = if {on} { self.released.len() } else { self.released.len().min(MOST_AT_ONCE) };",
        )],
        breaks: &[Crash],
    },
    Bug {
        name: "a stored answer is counted twice",
        edits: &[edit(
            DECIDE,
            "self.count(Event::Hit);",
            "self.count(Event::Hit); if {on} { self.count(Event::Hit); }",
        )],
        breaks: &[Metrics],
    },
    Bug {
        name: "another gateway's answer is taken for newer than it is",
        edits: &[edit(
            TOLD,
            "let requested_at = sent.saturating_sub(age);",
            "let requested_at = sent.saturating_sub(if {on} { age.min(500) } else { age });",
        )],
        breaks: &[Fresh],
    },
    Bug {
        name: "what is changed here is taken from another gateway as it was",
        edits: &[
            edit(
                FLEET,
                "            self.shelf.voids.at(ask.name.uri),",
                "            if {on} { 0 } else { self.shelf.voids.at(ask.name.uri) },",
            ),
            edit(
                TOLD,
                "        trip.requested_at = entry.requested_at;",
                "        if {on} { entry.requested_at = now + 1; }
        trip.requested_at = entry.requested_at;",
            ),
        ],
        breaks: &[Fresh],
    },
    Bug {
        name: "another gateway that leads and vanishes is waited for",
        edits: &[
            edit(
                FLEET,
                "            lease: self.times(ask).lease,",
                "            lease: if {on} { 3_600_000 } else { self.times(ask).lease },",
            ),
            edit(
                HELD,
                "Act::Renew { lease });",
                "Act::Renew { lease: if {on} { 3_600_000 } else { lease } });",
            ),
        ],
        breaks: &[Leftover],
    },
    Bug {
        name: "what an answer varies by is not told to other gateways",
        edits: &[
            edit(
                HELD,
                "let to = if vary.is_empty() {",
                "let to = if {on} || vary.is_empty() {",
            ),
            edit(
                HELD,
                "fleet::encode(entry, vary)",
                "fleet::encode(entry, if {on} { &[] } else { vary })",
            ),
        ],
        breaks: &[Share],
    },
    Bug {
        name: "nobody waits for another gateway",
        edits: &[edit(
            TOLD,
            "if asks.deadline <= now {",
            "if {on} || asks.deadline <= now {",
        )],
        breaks: &[Herd],
    },
    Bug {
        name: "answers stay in Redis long after they are of any use",
        edits: &[edit(
            HELD,
            "let keep = until.saturating_sub(now).min(LONGEST);",
            "let keep = if {on} { 10 * LONGEST } else { until.saturating_sub(now).min(LONGEST) };",
        )],
        breaks: &[Ledger],
    },
];
