//! Redis in trouble, deadlines, and clients that leave.

use super::*;

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
fn verdicts_are_told_some_at_a_time_and_until_then_requests_wait() {
    let mut gateway = Gateway::new(1, &[STRICT], redis(OnError::Deny));
    let ids: Vec<u32> = (0..70)
        .map(|_| gateway.begin(0, vec![check(0, 10, 1)], START).0)
        .collect();
    let worker = &mut gateway.workers[0];
    worker.tick(START + 50 * MS);
    let mut told = Vec::new();
    for count in [32, 32, 6, 0] {
        assert_eq!(worker.has_settled(), count > 0);
        let settled = worker.settled();
        assert_eq!(settled.len(), count);
        told.extend(settled.into_iter().map(|(id, _)| id));
        for id in &ids {
            assert_ne!(worker.waits(*id), told.contains(id));
        }
    }
    told.sort_unstable();
    assert_eq!(told, ids);
}

#[test]
fn a_clock_that_goes_back_does_not_prolong_a_wait() {
    let mut gateway = Gateway::new(1, &[STRICT], redis(OnError::Deny));
    gateway.begin(0, vec![check(0, 10, 1)], START);
    gateway.send(0, START);
    gateway.workers[0].tick(START);
    assert!(gateway.workers[0].settled().is_empty());
    gateway.workers[0].tick(START - 3600 * PS_PER_S);
    assert_eq!(gateway.workers[0].settled().len(), 1);
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
