//! What spares Redis: the deny cache, leases, draws that are shared.

use super::*;

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
