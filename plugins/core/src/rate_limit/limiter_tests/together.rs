//! What passes and what is charged, in every mode and mixture of modes.

use super::*;

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

#[test]
fn a_denial_for_tokens_that_were_only_reserved_does_not_last() {
    let settings = Redis {
        hash_slots: true,
        ..redis(OnError::Deny)
    };
    let mut gateway = Gateway::new(1, &[STRICT, STRICT], settings);
    let mut redis = ModelRedis::default();
    // One token in many hours, and an empty limit of another subject.
    let quota = Quota::new(1, Duration::from_secs(50_000), 1).unwrap();
    let slow = || Check {
        ruling: Ruling::Metered(Allowance::new(quota, 1, Duration::from_secs(50_000))),
        ..check(0, 1, 1)
    };
    let tight = || Check {
        subject: b"tenant".to_vec(),
        ..check(1, 1, 1)
    };
    assert!(is_admitted(&gateway.ask(
        0,
        &mut redis,
        vec![tight()],
        START
    )));
    // The first reserves the token, which the second wants at that moment; then the first is denied after all.
    gateway.begin(0, vec![slow(), tight()], START);
    gateway.begin(0, vec![slow()], START);
    let settled = gateway.run(0, &mut redis, START);
    assert!(settled.iter().all(|(_, verdict)| !is_admitted(verdict)));
    let later = START + 2 * PS_PER_S;
    assert!(is_admitted(&gateway.ask(
        0,
        &mut redis,
        vec![slow()],
        later
    )));
}
