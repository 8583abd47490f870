//! A request with a key is carried out once: its retries, at the same time or later, on any gateway, get the first
//! answer, and nobody else does.

use std::thread;

use host_tests::client::Response;
use host_tests::gateway::Gateway;
use host_tests::idempotency::{ACCOUNT, Service, gateway, made, pay, policy, told, until_event};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use serde_json::json;

fn send(gateway: &Gateway, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    gateway.client().send(method, path, fields, b"").unwrap()
}

/// Matrix 13 and 14, two gateways: five at once, and one of them runs.
#[test]
fn of_five_at_once_one_is_carried_out() {
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let start = || {
        gateway(service.address(), policy(json!({}), json!({})))
            .redis(&redis)
            .workers(2)
            .start()
    };
    let gateways = [start(), start()];
    thread::scope(|scope| {
        let all: Vec<_> = (0..5)
            .map(|index| {
                let gateway = &gateways[index % 2];
                scope.spawn(move || pay(gateway, "k", b"amount=1").unwrap())
            })
            .collect();
        // The others are told at once, while the first runs.
        host_tests::wait::until("four to be told", || {
            all.iter().filter(|one| one.is_finished()).count() == 4
        });
        let other_body = pay(&gateways[1], "k", b"amount=2").unwrap();
        assert_eq!(told(&other_body), (422, "key-reused".to_owned()));
        gate.open();
        let mut answers: Vec<_> = all
            .into_iter()
            .map(|one| told(&one.join().unwrap()))
            .collect();
        answers.sort();
        let mut expected = vec![(201, "charge 1\n".to_owned())];
        expected.extend(vec![(409, "in-flight".to_owned()); 4]);
        assert_eq!(answers, expected);
    });
    for gateway in &gateways {
        let replay = pay(gateway, "k", b"amount=1").unwrap();
        assert_eq!(told(&replay), (201, "charge 1\n".to_owned()));
        assert_eq!(
            replay.header("idempotency-replayed").as_deref(),
            Some("true")
        );
        assert_eq!(replay.header("x-charge").as_deref(), Some("1"));
        let other_body = pay(gateway, "k", b"amount=2").unwrap();
        assert_eq!(told(&other_body), (422, "key-reused".to_owned()));
        assert_sound(gateway);
    }
    assert_eq!(service.count(), 1);
}

/// Those that wait get the first answer, those of the other gateway too.
#[test]
fn who_waits_gets_the_first_answer() {
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let start = || {
        gateway(service.address(), policy(json!({}), json!({"wait": "15s"})))
            .redis(&redis)
            .start()
    };
    let gateways = [start(), start()];
    thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateways[0], "k", b"amount=1").unwrap());
        host_tests::wait::until("the first to run", || service.count() == 1);
        let others: Vec<_> = (0..4)
            .map(|index| {
                let gateway = &gateways[index % 2];
                scope.spawn(move || pay(gateway, "k", b"amount=1").unwrap())
            })
            .collect();
        gateways
            .iter()
            .for_each(|gateway| until_event(gateway, "waited", 2));
        gate.open();
        let first = first.join().unwrap();
        assert_eq!(first.header("idempotency-replayed"), None);
        for other in others {
            let other = other.join().unwrap();
            assert_eq!(told(&other), told(&first));
            assert_eq!(
                other.header("idempotency-replayed").as_deref(),
                Some("true")
            );
        }
    });
    assert_eq!(service.count(), 1);
    gateways.iter().for_each(assert_sound);
}

/// Matrix 30: a wait ends.
#[test]
fn who_has_waited_long_enough_is_told_so() {
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let gateway = gateway(
        service.address(),
        policy(json!({}), json!({"wait": "300ms"})),
    )
    .redis(&redis)
    .start();
    thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        host_tests::wait::until("the first to run", || service.count() == 1);
        let second = pay(&gateway, "k", b"").unwrap();
        assert_eq!(told(&second), (409, "in-flight".to_owned()));
        assert_eq!(second.header("retry-after").as_deref(), Some("1"));
        gate.open();
        assert_eq!(first.join().unwrap().status, 201);
    });
    assert_sound(&gateway);
}

/// The key belongs to the account and to what was asked for.
#[test]
fn a_key_is_its_accounts_and_its_requests() {
    let redis = Redis::start();
    let service = Service::counting();
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    let ask = |method: &str, path: &str, account: &str| {
        let fields = [(ACCOUNT, account), ("idempotency-key", "\"k\"")];
        told(&send(&gateway, method, path, &fields))
    };
    let charge = |number: usize| (201, format!("charge {number}\n"));
    let reused = (422, "key-reused".to_owned());
    assert_eq!(ask("POST", "/pay", "ann"), charge(1));
    assert_eq!(ask("POST", "/pay", "bob"), charge(2));
    assert_eq!(ask("POST", "/pay", "ann"), charge(1));
    assert_eq!(ask("POST", "/pay/other", "ann"), reused);
    assert_eq!(ask("POST", "/pay?a=1", "ann"), reused);
    assert_eq!(ask("PATCH", "/pay", "ann"), reused);
    // These are none of the filter's business: another method, another path.
    assert_eq!(ask("GET", "/pay", "ann"), charge(3));
    assert_eq!(ask("GET", "/pay", "ann"), charge(4));
    assert_eq!(ask("POST", "/elsewhere", "ann"), charge(5));
    assert_eq!(ask("POST", "/elsewhere", "ann"), charge(6));
    assert_sound(&gateway);
}

#[test]
fn keys_are_read_as_the_route_says() {
    let redis = Redis::start();
    let service = Service::counting();
    let start = |route| {
        gateway(service.address(), policy(json!({}), route))
            .redis(&redis)
            .start()
    };
    let strict = start(json!({"required": true}));
    let compat = start(json!({"key_mode": "compat"}));
    let ask =
        |gateway: &Gateway, fields: &[(&str, &str)]| told(&send(gateway, "POST", "/pay", fields));
    let (account, refused) = ((ACCOUNT, "ann"), |why: &str| (400, why.to_owned()));
    assert_eq!(ask(&strict, &[account]), refused("key-missing"));
    for value in ["abc", "\"abc", "", "\"\"", "('a')"] {
        let fields = [account, ("idempotency-key", value)];
        assert_eq!(ask(&strict, &fields), refused("key-invalid"), "{value}");
    }
    let key = ("idempotency-key", "\"abc\"");
    assert_eq!(ask(&strict, &[account, key, key]), refused("key-invalid"));
    assert_eq!(ask(&strict, &[key]), refused("client-unknown"));
    assert_eq!(service.count(), 0);
    let first = ask(&strict, &[account, key]);
    assert_eq!(first, (201, "charge 1\n".to_owned()));
    assert_eq!(ask(&compat, &[account, key]), first);
    assert_eq!(ask(&compat, &[account, ("idempotency-key", "abc")]), first);
    // Not required, so it passes as if there were no filter.
    assert_eq!(ask(&compat, &[account]), (201, "charge 2\n".to_owned()));
    let refusal = send(&strict, "POST", "/pay", &[account]);
    assert_eq!(
        refusal.header("content-type").as_deref(),
        Some("application/problem+json")
    );
    until_event(&strict, "key_missing", 2);
    until_event(&strict, "key_invalid", 6);
    until_event(&strict, "client_unknown", 1);
    [&strict, &compat].into_iter().for_each(assert_sound);
}

/// The service gets a number for each execution, which only the gateway gives; nobody asks the gateway for retries.
#[test]
fn the_fence_is_the_gateways_alone() {
    let redis = Redis::start();
    let service = Service::start(|_, number, stream| {
        if number <= 2 {
            return made(stream, number);
        }
        use std::io::Write;
        write!(
            stream,
            "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n"
        )?;
        Ok(true)
    });
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    let forged = ("idempotency-fence", "9007199254740991");
    let account = (ACCOUNT, "ann");
    for key in ["\"a\"", "\"b\"", "\"c\""] {
        let _ = send(
            &gateway,
            "POST",
            "/pay",
            &[
                account,
                ("idempotency-key", key),
                forged,
                // Matrix 29.
                ("x-envoy-retry-on", "5xx"),
                ("x-envoy-max-retries", "3"),
            ],
        );
    }
    let fences: Vec<u64> = service
        .executions()
        .iter()
        .map(|seen| seen.header("idempotency-fence").unwrap().parse().unwrap())
        .collect();
    assert_eq!(fences.len(), 3, "{fences:?}");
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
    assert!(fences.iter().all(|fence| *fence < 9_007_199_254_740_991));
    let _ = send(&gateway, "POST", "/elsewhere", &[forged]);
    let _ = send(&gateway, "GET", "/pay", &[forged]);
    assert!(
        service.executions()[3..]
            .iter()
            .all(|seen| seen.header("idempotency-fence").is_none())
    );
    assert_eq!(service.count(), 5);
    assert_sound(&gateway);
}
