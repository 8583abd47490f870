//! The limiter against a model Redis: what passes, what is charged, and what happens when Redis does not answer.

use super::super::model_redis::ModelRedis;
use super::*;
use crate::gcra::{PS_PER_S, Quota};
use crate::slots::tests::FakeShared;
use std::time::Duration;

const START: Ps = 1_700_000_000 * PS_PER_S;
const MS: Ps = PS_PER_S / 1_000;

fn redis(on_error: OnError) -> Redis {
    Redis {
        key_prefix: "t".into(),
        login: Login::default(),
        timeout: 50 * MS,
        hash_slots: false,
        on_error,
        limits: Limits {
            max_commands: 100,
            max_bytes: 100_000,
            in_flight: 2,
            framing: Framing::Whole,
        },
        breaker: breaker::Settings {
            failures: 3,
            open_for: PS_PER_S,
        },
    }
}

/// One gateway: some workers over one store.
struct Gateway {
    workers: Vec<Limiter<FakeShared>>,
    next_id: u32,
    token: u32,
}

impl Gateway {
    fn new(workers: usize, rules: &[(Mode, bool)], redis: Redis) -> Self {
        let store = FakeShared::default();
        let rules: Vec<Rule> = rules
            .iter()
            .enumerate()
            .map(|(index, (mode, shadow))| Rule {
                name: format!("l{index}"),
                mode: *mode,
                shadow: *shadow,
            })
            .collect();
        let settings = Settings {
            buckets: 64,
            ways: 4,
            overflow_allows: false,
            redis: Some(redis),
        };
        Self {
            workers: (0..workers)
                .map(|_| Limiter::new(store.clone(), settings.clone(), rules.clone()))
                .collect(),
            next_id: 0,
            token: 0,
        }
    }

    fn begin(&mut self, worker: usize, checks: Vec<Check>, now: Ps) -> (u32, Option<Verdict>) {
        self.next_id += 1;
        (
            self.next_id,
            self.workers[worker].begin(self.next_id, checks, now),
        )
    }

    /// Sends what is ready of `worker` and returns the callouts.
    fn send(&mut self, worker: usize, now: Ps) -> Vec<(u32, Vec<u8>)> {
        let mut callouts = Vec::new();
        let token = &mut self.token;
        self.workers[worker].send(now, |batch| {
            assert!(batch.deadline > now && batch.deadline <= now + 50 * MS);
            *token += 1;
            callouts.push((*token, batch.body.clone()));
            Ok(*token)
        });
        callouts
    }

    /// Lets Redis answer everything until nobody waits.
    fn run(&mut self, worker: usize, redis: &mut ModelRedis, now: Ps) -> Vec<(u32, Verdict)> {
        loop {
            let callouts = self.send(worker, now);
            if callouts.is_empty() {
                return self.workers[worker].settled();
            }
            for (token, body) in callouts {
                let reply = redis.run(&body, now);
                self.workers[worker].replied(token, Ok(&reply), now);
            }
        }
    }

    /// One request through to its verdict.
    fn ask(
        &mut self,
        worker: usize,
        redis: &mut ModelRedis,
        checks: Vec<Check>,
        now: Ps,
    ) -> Verdict {
        let (id, verdict) = self.begin(worker, checks, now);
        let settled = self.run(worker, redis, now);
        verdict.unwrap_or_else(|| {
            settled
                .into_iter()
                .find_map(|(settled, verdict)| (settled == id).then_some(verdict))
                .expect("a verdict")
        })
    }
}

fn check(rule: usize, limit: u64, cost: u64) -> Check {
    let period = Duration::from_secs(1);
    let quota = Quota::new(limit, period, limit).unwrap();
    Check {
        rule,
        hash: 1000 + rule as u64,
        subject: b"alice".to_vec(),
        ruling: Ruling::Metered(Allowance {
            lease: limit / 5,
            ..Allowance::new(quota, limit, period)
        }),
        cost,
    }
}

fn is_admitted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Admitted { .. })
}

fn denied_by(verdict: &Verdict) -> (usize, Reason) {
    match verdict {
        Verdict::Denied { rule, reason, .. } => (*rule, *reason),
        Verdict::Admitted { .. } => panic!("admitted"),
    }
}

const LOCAL: (Mode, bool) = (Mode::Local, false);
const STRICT: (Mode, bool) = (Mode::Strict, false);
const LEASED: (Mode, bool) = (Mode::Leased, false);

#[test]
fn workers_of_a_process_share_a_local_limit_exactly() {
    let mut gateway = Gateway::new(4, &[LOCAL], redis(OnError::Deny));
    let admitted = (0..100)
        .filter(|n| {
            is_admitted(
                &gateway
                    .begin(n % 4, vec![check(0, 10, 1)], START)
                    .1
                    .unwrap(),
            )
        })
        .count();
    assert_eq!(admitted, 10);
}

#[test]
fn every_mode_admits_its_burst_and_then_its_rate() {
    for (mode, burst) in [(LOCAL, 100), (STRICT, 100), (LEASED, 80)] {
        let mut gateway = Gateway::new(2, &[mode], redis(OnError::Deny));
        let mut redis = ModelRedis::default();
        let mut admitted = 0;
        for n in 0..300 {
            admitted += usize::from(is_admitted(&gateway.ask(
                n % 2,
                &mut redis,
                vec![check(0, 100, 1)],
                START,
            )));
        }
        assert_eq!(admitted, burst, "{mode:?}");
        let later = START + 100 * MS;
        for n in 0..300 {
            admitted += usize::from(is_admitted(&gateway.ask(
                n % 2,
                &mut redis,
                vec![check(0, 100, 1)],
                later,
            )));
        }
        assert_eq!(admitted, burst + 10, "{mode:?}");
    }
}

#[test]
fn all_pass_or_none_is_charged_in_every_mixture_of_modes() {
    for first in [LOCAL, STRICT, LEASED] {
        for second in [LOCAL, STRICT, LEASED] {
            for hash_slots in [false, true] {
                let settings = Redis {
                    hash_slots,
                    ..redis(OnError::Deny)
                };
                let mut gateway = Gateway::new(1, &[first, second], settings);
                let mut redis = ModelRedis::default();
                // The second limit has another subject, which may live on another node, and is empty.
                let tight = |cost| Check {
                    subject: b"tenant".to_vec(),
                    ..check(1, 2, cost)
                };
                let what = format!("{first:?} {second:?} {hash_slots}");
                let drained = gateway.ask(0, &mut redis, vec![tight(1)], START);
                assert!(is_admitted(&drained), "{what}");
                while is_admitted(&gateway.ask(0, &mut redis, vec![tight(1)], START)) {}
                for _ in 0..50 {
                    let verdict =
                        gateway.ask(0, &mut redis, vec![check(0, 100, 1), tight(1)], START);
                    assert_eq!(denied_by(&verdict).0, 1, "{what}");
                }
                // Nothing of that was charged to the first limit.
                let burst = if first == LEASED { 80 } else { 100 };
                let mut admitted = 0;
                while is_admitted(&gateway.ask(0, &mut redis, vec![check(0, 100, 1)], START)) {
                    admitted += 1;
                }
                assert_eq!(admitted, burst, "{what}");
            }
        }
    }
}

#[test]
fn a_lease_drawn_for_a_request_that_another_lease_denies_is_not_lost() {
    let mut gateway = Gateway::new(1, &[LEASED, LEASED], redis(OnError::Deny));
    let mut redis = ModelRedis::default();
    let leased = |rule: usize, who: u64, limit: u64, lease: u64| {
        let mut check = check(rule, limit, 1);
        check.hash = 10_000 * (rule as u64 + 1) + who;
        check.subject = who.to_be_bytes().to_vec();
        if let Ruling::Metered(allowance) = &mut check.ruling {
            allowance.lease = lease;
        }
        check
    };
    // Leases of one token: each request draws, from its own limit first and then from the one that all share.
    let shared = || leased(1, 0, 100, 1);
    let mut now = START;
    let mut admitted = 0;
    let mut ask = |checks| {
        // No two at one instant: a lease is known by its end.
        now += PS_PER_US;
        let passes = is_admitted(&gateway.ask(0, &mut redis, checks, now));
        admitted += u64::from(passes);
        passes
    };
    for who in 0..30 {
        while ask(vec![leased(0, who, 4, 1), shared()]) {}
    }
    while ask(vec![shared()]) {}
    assert_eq!(admitted, 99);
}

#[test]
fn what_redis_denies_after_local_charges_is_given_back() {
    let mut gateway = Gateway::new(1, &[LOCAL, STRICT], redis(OnError::Deny));
    let mut redis = ModelRedis::default();
    // Another gateway empties the strict limit: this one has no denial cached yet.
    let mut other = Gateway::new(1, &[LOCAL, STRICT], super::tests::redis(OnError::Deny));
    while is_admitted(&other.ask(0, &mut redis, vec![check(1, 5, 1)], START)) {}
    let verdict = gateway.ask(0, &mut redis, vec![check(0, 3, 1), check(1, 5, 1)], START);
    assert_eq!(denied_by(&verdict).0, 1);
    assert_eq!(gateway.workers[0].counts.refunds, 1);
    let admitted = (0..10)
        .filter(|_| is_admitted(&gateway.ask(0, &mut redis, vec![check(0, 3, 1)], START)))
        .count();
    assert_eq!(admitted, 3);
}

#[test]
fn keys_that_share_no_node_are_reserved_and_refunded() {
    let settings = Redis {
        hash_slots: true,
        ..redis(OnError::Deny)
    };
    let mut gateway = Gateway::new(1, &[STRICT, STRICT], settings.clone());
    let mut other = Gateway::new(1, &[STRICT, STRICT], settings);
    let mut redis = ModelRedis::default();
    let tenant = Check {
        subject: b"tenant".to_vec(),
        ..check(1, 5, 1)
    };
    while is_admitted(&other.ask(0, &mut redis, vec![tenant.clone()], START)) {}
    let takes = redis.takes;
    let verdict = gateway.ask(0, &mut redis, vec![check(0, 3, 1), tenant], START);
    assert_eq!(denied_by(&verdict).0, 1);
    assert_eq!((redis.takes - takes, redis.refunds), (2, 1));
    let admitted = (0..10)
        .filter(|_| is_admitted(&gateway.ask(0, &mut redis, vec![check(0, 3, 1)], START)))
        .count();
    assert_eq!(admitted, 3);
}

#[test]
fn limits_of_one_subject_are_one_script_call() {
    let settings = Redis {
        hash_slots: true,
        ..redis(OnError::Deny)
    };
    let mut gateway = Gateway::new(1, &[STRICT, STRICT], settings);
    let mut redis = ModelRedis::default();
    assert!(is_admitted(&gateway.ask(
        0,
        &mut redis,
        vec![check(0, 3, 1), check(1, 5, 1)],
        START
    )));
    assert_eq!((redis.takes, redis.records.len()), (1, 2));
}

#[test]
fn the_limit_that_denies_longest_is_reported() {
    let mut gateway = Gateway::new(1, &[LOCAL, LOCAL, LOCAL], redis(OnError::Deny));
    let mut redis = ModelRedis::default();
    let slow = |cost| {
        let period = Duration::from_secs(60);
        let quota = Quota::new(1, period, 1).unwrap();
        Check {
            ruling: Ruling::Metered(Allowance::new(quota, 1, period)),
            ..check(1, 1, cost)
        }
    };
    let all = || vec![check(0, 1, 1), slow(1), check(2, 1, 1)];
    assert!(is_admitted(&gateway.ask(0, &mut redis, all(), START)));
    let (rule, reason) = denied_by(&gateway.ask(0, &mut redis, all(), START));
    assert_eq!(
        (rule, reason),
        (
            1,
            Reason::Exceeded {
                retry: 60 * PS_PER_S
            }
        )
    );
}

#[test]
fn a_shadow_counts_but_never_denies_and_never_charges_for_a_denied_request() {
    for mode in [Mode::Local, Mode::Strict, Mode::Leased] {
        let mut gateway = Gateway::new(1, &[(mode, true), LOCAL], redis(OnError::Deny));
        let mut redis = ModelRedis::default();
        let both = || vec![check(0, 2, 1), check(1, 5, 1)];
        let admitted = (0..10)
            .filter(|_| is_admitted(&gateway.ask(0, &mut redis, both(), START)))
            .count();
        assert_eq!(admitted, 5, "{mode:?}");
        let counts = gateway.workers[0].counts.limits.clone();
        assert_eq!(counts[1].denied, 5, "{mode:?}");
        assert_eq!(counts[0].denied, 0, "{mode:?}");
        assert!(counts[0].shadow_denied >= 3, "{mode:?} {counts:?}");
    }
}

#[test]
fn a_denied_client_costs_redis_nothing_until_it_may_pass() {
    let mut gateway = Gateway::new(1, &[STRICT], redis(OnError::Deny));
    let mut redis = ModelRedis::default();
    while is_admitted(&gateway.ask(0, &mut redis, vec![check(0, 10, 1)], START)) {}
    let takes = redis.takes;
    for _ in 0..1000 {
        assert!(!is_admitted(&gateway.ask(
            0,
            &mut redis,
            vec![check(0, 10, 1)],
            START + 99 * MS
        )));
    }
    assert_eq!(redis.takes, takes);
    assert!(is_admitted(&gateway.ask(
        0,
        &mut redis,
        vec![check(0, 10, 1)],
        START + 100 * MS
    )));
}

#[test]
fn a_hot_leased_key_costs_redis_a_tenth_of_the_calls() {
    let run = |mode| {
        let mut gateway = Gateway::new(4, &[mode], redis(OnError::Deny));
        let mut redis = ModelRedis::default();
        let mut admitted = 0;
        for n in 0..20_000u32 {
            let now = START + Ps::from(n) * MS / 2;
            let verdict = gateway.ask(n as usize % 4, &mut redis, vec![check(0, 1000, 1)], now);
            admitted += usize::from(is_admitted(&verdict));
        }
        (redis.takes, admitted)
    };
    let (strict_calls, strict) = run(STRICT);
    let (leased_calls, leased) = run((Mode::Leased, false));
    assert!(
        leased_calls * 10 <= strict_calls,
        "{leased_calls} {strict_calls}"
    );
    assert!(
        leased <= strict && leased * 10 >= strict * 9,
        "{leased} {strict}"
    );
}

#[test]
fn gateways_that_lease_never_admit_more_than_the_limit_together() {
    let mut redis = ModelRedis::default();
    let mut gateways: Vec<Gateway> = (0..3)
        .map(|_| Gateway::new(2, &[LEASED], super::tests::redis(OnError::Deny)))
        .collect();
    let mut passed: Vec<Ps> = Vec::new();
    for n in 0..6_000u32 {
        // Bursts with pauses: leases are hoarded and then spent.
        let now = START + Ps::from(n / 500) * 300 * MS + Ps::from(n % 500) * MS / 20;
        let gateway = &mut gateways[n as usize % 3];
        if is_admitted(&gateway.ask(n as usize % 2, &mut redis, vec![check(0, 100, 1)], now)) {
            passed.push(now);
        }
    }
    for (first, start) in passed.iter().enumerate() {
        for (last, end) in passed.iter().enumerate().skip(first) {
            let allowed = 100 + (end - start) / (10 * MS);
            assert!((last - first + 1) as Ps <= allowed);
        }
    }
    assert!(passed.len() > 400, "{}", passed.len());
}

#[test]
fn requests_that_need_the_same_lease_wait_for_one_draw() {
    let mut gateway = Gateway::new(1, &[LEASED], redis(OnError::Deny));
    let mut redis = ModelRedis::default();
    for _ in 0..30 {
        assert_eq!(gateway.begin(0, vec![check(0, 100, 1)], START).1, None);
    }
    let settled = gateway.run(0, &mut redis, START);
    assert_eq!(
        settled
            .iter()
            .filter(|(_, verdict)| is_admitted(verdict))
            .count(),
        30
    );
    assert!(redis.takes <= 3, "{}", redis.takes);
    assert_eq!(gateway.workers[0].waiting(), 0);
}

fn fail_all(gateway: &mut Gateway, trouble: Trouble, now: Ps) {
    for (token, _) in gateway.send(0, now) {
        gateway.workers[0].replied(token, Err(trouble), now);
    }
}

#[test]
fn trouble_is_answered_as_configured() {
    for mode in [STRICT, LEASED] {
        for (on_error, expected) in [
            (OnError::Allow, 20),
            (OnError::Deny, 0),
            (
                OnError::Local {
                    millionths: 500_000,
                },
                5,
            ),
        ] {
            let mut gateway = Gateway::new(1, &[mode], redis(on_error));
            let mut admitted = 0;
            for _ in 0..20 {
                let (_, verdict) = gateway.begin(0, vec![check(0, 10, 1)], START);
                fail_all(&mut gateway, Trouble::Reset, START);
                let settled = gateway.workers[0].settled();
                let verdict = verdict.or(settled.into_iter().map(|(_, verdict)| verdict).next());
                let verdict = verdict.expect("a verdict at once");
                if !is_admitted(&verdict) && on_error == OnError::Deny {
                    assert_eq!(denied_by(&verdict).1, Reason::Unavailable);
                }
                admitted += usize::from(is_admitted(&verdict));
            }
            assert_eq!(admitted, expected, "{mode:?} {on_error:?}");
            assert!(gateway.workers[0].breaker_is_open());
            assert_eq!(gateway.workers[0].waiting(), 0);
        }
    }
}

#[test]
fn a_wait_ends_by_its_deadline_whatever_redis_does() {
    for mode in [STRICT, LEASED] {
        let mut gateway = Gateway::new(1, &[mode], redis(OnError::Deny));
        let (id, verdict) = gateway.begin(0, vec![check(0, 10, 1)], START);
        assert_eq!(verdict, None);
        let callouts = gateway.send(0, START);
        gateway.workers[0].tick(START + 49 * MS);
        assert!(gateway.workers[0].settled().is_empty());
        gateway.workers[0].tick(START + 50 * MS);
        let settled = gateway.workers[0].settled();
        assert_eq!(settled.len(), 1);
        assert_eq!(
            (settled[0].0, denied_by(&settled[0].1).1),
            (id, Reason::Unavailable)
        );
        // The reply comes all the same: nobody is resumed twice.
        let mut redis = ModelRedis::default();
        let reply = redis.run(&callouts[0].1, START);
        gateway.workers[0].replied(callouts[0].0, Ok(&reply), START + 60 * MS);
        assert!(gateway.workers[0].settled().is_empty());
    }
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    for mode in [STRICT, LEASED] {
        let mut gateway = Gateway::new(1, &[mode], redis(OnError::Deny));
        let mut redis = ModelRedis::default();
        let (id, _) = gateway.begin(0, vec![check(0, 10, 1)], START);
        gateway.workers[0].forget(id);
        assert_eq!(gateway.workers[0].waiting(), 0);
        assert!(gateway.run(0, &mut redis, START).is_empty());
    }
}

#[test]
fn a_script_that_redis_forgot_is_sent_whole() {
    let mut gateway = Gateway::new(1, &[STRICT], redis(OnError::Deny));
    let mut redis = ModelRedis {
        forgets_scripts: true,
        ..ModelRedis::default()
    };
    assert!(is_admitted(&gateway.ask(
        0,
        &mut redis,
        vec![check(0, 10, 1)],
        START
    )));
    redis.forgets_scripts = true;
    assert!(is_admitted(&gateway.ask(
        0,
        &mut redis,
        vec![check(0, 10, 1)],
        START
    )));
}

#[test]
fn rulings_deny_without_any_record() {
    for (reason, mode) in [
        (Reason::Override, LOCAL),
        (Reason::Key, STRICT),
        (Reason::Never, LEASED),
    ] {
        let mut gateway = Gateway::new(1, &[mode], redis(OnError::Allow));
        let denied = Check {
            ruling: Ruling::Denied(reason),
            ..check(0, 1, 1)
        };
        let verdict = gateway.begin(0, vec![denied], START).1.expect("at once");
        assert_eq!(denied_by(&verdict), (0, reason));
    }
}

#[test]
fn a_cost_that_no_burst_holds_is_denied_without_asking() {
    for (mode, cost) in [(LOCAL, 101), (STRICT, 101), (LEASED, 81)] {
        let mut gateway = Gateway::new(1, &[mode], redis(OnError::Allow));
        let verdict = gateway
            .begin(0, vec![check(0, 100, cost)], START)
            .1
            .expect("at once");
        assert_eq!(denied_by(&verdict), (0, Reason::Never), "{mode:?}");
    }
}

#[test]
fn a_cost_of_zero_passes_and_writes_nothing() {
    for mode in [LOCAL, STRICT, LEASED] {
        let mut gateway = Gateway::new(1, &[mode], redis(OnError::Deny));
        let mut redis = ModelRedis::default();
        assert!(is_admitted(&gateway.ask(
            0,
            &mut redis,
            vec![check(0, 100, 0)],
            START
        )));
        assert!(redis.records.is_empty(), "{mode:?}");
    }
}
