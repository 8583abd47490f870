//! What is left when all clients are gone, and how much memory it took.

use crate::rate_limit::faults::Event;
use crate::rate_limit::policy::Policy;
use crate::rate_limit::run::Run;
use crate::world::WorkerEnd;

/// Streams and callouts, of which there should be none.
#[must_use]
pub fn left(run: &Run) -> Vec<String> {
    let mut found = Vec::new();
    if !run.quiet {
        found.push("something is still under way".to_owned());
    }
    // The stream to Redis stays open. That of a root context which was replaced is a gateway's to end, and the emulator
    // does not do it yet.
    let streams = usize::from(run.case.policy.stream && run.case.policy.uses_redis());
    let reloads = |of: usize| {
        let timed = run.case.faults.timed.iter();
        timed
            .filter(|(_, event)| matches!(event, Event::Reload { gateway } if *gateway == of))
            .count()
    };
    let left = |worker: &WorkerEnd| worker.left(streams * (1 + reloads(worker.gateway)));
    found.extend(run.workers.iter().filter_map(left));
    found
}

/// Memory of VMs and shared data beyond what the policy needs.
#[must_use]
pub fn memory(run: &Run) -> Vec<String> {
    let most = shared_bound(&run.case.policy);
    let shared = run
        .shared
        .iter()
        .enumerate()
        .filter(|(_, bytes)| **bytes > most);
    let mut found: Vec<String> = shared
        .map(|(gateway, bytes)| {
            format!("g{gateway} has {bytes} bytes of shared data, and may have {most}")
        })
        .collect();
    let growth = vm_bound(&run.case.policy);
    found.extend(run.workers.iter().filter_map(|worker| worker.grown(growth)));
    let limits = run.case.policy.limits.len();
    let subjects: std::collections::BTreeSet<_> = run
        .exchanges
        .iter()
        .flat_map(|exchange| {
            exchange
                .request
                .headers
                .iter()
                .map(|(_, value)| value.to_vec())
        })
        .collect();
    let keys = (subjects.len() + 1) * limits;
    if run.records.len() > keys {
        found.push(format!(
            "Redis has {} keys, and may have {keys}",
            run.records.len()
        ));
    }
    found
}

/// Bytes of shared data at most: two tables, full, the names of their buckets, and the secret.
#[must_use]
pub fn shared_bound(policy: &Policy) -> usize {
    const WAYS: usize = 8;
    const ENTRY: usize = 24;
    const NAME: usize = 48;
    let entries = usize::try_from(policy.entries).unwrap_or(usize::MAX);
    let buckets = entries.div_ceil(WAYS).next_power_of_two();
    2 * buckets * (WAYS * ENTRY + NAME) + 64
}

/// Bytes that a VM may grow by: the copies of buckets, the denials that it remembers, the commands that may wait, and
/// as much again for what is freed and not yet used.
#[must_use]
pub fn vm_bound(policy: &Policy) -> usize {
    const COPIES: usize = 256 * 256;
    const DENIALS: usize = 4096 * 96;
    const COMMAND: usize = 4096;
    let commands = usize::try_from(policy.max_commands)
        .unwrap_or(usize::MAX)
        .min(256)
        * COMMAND;
    2 * (COPIES + DENIALS + commands)
}

/// VMs that crashed, though nothing was to make them.
#[must_use]
pub fn crashes(run: &Run) -> Vec<String> {
    let crashed = crate::faults::crashed(run.crashes, &run.case.faults.timed);
    crashed.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::Case;

    fn run() -> Run {
        let mut case = Case::draw(1);
        case.load.sent.truncate(3);
        case.faults.timed.clear();
        crate::rate_limit::run::run(&crate::modules::built("rate-limit"), case, None)
    }

    #[test]
    fn what_is_left_is_found() {
        let mut run = run();
        assert_eq!(left(&run), [""; 0]);
        run.workers[0].under_way = 2;
        assert_eq!(left(&run).len(), 1);
        run.quiet = false;
        assert_eq!(left(&run).len(), 2);
    }

    #[test]
    fn memory_beyond_its_bound_is_found() {
        let mut run = run();
        assert_eq!(memory(&run), [""; 0]);
        run.shared[0] = shared_bound(&run.case.policy) + 1;
        assert_eq!(memory(&run).len(), 1);
        run.workers[0].memory.1 = run.workers[0].memory.0 + vm_bound(&run.case.policy) + 1;
        assert_eq!(memory(&run).len(), 2);
        run.exchanges.clear();
        let record = crate::rate_limit::run::Record {
            key: String::new(),
            value: String::new(),
            expires: true,
        };
        run.records = vec![record; 9];
        assert_eq!(memory(&run).len(), 3);
    }

    #[test]
    fn a_crash_that_nobody_made_is_found() {
        let mut run = run();
        assert_eq!(crashes(&run), [""; 0]);
        run.crashes = 1;
        assert_eq!(crashes(&run).len(), 1);
    }
}
