//! What gateways that share flights leave in Redis.

use super::history::History;
use std::collections::BTreeSet;

/// What an answer has beside its body, at most.
const HEAD: usize = 2 << 10;
/// Nothing is kept for longer, in milliseconds.
const LONGEST: i64 = 30 * 86_400_000;

/// Records that should not be there, or not for so long, or are too large.
#[must_use]
pub fn kept(history: &History<'_>) -> Vec<String> {
    let (run, policy) = (history.run, history.policy);
    let Some(fleet) = &policy.fleet else {
        return Vec::new();
    };
    let prefix = format!("{}:flight:", fleet.prefix);
    let bodies = (0..2).filter_map(|route| policy.fleet_body(route));
    let longest = bodies.max().unwrap_or(0) + HEAD;
    // Who leads when all is over has not told Redis that it does not.
    let over = run.case.redis_is_well() && !run.case.crashes();
    let mut found = Vec::new();
    for record in &run.records {
        let name = &record.name;
        if !name.starts_with(&prefix) || record.database != fleet.database {
            found.push(format!("Redis has {name} in {}", record.database));
        }
        if record.expires.is_none_or(|left| left > LONGEST) {
            found.push(format!("{name} goes in {:?} ms", record.expires));
        }
        if record.answer > longest {
            let length = record.answer;
            found.push(format!("{name} has {length} bytes, and may have {longest}"));
        }
        if record.led && over {
            found.push(format!("{name} is led by somebody who has gone"));
        }
    }
    let asked: BTreeSet<_> = run
        .sent
        .iter()
        .map(|sent| (sent.uri(policy), sent.user, sent.language))
        .collect();
    // One for what is asked for, and one for its variant.
    let most = 2 * asked.len();
    if run.records.len() > most {
        let count = run.records.len();
        found.push(format!("Redis has {count} keys, and may have {most}"));
    }
    found
}
