//! What is counted is what happened; and when Redis is well again, no decision is made without it.

use super::history::{Fate, History};
use crate::rate_limit::run::Run;

/// Counters that do not say what happened.
#[must_use]
pub fn wrong(history: &History<'_>) -> Vec<String> {
    // A crash loses counts.
    if history.crashes > 0 {
        return Vec::new();
    }
    let limits = history.policy().limits.iter().enumerate();
    limits
        .filter_map(|(limit, rule)| {
            let under = |fate: Fate| {
                let entries = history.entries.iter().filter(|entry| entry.fate == fate);
                entries
                    .filter(|entry| entry.claims.iter().any(|claim| claim.limit == limit))
                    .count() as u64
            };
            let counted =
                |outcome: &str| history.counted(&format!("limit.{}.outcome.{outcome}", rule.name));
            let admitted = counted("allowed");
            let (least, most) = match rule.shadow {
                // One that it would have denied is counted as that.
                true => (0, under(Fate::Admitted) + under(Fate::Unknown)),
                false => (
                    under(Fate::Admitted),
                    under(Fate::Admitted) + under(Fate::Unknown),
                ),
            };
            outside(admitted, least, most).map(|text| format!("{} counts {text}", rule.name))
        })
        .collect()
}

fn outside(counted: u64, least: u64, most: u64) -> Option<String> {
    let inside = (least..=most).contains(&counted);
    (!inside).then(|| format!("{counted} admitted requests, and {least} to {most} were"))
}

/// Decisions that were made without Redis although it was well again.
#[must_use]
pub fn unrecovered(run: &Run) -> Vec<String> {
    let Some(before) = &run.recovered else {
        return Vec::new();
    };
    let count = |metrics: &[std::collections::BTreeMap<String, u64>]| {
        let all = metrics.iter().flatten();
        all.filter(|(name, _)| name.ends_with(".degraded"))
            .map(|(_, count)| count)
            .sum()
    };
    gained(count(before), count(&run.metrics))
        .into_iter()
        .collect()
}

fn gained(before: u64, after: u64) -> Option<String> {
    (after > before).then(|| {
        format!(
            "{} decisions were made without Redis after it was well again",
            after - before
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_between_what_is_known_and_what_may_be() {
        assert_eq!(outside(3, 3, 4), None);
        assert!(outside(2, 3, 4).is_some());
        assert!(outside(5, 3, 4).is_some());
    }

    #[test]
    fn decisions_without_redis_are_found() {
        assert_eq!(gained(3, 3), None);
        assert!(gained(3, 4).is_some());
    }
}
