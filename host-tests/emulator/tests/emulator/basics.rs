//! One gateway, nothing hostile: what a filter and its clients see.

use crate::common;
use sluice_emulator::{
    CallAnswer, Client, Cluster, Ended, GatewayOptions, OriginReply, OriginRequest, Plan, Request,
    World,
};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_filter_that_does_nothing_passes_a_request_and_its_response() {
    let mut world = World::new(1, Plan::calm());
    let options = GatewayOptions::new(&common::built("test/noop.wasm"), "");
    let gateway = world
        .add_gateway(options.origin(|request: &OriginRequest| {
            let mut reply = OriginReply::new(201, "").header("x-from", "origin");
            reply.body = vec![b"you said ".to_vec(), request.body.clone()];
            reply
        }))
        .unwrap();
    let request = Request::new("POST", "/path?q=1")
        .header("x-a", "b")
        .piece("he")
        .piece("llo");
    let sent = world.request(Duration::ZERO, gateway, None, request, Client::Patient);
    assert!(world.run_to_quiet(LIMIT));

    let exchange = world.exchange(sent);
    let answer = exchange.answer.clone().unwrap();
    assert_eq!((answer.status, answer.complete), (201, true));
    assert_eq!(answer.header("x-from").as_deref(), Some("origin"));
    assert_eq!(answer.body, b"you said hello");
    assert_eq!(exchange.ended, Ended::Answered);
    let seen = &world.origin_log()[exchange.at_origin.unwrap()];
    assert_eq!(seen.header(":path").as_deref(), Some("/path?q=1"));
    assert_eq!(seen.header("x-a").as_deref(), Some("b"));
    assert!(seen.complete && !seen.reset);
    assert!(world.now() > Duration::ZERO, "the network takes time");
}

#[test]
fn a_local_limit_passes_its_burst_and_no_more_with_four_workers() {
    let mut world = World::new(2, Plan::interleaved());
    let policy = r#"{"limits": [{"name": "all", "key": [{"header": "x-k"}], "rate": "50/day"}]}"#;
    let options = GatewayOptions::new(&common::rate_limit(), policy).workers(4);
    let gateway = world.add_gateway(options).unwrap();
    for number in 0..200 {
        let at = Duration::from_micros(number);
        let request = Request::get("/").header("x-k", "a");
        world.request(at, gateway, None, request, Client::Patient);
    }
    assert!(world.run_to_quiet(LIMIT));
    assert_eq!(common::tally(&world), [(200, 50), (429, 150)]);
    assert_eq!(world.origin_log().len(), 50);
    let denied = world
        .exchanges()
        .into_iter()
        .find(|it| it.status() == 429)
        .unwrap();
    assert!(denied.answer.unwrap().header("retry-after").is_some());
}

#[test]
fn a_policy_with_a_mistake_does_not_start() {
    let mut world = World::new(3, Plan::calm());
    let options = GatewayOptions::new(&common::rate_limit(), r#"{"limits": 1}"#);
    assert!(world.add_gateway(options).is_err());
    assert!(
        world.trace().contains("the policy is refused"),
        "{}",
        world.trace()
    );
}

#[test]
fn a_step_by_step_driver_can_look_in_between() {
    let mut world = World::new(4, Plan::calm());
    let options = GatewayOptions::new(&common::built("test/noop.wasm"), "");
    let gateway = world.add_gateway(options).unwrap();
    let sent = world.request(
        Duration::ZERO,
        gateway,
        Some(0),
        Request::get("/"),
        Client::Patient,
    );
    assert!(world.run_until_true(LIMIT, |world| world.origin_log().len() == 1));
    assert_eq!(world.exchange(sent).ended, Ended::Open);
    assert_eq!(world.under_way(gateway, 0), 1);
    assert!(world.run_until_true(LIMIT, |world| world.exchange(sent).status() == 200));
    assert!(!world.run_until_true(LIMIT, |world| world.origin_log().len() == 2));
    assert_eq!(world.under_way(gateway, 0), 0);
}

#[test]
fn strict_limits_ask_the_server_behind_the_cluster_and_fail_as_the_policy_says() {
    let policy = r#"{"redis": {"cluster": "r", "on_error": "deny"},
        "limits": [{"name": "all", "key": [{"header": "x-k"}], "rate": "5/day", "mode": "strict"}]}"#;
    let mut world = World::new(5, Plan::calm());
    let silent = Cluster::Http(Box::new(|_| CallAnswer::Silent));
    let options = GatewayOptions::new(&common::rate_limit(), policy).cluster("r", silent);
    let gateway = world.add_gateway(options).unwrap();
    let request = Request::get("/").header("x-k", "a");
    let sent = world.request(Duration::ZERO, gateway, None, request, Client::Patient);
    assert!(world.run_to_quiet(LIMIT));
    assert!(world.exchange(sent).status() >= 429, "{}", world.trace());
    assert!(world.trace().contains("ends: 504"), "{}", world.trace());
    assert!(world.origin_log().is_empty());
}
