//! Whatever becomes of the service or the client, a request with a key runs once, and where nobody can know whether it
//! ran every retry is told so. Rows of the failure matrix (docs/idempotency.md) by their numbers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use host_tests::client::send_and_leave;
use host_tests::config::Config;
use host_tests::gateway::Gateway;
use host_tests::idempotency::{
    Gate, LEASE, Service, assert_replay, assert_unknown, brisk, count, event, gateway, made, pay,
    policy, records, request, told, until_answered, until_event, until_settled,
};
use host_tests::limits::assert_sound;
use host_tests::redis::Redis;
use host_tests::{ports, wait};
use serde_json::json;

fn charge(number: usize) -> (u16, String) {
    (201, format!("charge {number}\n"))
}

fn with_lease(service: SocketAddr, redis: &Redis) -> Gateway {
    let policy = policy(brisk(), json!({"lease": LEASE}));
    gateway(service, policy).redis(redis).start()
}

fn upstream_timeout(config: &mut Config) {
    let path = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0/route/timeout";
    let timeout = config.listener("gateway").pointer_mut(path);
    *timeout.expect("the route has a timeout") = "0.3s".into();
}

/// Row 4.
#[test]
fn a_service_that_cannot_be_reached_leaves_the_key_free() {
    let redis = Redis::start();
    let address: SocketAddr = ([127, 0, 0, 1], ports::free()).into();
    let gateway = with_lease(address, &redis);
    for _ in 0..3 {
        let answer = pay(&gateway, "k", b"").unwrap();
        assert_eq!(told(&answer), (503, "not-sent".to_owned()));
        assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
        assert_eq!(records(&redis), Vec::<String>::new());
    }
    let service = Service::listen(address, |_, number, stream| made(stream, number));
    assert_eq!(told(&pay(&gateway, "k", b"").unwrap()), charge(1));
    assert_eq!(service.count(), 1);
    until_event(&gateway, "not_sent", 3);
    assert_sound(&gateway);
}

const ROUTE: &str = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0";

/// Row 4: no cluster.
#[test]
fn a_cluster_that_is_not_there_leaves_the_key_free() {
    let redis = Redis::start();
    let service = Service::counting();
    let policy = policy(brisk(), json!({"lease": LEASE}));
    let gateway = gateway(service.address(), policy)
        .redis(&redis)
        .edit(|config| {
            let listener = config.listener("gateway");
            *listener
                .pointer_mut(&format!("{ROUTE}/route/cluster"))
                .unwrap() = "missing".into();
            let routes = "/filter_chains/0/filters/0/typed_config/route_config";
            listener.pointer_mut(routes).unwrap()["validate_clusters"] = false.into();
        })
        .start();
    let answer = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&answer), (503, "not-sent".to_owned()));
    assert_eq!(records(&redis), Vec::<String>::new());
    assert_eq!(service.count(), 0);
    assert_sound(&gateway);
}

/// Row 4: the route has no service.
#[test]
fn a_route_that_answers_by_itself_leaves_the_key_free() {
    let redis = Redis::start();
    let service = Service::counting();
    let policy = policy(brisk(), json!({"lease": LEASE}));
    let gateway = gateway(service.address(), policy)
        .redis(&redis)
        .edit(|config| {
            let route = config.listener("gateway").pointer_mut(ROUTE).unwrap();
            route.as_object_mut().unwrap().remove("route");
            route["redirect"] = json!({"https_redirect": true});
        })
        .start();
    let answer = pay(&gateway, "k", b"").unwrap();
    assert_eq!(answer.status, 301);
    assert_eq!(answer.header("idempotency-status"), None);
    until_event(&gateway, "not_sent", 1);
    wait::until("the key to be free", || records(&redis).is_empty());
    assert_eq!(service.count(), 0);
    assert_sound(&gateway);
}

/// Row 5: the service has the request, and says nothing.
#[test]
fn a_reset_before_the_answer_is_unknown() {
    let redis = Redis::start();
    let service = Service::start(|_, _, _| Ok(false));
    let gateway = with_lease(service.address(), &redis);
    let first = pay(&gateway, "k", b"").unwrap();
    assert_eq!(first.status, 503);
    let status = first.header("idempotency-status");
    assert_eq!(status.as_deref(), Some("unknown"));
    let second = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&second), (409, "in-flight".to_owned()));
    assert_unknown(&gateway, "k", b"");
    assert_eq!(service.count(), 1);
    until_event(&gateway, "left_unknown", 1);
    assert_sound(&gateway);
}

/// Row 5: the answer is cut short. Half of it is not an answer, for the first client as for its retries.
#[test]
fn a_reset_within_the_answer_is_unknown() {
    let redis = Redis::start();
    let service = Service::start(|_, _, stream| {
        write!(
            stream,
            "HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\nhalf"
        )?;
        Ok(false)
    });
    let gateway = with_lease(service.address(), &redis);
    let first = pay(&gateway, "k", b"").unwrap();
    // Envoy shows this answer of its own to no filter, so it cannot be flagged.
    assert_eq!(first.status, 502);
    assert_unknown(&gateway, "k", b"");
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// Row 6.
#[test]
fn a_timeout_is_unknown() {
    let redis = Redis::start();
    let (service, _gate) = Service::gated();
    let policy = policy(brisk(), json!({"lease": LEASE}));
    let gateway = gateway(service.address(), policy)
        .redis(&redis)
        .edit(upstream_timeout)
        .start();
    let first = pay(&gateway, "k", b"").unwrap();
    assert_eq!(first.status, 504);
    let status = first.header("idempotency-status");
    assert_eq!(status.as_deref(), Some("unknown"));
    assert_unknown(&gateway, "k", b"");
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// Row 6, where the policy says so.
#[test]
fn a_timeout_may_be_stored() {
    let redis = Redis::start();
    let (service, _gate) = Service::gated();
    let policy = policy(json!({}), json!({"on_timeout": "store"}));
    let gateway = gateway(service.address(), policy)
        .redis(&redis)
        .edit(upstream_timeout)
        .start();
    let first = pay(&gateway, "k", b"").unwrap();
    assert_eq!(first.status, 504);
    assert_replay(&pay(&gateway, "k", b"").unwrap(), &first);
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// Row 11: before the answer.
#[test]
fn who_leaves_before_the_answer_finds_it_unknown() {
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let gateway = with_lease(service.address(), &redis);
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.write_all(&request("k", b"a=1")).unwrap();
    wait::until("the request to run", || service.count() == 1);
    drop(client);
    until_event(&gateway, "left_unknown", 1);
    gate.open();
    assert_unknown(&gateway, "k", b"a=1");
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// Row 11: while the answer is being stored.
#[test]
fn who_leaves_after_the_answer_came_finds_it_stored() {
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.write_all(&request("k", b"a=1")).unwrap();
    wait::until("the request to run", || service.count() == 1);
    redis.pause();
    gate.open();
    until_answered(&gateway, 201);
    drop(client);
    wait::until("the client to have left", || {
        let left = "http.gateway.downstream_cx_destroy_remote_active_rq";
        gateway.envoy().stat(left) == 1
    });
    redis.resume();
    let replay = until_settled(&gateway, "k", b"a=1");
    assert_eq!(told(&replay), charge(1));
    assert_eq!(
        replay.header("idempotency-replayed").as_deref(),
        Some("true")
    );
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// Row 12: the answer is lost on its way to the client.
#[test]
fn who_did_not_hear_the_answer_hears_it_from_the_replay() {
    let redis = Redis::start();
    let service = Service::counting();
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.write_all(&request("k", b"a=1")).unwrap();
    until_event(&gateway, "committed", 1);
    drop(client);
    let replay = pay(&gateway, "k", b"a=1").unwrap();
    assert_eq!(told(&replay), charge(1));
    assert_eq!(service.count(), 1);
    // Those that leave at once lose nothing either.
    for number in 0..20 {
        send_and_leave(gateway.address(), &request(&format!("left-{number}"), b"")).unwrap();
    }
    assert_sound(&gateway);
}

/// Row 16: as long as the gateway lives, so does the lease.
#[test]
fn a_slow_service_keeps_its_key_past_the_lease() {
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let gateway = with_lease(service.address(), &redis);
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        // Each after a third of the lease.
        until_event(&gateway, "renewed", 4);
        let second = pay(&gateway, "k", b"").unwrap();
        assert_eq!(told(&second), (409, "in-flight".to_owned()));
        gate.open();
        first.join().unwrap()
    });
    assert_eq!(told(&first), charge(1));
    assert_replay(&pay(&gateway, "k", b"").unwrap(), &first);
    assert_eq!(service.count(), 1);
    assert_sound(&gateway);
}

/// Row 16: past its time an execution is not known to live. If it does, its answer counts.
#[test]
fn a_service_that_is_slower_than_the_policy_allows_is_unknown_until_it_answers() {
    let redis = Redis::start();
    let (service, gate) = Service::gated();
    let route = json!({"lease": LEASE, "execution": LEASE});
    let gateway = gateway(service.address(), policy(brisk(), route))
        .redis(&redis)
        .start();
    let first = thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        assert_unknown(&gateway, "k", b"");
        gate.open();
        first.join().unwrap()
    });
    assert_eq!(told(&first), charge(1));
    assert_replay(&pay(&gateway, "k", b"").unwrap(), &first);
    assert_eq!(service.count(), 1);
    assert_eq!(event(&gateway, "superseded"), 0);
    assert_sound(&gateway);
}

/// Row 26: a stream reaches its client as it comes.
#[test]
fn a_streamed_answer_is_passed_on_and_its_retries_are_told_that_it_was_not_kept() {
    let redis = Redis::start();
    let gate = Gate::closed();
    let theirs = gate.clone();
    let service = Service::start(move |_, _, stream| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )?;
        write!(stream, "9\r\ndata: 1\n\n\r\n")?;
        theirs.pass();
        write!(stream, "9\r\ndata: 2\n\n\r\n0\r\n\r\n")?;
        Ok(true)
    });
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    client.write_all(&request("k", b"")).unwrap();
    let mut heard = Vec::new();
    let mut hear = |what: &[u8]| {
        let mut chunk = [0; 1024];
        while !heard.windows(what.len()).any(|window| window == what) {
            let count = client.read(&mut chunk).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&chunk[..count]);
        }
    };
    hear(b"data: 1");
    gate.open();
    hear(b"data: 2");
    let retry = pay(&gateway, "k", b"").unwrap();
    assert_eq!(told(&retry), (409, "answer-not-kept".to_owned()));
    let problem: serde_json::Value = serde_json::from_slice(&retry.body).unwrap();
    assert_eq!(problem["original-status"], 200);
    assert_eq!(service.count(), 1);
    until_event(&gateway, "oversized", 1);
    assert_sound(&gateway);
}

/// Row 10: an operator has said that the first request was not carried out, which was wrong.
#[test]
fn an_answer_that_comes_after_its_key_was_freed_overwrites_nothing() {
    let redis = Redis::start();
    let gate = Gate::closed();
    let theirs = gate.clone();
    let service = Service::start(move |_, number, stream| {
        if number == 1 {
            theirs.pass();
        }
        made(stream, number)
    });
    let route = json!({"lease": LEASE, "execution": LEASE});
    let gateway = gateway(service.address(), policy(brisk(), route))
        .redis(&redis)
        .start();
    thread::scope(|scope| {
        let first = scope.spawn(|| pay(&gateway, "k", b"").unwrap());
        wait::until("the first to run", || service.count() == 1);
        let record = records(&redis).remove(0);
        let fence: String = redis.query(&["HGET", &record, "fence"]);
        let free = |fence: &str| -> Vec<String> {
            let script = include_str!("../../../plugins/core/src/idempotency/lua/resolve.lua");
            redis.query(&["EVAL", script, "1", &record, fence, "free", "0"])
        };
        assert_eq!(free(&fence)[0], "flight");
        assert_unknown(&gateway, "k", b"");
        assert_eq!(free("1"), ["changed"]);
        assert_eq!(free(&fence), ["resolved"]);
        let second = pay(&gateway, "k", b"").unwrap();
        assert_eq!(told(&second), charge(2));
        gate.open();
        let first = first.join().unwrap();
        assert_eq!(told(&first), (503, "not-recorded".to_owned()));
        assert_replay(&pay(&gateway, "k", b"").unwrap(), &second);
    });
    let fence = |seen: usize| -> u64 {
        let fence = service.executions()[seen].header("idempotency-fence");
        fence.unwrap().parse().unwrap()
    };
    assert!(fence(0) < fence(1), "the service can refuse the first");
    assert_eq!(service.count(), 2);
    until_event(&gateway, "superseded", 1);
    assert_sound(&gateway);
}

/// Who never finishes a request has no claim to its key.
#[test]
fn who_leaves_within_the_body_leaves_nothing() {
    let redis = Redis::start();
    let service = Service::counting();
    let gateway = gateway(service.address(), policy(json!({}), json!({})))
        .redis(&redis)
        .start();
    let whole = request("k", b"amount=1&to=bob");
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.write_all(&whole[..whole.len() - 5]).unwrap();
    wait::until("the filter to hold it", || count(&gateway, "open") == 1);
    drop(client);
    wait::until("the filter to forget it", || count(&gateway, "open") == 0);
    assert_eq!(records(&redis), Vec::<String>::new());
    assert_eq!(
        told(&pay(&gateway, "k", b"amount=1&to=bob").unwrap()),
        charge(1)
    );
    assert_sound(&gateway);
}
