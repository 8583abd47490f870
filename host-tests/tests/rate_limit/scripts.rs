//! The Lua scripts decide exactly as the Rust arithmetic does, picosecond for picosecond, on a real Redis. The clock is
//! the test's own, and what a record would expire after is noted beside it instead of happening.

mod lua;

use std::time::Duration;

use lua::{Clocked, Random};
use sluice_core::gcra::{PS_PER_US, Ps, Quota, Verdict};
use sluice_core::rate_limit::scripts::{Refund, Take, Taken};

const YEAR: Duration = Duration::from_secs(365 * 86_400);
const SECOND: Duration = Duration::from_secs(1);

fn quota(limit: u64, period: Duration, burst: u64) -> Quota {
    Quota::new(limit, period, burst).expect("a quota that can be kept")
}

/// Fast and slow, with intervals that are whole microseconds and that are not, small and large bursts.
fn quotas() -> Vec<Quota> {
    vec![
        quota(600_000, SECOND, 600_000),
        quota(666_667, SECOND, 5),
        quota(1, YEAR, 1),
        quota(1, YEAR, 60),
        quota(3, SECOND, 3),
        quota(1_000_000, SECOND, 1_000_000),
        quota(1_000_000, SECOND, 2),
        quota(700_001, SECOND, 3),
        quota(90_000_000, Duration::from_secs(90), 7),
        quota(1_000_000_000, Duration::from_secs(3_600), 1_000_000_000),
        quota(7, Duration::from_millis(1), 40),
        quota(100, Duration::from_secs(60), 100),
    ]
}

/// What the script should answer for one record, and the record after it if all pass.
fn expected(item: &Take, tat: Option<Ps>, now: Ps) -> (Taken, Option<Ps>) {
    let base = tat.unwrap_or(0).clamp(now, now + item.quota.tolerance());
    let room = now + item.quota.tolerance() - base;
    let fits = u64::try_from(room / item.quota.interval()).unwrap();
    let grant = fits.min(item.want);
    if grant < item.need {
        let Verdict::Deny { retry } = item.quota.decide(tat, now, item.need).verdict else {
            panic!("{item:?} should be denied");
        };
        let taken = Taken {
            granted: 0,
            backlog: (base - now) / PS_PER_US * PS_PER_US,
            at: now,
            retry: Some(retry.div_ceil(PS_PER_US) * PS_PER_US),
        };
        return (taken, None);
    }
    let decision = item.quota.decide(tat, now, grant);
    let Verdict::Allow { tat: new } = decision.verdict else {
        panic!("{grant} tokens of {item:?} should pass");
    };
    if grant < item.want {
        assert!(!matches!(
            item.quota.decide(tat, now, grant + 1).verdict,
            Verdict::Allow { .. }
        ));
    }
    let taken = Taken {
        granted: grant,
        backlog: decision.backlog / PS_PER_US * PS_PER_US,
        at: now,
        retry: None,
    };
    (taken, (grant > 0).then_some(new))
}

/// Checks one call of the script against the arithmetic, and the records it leaves.
fn take_and_compare(redis: &mut Clocked, items: &[Take], now: Ps) {
    let before: Vec<Option<Ps>> = items.iter().map(|item| redis.record(&item.key)).collect();
    redis.forget_expiries();
    let each: Vec<(Taken, Option<Ps>)> = items
        .iter()
        .zip(&before)
        .map(|(item, tat)| expected(item, *tat, now))
        .collect();
    let all = items
        .iter()
        .zip(&each)
        .all(|(item, (taken, _))| taken.retry.is_none() || item.shadow);
    let answer = redis.take(items, now).expect("an answer");
    for (((item, tat), (mut taken, new)), got) in items.iter().zip(before).zip(each).zip(answer) {
        let context = format!("{item:?} at {now} on {tat:?}");
        if !all {
            let base = tat.unwrap_or(0).clamp(now, now + item.quota.tolerance());
            taken.granted = 0;
            taken.backlog = (base - now) / PS_PER_US * PS_PER_US;
        }
        assert_eq!(got, taken, "{context}");
        let written = new.filter(|_| all);
        assert_eq!(
            redis.record(&item.key),
            written.or(tat),
            "the record after {context}"
        );
        let expiry = redis.expiry(&item.key);
        match written {
            None => assert_eq!(expiry, None, "nothing is written by {context}"),
            Some(new) => {
                let expiry = expiry.expect("a record expires") * 1_000 * PS_PER_US;
                assert!(expiry >= new - now, "{expiry} is too early for {context}");
                assert!(expiry <= new - now + 1_000 * PS_PER_US, "{context}");
            }
        }
    }
}

fn refund_and_compare(redis: &mut Clocked, item: &Refund, now: Ps) {
    let before = redis.record(&item.key);
    let left = before
        .map(|tat| item.quota.refund(tat, item.taken_at, now, item.cost))
        .filter(|tat| tat / PS_PER_US > now / PS_PER_US);
    let returned = redis.refund(std::slice::from_ref(item), now);
    if item.quota.interval() * Ps::from(item.cost) < now - item.taken_at {
        assert_eq!(returned, 0, "time has given it back");
        return assert_eq!(redis.record(&item.key), before);
    }
    assert_eq!(returned, i64::from(before.is_some()));
    assert_eq!(
        redis.record(&item.key),
        left,
        "{item:?} at {now} on {before:?}"
    );
}

fn a_number(random: &mut Random, burst: u64) -> u64 {
    match random.below(6) {
        0 => 0,
        1 | 2 => 1 + random.below(3.min(burst)),
        3 => burst,
        _ => random.below(burst + 1),
    }
    .min(burst)
}

/// A pause that matters at this rate: none, a few microseconds, about an interval, until it is full again.
fn a_pause(random: &mut Random, quota: &Quota) -> Ps {
    let pause = match random.below(5) {
        0 => 0,
        1 => Ps::from(random.below(4)) * PS_PER_US,
        2 => quota.interval() * Ps::from(random.below(4)) + PS_PER_US,
        3 => quota.tolerance() / Ps::from(1 + random.below(9)),
        _ => quota.tolerance() + PS_PER_US,
    };
    pause / PS_PER_US * PS_PER_US
}

/// Three seeds of a thousand steps: several records at once, shadows among them, limits that change while their
/// records live, a clock that goes back now and then.
#[test]
fn the_scripts_agree_with_the_arithmetic_to_the_picosecond() {
    let mut redis = Clocked::start();
    for seed in 1..=3 {
        let mut random = Random(seed);
        redis.flush();
        let quotas = quotas();
        let mut now = 1_790_000_000_000_000 * PS_PER_US;
        for _ in 0..1_000 {
            let first = random.below(quotas.len() as u64) as usize;
            let items: Vec<Take> = (0..=random.below(3) as usize)
                .map(|offset| {
                    let index = (first + offset) % quotas.len();
                    let other = random.below(12) == 0;
                    let quota = quotas[if other { first } else { index }];
                    let need = a_number(&mut random, quota.burst());
                    let want = need
                        + match random.below(3) {
                            0 => 0,
                            1 => random.below(5),
                            _ => random.below(2 * quota.burst()),
                        };
                    Take {
                        key: format!("{{t}}:{index}").into_bytes(),
                        quota,
                        need,
                        want,
                        shadow: random.below(4) == 0,
                    }
                })
                .collect();
            take_and_compare(&mut redis, &items, now);
            if random.below(4) == 0 {
                let item = &items[0];
                let cost = a_number(&mut random, item.quota.burst());
                let refund = Refund {
                    key: item.key.clone(),
                    quota: item.quota,
                    cost,
                    taken_at: now - a_pause(&mut random, &item.quota).min(60_000_000 * PS_PER_US),
                };
                refund_and_compare(&mut redis, &refund, now);
            }
            if random.below(40) == 0 {
                now -= a_pause(&mut random, &quotas[first]).min(3_600_000_000 * PS_PER_US);
            } else {
                now += a_pause(&mut random, &quotas[first]).min(400 * 86_400_000_000 * PS_PER_US);
            }
        }
    }
}

fn one(quota: Quota, need: u64) -> [Take; 1] {
    [Take {
        key: b"k".to_vec(),
        quota,
        need,
        want: need,
        shadow: false,
    }]
}

/// The room of a bucket has a part below a microsecond; a token that needs a picosecond more than there is must wait.
#[test]
fn no_token_is_granted_a_picosecond_early() {
    let mut redis = Clocked::start();
    // T is 1.42857 microseconds, so the halves of a record borrow from each other at nearly every step.
    let quota = quota(700_001, SECOND, 4);
    assert_eq!(quota.interval(), 1_428_570);
    for gap in 0..12 {
        for burst in 1..=4 {
            redis.flush();
            let quota = quota.with_burst(burst);
            let mut now = 1_790_000_000_000_000 * PS_PER_US;
            for _ in 0..40 {
                take_and_compare(&mut redis, &one(quota, 1), now);
                now += gap % 4 * PS_PER_US;
            }
        }
    }
}

#[test]
fn a_cost_of_zero_and_a_denial_write_nothing() {
    let mut redis = Clocked::start();
    let now = 1_790_000_000_000_000 * PS_PER_US;
    let three = quota(3, SECOND, 3);
    take_and_compare(&mut redis, &one(three, 0), now);
    assert_eq!(redis.keys(), 0);
    take_and_compare(&mut redis, &one(three, 3), now);
    let full = redis.record(b"k");
    take_and_compare(&mut redis, &one(three, 1), now);
    take_and_compare(&mut redis, &one(three, 0), now);
    assert_eq!(redis.record(b"k"), full);
}

#[test]
fn what_is_no_record_is_an_error_and_stays_as_it_is() {
    let mut redis = Clocked::start();
    let now = 1_790_000_000_000_000 * PS_PER_US;
    for junk in [
        "",
        "12",
        "x.000001",
        "1.0",
        "1790000000000000.0000001",
        "nan",
        "-5.000000",
    ] {
        redis.set(b"k", junk);
        let error = redis.take(&one(quota(3, SECOND, 3), 1), now).unwrap_err();
        assert!(error.starts_with("SLUICE k "), "{junk}: {error}");
        assert_eq!(redis.get(b"k").as_deref(), Some(junk));
        let refund = Refund {
            key: b"k".to_vec(),
            quota: quota(3, SECOND, 3),
            cost: 1,
            taken_at: now,
        };
        assert_eq!(redis.refund(&[refund], now), 0);
        assert_eq!(redis.get(b"k").as_deref(), Some(junk));
    }
    redis.make_list(b"k");
    let error = redis.take(&one(quota(3, SECOND, 3), 1), now).unwrap_err();
    assert!(error.starts_with("WRONGTYPE"), "{error}");
}

/// The scripts as they are shipped, by the clock of Redis.
#[test]
fn a_record_outlives_its_backlog_and_no_more() {
    let mut redis = Clocked::start();
    for (limit, period) in [(1, 60), (100, 10), (600_000, 1)] {
        redis.flush();
        let quota = quota(limit, Duration::from_secs(period), limit);
        let now = redis.clock();
        let taken = redis.take_by_its_clock(&one(quota, limit));
        assert_eq!(taken[0].granted, limit);
        let later = redis.clock();
        let ends = redis.record(b"k").expect("a record");
        assert!((now..=later).contains(&(ends - quota.tolerance())));
        let left = redis.time_to_live(b"k");
        let millisecond = 1_000 * PS_PER_US;
        assert!(left <= quota.tolerance() + millisecond);
        // The clock has gone on between the write and the question.
        assert!(left + (redis.clock() - now) + millisecond >= quota.tolerance());
    }
}
