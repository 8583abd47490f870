//! What Redis holds in the end: no less than what was admitted, and, where nothing failed, no more. A request that was
//! denied is charged nowhere.

use super::denials::{Charge, fullest};
use super::history::{Entry, Fate, History, Ps};
use crate::rate_limit::policy::{Bucket, Claim, Mode, OnError, PS_PER_MS};
use crate::rate_limit::run::Record;
use sluice_core::rate_limit::scripts;

/// Of a charge that is given back, so much may stay: what time had given back already.
const REFUND: Ps = 25 * PS_PER_MS;

/// What is wrong with the records.
#[must_use]
pub fn wrong(history: &History<'_>, records: &[Record]) -> Vec<String> {
    let mut found: Vec<String> = records
        .iter()
        .filter(|record| !record.expires)
        .map(|record| format!("{} never expires", record.key))
        .collect();
    for (limit, rule) in history.policy().limits.iter().enumerate() {
        if rule.mode == Mode::Local || history.jumped() > 0 {
            continue;
        }
        for (subject, claims) in history.by_subject(limit) {
            let key = key(
                subject,
                &rule.name,
                rule.key == crate::rate_limit::policy::Key::Everyone,
            );
            let record = records.iter().find(|record| record.key == key);
            let full = match record.map(|record| parse(&record.value)) {
                None => 0,
                Some(Some(full)) => full,
                Some(None) => {
                    found.push(format!(
                        "{key} holds {:?}",
                        record.map(|record| &record.value)
                    ));
                    continue;
                }
            };
            let Some((bucket, lease)) = claims
                .first()
                .and_then(|(_, claim)| Some((claim.bucket?, claim.lease)))
            else {
                continue;
            };
            if let Some(text) = too_little(history, limit, &claims, bucket, lease, full) {
                found.push(format!("{} of {subject}: {text}", rule.name));
            }
            if let Some(text) = too_much(history, limit, &claims, bucket, full) {
                found.push(format!("{} of {subject}: {text}", rule.name));
            }
        }
    }
    found
}

fn key(subject: &str, limit: &str, everyone: bool) -> String {
    // Each part of a key stands behind its length. A constant is a part like any other.
    let text = if everyone { "all" } else { subject };
    let mut parts = u32::try_from(text.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    parts.extend_from_slice(text.as_bytes());
    String::from_utf8_lossy(&scripts::key("sluice", &scripts::digest(&parts), limit)).into_owned()
}

/// When the bucket is full again, as a record says it: microseconds and picoseconds.
#[must_use]
pub fn parse(value: &str) -> Option<Ps> {
    let (micros, picos) = value.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(micros) || !digits(picos) || picos.len() != 6 {
        return None;
    }
    Some(micros.parse::<Ps>().ok()? * 1_000_000 + picos.parse::<Ps>().ok()?)
}

/// Whether something was admitted without a charge.
fn too_little(
    history: &History<'_>,
    limit: usize,
    claims: &[(&Entry, &Claim)],
    bucket: Bucket,
    lease: u64,
    full: Ps,
) -> Option<String> {
    let policy = history.policy();
    let without_redis = policy.on_error != OnError::Deny && history.degraded(limit) != Some(0);
    if policy.limits[limit].shadow || without_redis || !history.losses().is_empty() {
        return None;
    }
    // As early as possible: a token of a lease was charged at most one life of a lease before.
    let lifetime = bucket.interval() * u128::from(lease);
    let mut charges: Vec<Charge> = claims
        .iter()
        .filter(|(entry, _)| entry.fate == Fate::Admitted)
        .map(|(entry, claim)| Charge {
            latest: entry.earliest.saturating_sub(lifetime),
            time: bucket.interval() * u128::from(claim.cost),
        })
        .collect();
    let least = fullest(&mut charges);
    // A record that ends within the last microseconds may have expired by the time of Redis's last command.
    (least > history.end && full < least).then(|| {
        format!(
            "Redis holds {} us less than what was admitted",
            (least - full.max(history.end)) / 1_000_000
        )
    })
}

/// Whether something was charged and not admitted.
fn too_much(
    history: &History<'_>,
    limit: usize,
    claims: &[(&Entry, &Claim)],
    bucket: Bucket,
    full: Ps,
) -> Option<String> {
    let rule = &history.policy().limits[limit];
    let failed = !history.case.faults.none() || history.degraded(limit) != Some(0);
    if failed || rule.mode == Mode::Leased {
        return None;
    }
    let interval = bucket.interval();
    let mut given_back = 0;
    let mut charges = Vec::new();
    for (entry, claim) in claims {
        match entry.fate {
            Fate::Denied | Fate::Refused => {
                given_back += REFUND.min(interval * u128::from(claim.cost))
            }
            Fate::Admitted | Fate::Unknown => charges.push(Charge {
                latest: entry.latest,
                time: interval * u128::from(claim.cost),
            }),
        }
    }
    let most = fullest(&mut charges) + given_back;
    // Of a record that has expired nothing is known.
    (full > history.end && full > most.max(history.end)).then(|| {
        format!(
            "Redis holds {} us more than what was admitted",
            (full - most.max(history.end)) / 1_000_000
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::Case;
    use crate::rate_limit::policy::{Cost, Key, Limit, Policy};
    use std::collections::BTreeMap;

    fn case() -> Case {
        let mut case = Case::draw(0);
        case.faults.timed.clear();
        case.faults.leavers = false;
        case.faults.slow = false;
        case.faults.callouts = Default::default();
        case.faults.streams = Default::default();
        let limit = Limit {
            name: "a".into(),
            key: Key::Everyone,
            mode: Mode::Strict,
            bucket: Bucket {
                limit: 1,
                period_ms: 1000,
                burst: 5,
            },
            lease: 0,
            cost: Cost::Constant(1),
            shadow: false,
            posts_only: false,
            exceptions: Vec::new(),
        };
        case.policy = Policy {
            limits: vec![limit],
            on_error: OnError::Deny,
            ..case.policy
        };
        case
    }

    fn history<'a>(
        case: &'a Case,
        metrics: &'a [BTreeMap<String, u64>],
        fates: &[Fate],
    ) -> History<'a> {
        let entries = fates.iter().enumerate().map(|(place, fate)| Entry {
            place,
            gateway: 0,
            claims: case
                .policy
                .claims(&crate::rate_limit::policy::Facts::default()),
            fate: *fate,
            earliest: 1000 * PS_PER_MS,
            latest: 1001 * PS_PER_MS,
        });
        History {
            case,
            entries: entries.collect(),
            metrics,
            crashes: 0,
            end: 1100 * PS_PER_MS,
        }
    }

    fn record(ms: Ps) -> Vec<Record> {
        vec![Record {
            key: key("all", "a", true),
            value: format!("{}.000000", ms * 1000),
            expires: true,
        }]
    }

    #[test]
    fn a_record_is_two_whole_numbers() {
        assert_eq!(parse("12.000345"), Some(12_000_345));
        for bad in ["", "12", "12.5", "a.000000", "-1.000000", "1.00000x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_was_admitted_must_be_there_and_no_more() {
        let (case, metrics) = (case(), []);
        let admitted = history(&case, &metrics, &[Fate::Admitted, Fate::Admitted]);
        assert_eq!(wrong(&admitted, &record(3000)), [""; 0]);
        assert_eq!(
            wrong(&admitted, &record(2999)).len(),
            1,
            "a charge is missing"
        );
        assert_eq!(wrong(&admitted, &[]).len(), 1, "the record is missing");
        assert_eq!(
            wrong(&admitted, &record(3002)).len(),
            1,
            "there is more than that"
        );
    }

    #[test]
    fn a_charge_of_a_denied_request_is_found() {
        let (case, metrics) = (case(), []);
        let denied = history(&case, &metrics, &[Fate::Denied]);
        assert_eq!(wrong(&denied, &[]), [""; 0]);
        assert_eq!(wrong(&denied, &record(2000)).len(), 1);
    }

    #[test]
    fn a_record_without_an_end_is_found() {
        let (case, metrics) = (case(), []);
        let mut records = record(3000);
        records[0].expires = false;
        let admitted = history(&case, &metrics, &[Fate::Admitted, Fate::Admitted]);
        assert_eq!(wrong(&admitted, &records).len(), 1);
    }
}
