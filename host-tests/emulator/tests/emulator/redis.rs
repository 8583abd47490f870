//! Limits whose counts are in the model Redis, and what can go wrong on the way there.

use crate::common;
use sluice_emulator::{Client, Cluster, Fault, GatewayOptions, Plan, Request, World};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn policy(transport: &str, on_error: &str) -> String {
    format!(
        r#"{{"redis": {{"cluster": "r", "transport": "{transport}", "timeout": "200ms", "on_error": "{on_error}"}},
        "limits": [{{"name": "all", "key": [{{"header": "x-k"}}], "rate": "20/day", "mode": "strict"}}]}}"#
    )
}

fn options(transport: &str, on_error: &str) -> GatewayOptions {
    let cluster = match transport {
        "stream" => Cluster::RedisStream,
        _ => Cluster::Redis,
    };
    GatewayOptions::new(&common::rate_limit(), policy(transport, on_error))
        .workers(2)
        .cluster("r", cluster)
}

/// Two gateways with two workers each, one Redis, and so many requests of one client.
fn world(seed: u64, plan: Plan, transport: &str, on_error: &str, requests: u64) -> World {
    let mut world = World::new(seed, plan);
    for _ in 0..2 {
        let gateway = world.add_gateway(options(transport, on_error)).unwrap();
        for number in 0..requests / 2 {
            let at = Duration::from_micros(number * 100);
            let request = Request::get("/").header("x-k", "a");
            world.request(at, gateway, None, request, Client::AsPlanned);
        }
    }
    world
}

fn passed(world: &World) -> usize {
    world.origin_log().len()
}

#[test]
fn a_strict_limit_counts_for_all_gateways_together() {
    for transport in ["callout", "stream"] {
        let mut world = world(7, Plan::interleaved(), transport, "deny", 100);
        assert!(world.run_to_quiet(LIMIT));
        assert_eq!(common::tally(&world), [(200, 20), (429, 80)], "{transport}");
        assert!(!world.redis().keys().is_empty());
    }
}

/// A calm world in which Redis knows the scripts, and how often each has run since.
fn warmed_up(seed: u64, transport: &str, on_error: &str) -> (World, impl Fn(&mut World) -> usize) {
    let mut world = world(seed, Plan::calm(), transport, on_error, 0);
    let gateway = world.add_gateway(options(transport, on_error)).unwrap();
    let request = Request::get("/").header("x-k", "warm");
    world.request(Duration::ZERO, gateway, None, request, Client::Patient);
    assert!(world.run_to_quiet(LIMIT));
    assert_eq!(common::tally(&world), [(200, 1)]);
    let keys = world.redis().keys().len();
    (world, move |world| world.redis().keys().len() - keys)
}

fn ask(world: &mut World, client: &str) -> u16 {
    let gateway = world.exchange(0).gateway;
    let request = Request::get("/").header("x-k", client);
    let sent = world.request(world.now(), gateway, None, request, Client::Patient);
    assert!(world.run_to_quiet(world.now() + LIMIT));
    world.exchange(sent).status()
}

#[test]
fn a_lost_reply_has_charged_in_redis_and_is_not_asked_for_again() {
    let (mut world, charges) = warmed_up(8, "callout", "deny");
    world.change_plan(|plan| plan.callouts.lost_reply = 1.0);
    assert_eq!(ask(&mut world, "a"), 503);
    assert_eq!(charges(&mut world), 1, "{}", world.trace());
    assert_eq!(world.trace().matches("LostReply").count(), 1);
}

#[test]
fn replies_lost_on_a_stream_fail_what_waits_on_it() {
    let (mut world, charges) = warmed_up(9, "stream", "deny");
    world.change_plan(|plan| plan.streams.lost_reply = 1.0);
    assert_eq!(ask(&mut world, "a"), 503);
    assert_eq!(charges(&mut world), 1, "{}", world.trace());
}

#[test]
fn a_late_request_is_executed_after_its_filter_has_given_up() {
    let (mut world, charges) = warmed_up(10, "callout", "allow");
    world.change_plan(|plan| plan.callouts.late_request = 1.0);
    assert_eq!(ask(&mut world, "a"), 200);
    world.run_for(Duration::from_secs(1));
    assert_eq!(charges(&mut world), 1, "{}", world.trace());
    let trace = world.trace();
    let given_up = trace.find("ends: 504").unwrap();
    assert!(
        given_up < trace.find("is executed late").unwrap(),
        "{trace}"
    );
}

#[test]
fn a_request_that_is_reset_is_never_executed() {
    let (mut world, charges) = warmed_up(12, "callout", "deny");
    world.change_plan(|plan| plan.callouts.reset = 1.0);
    assert_eq!(ask(&mut world, "a"), 503);
    world.run_for(Duration::from_secs(1));
    assert_eq!(charges(&mut world), 0);
}

#[test]
fn redis_can_go_and_come_back() {
    let plan = Plan::calm()
        .at(Duration::ZERO, Fault::RedisDown)
        .at(Duration::from_secs(10), Fault::RedisUp);
    for transport in ["callout", "stream"] {
        let mut world = world(11, plan.clone(), transport, "deny", 10);
        assert!(world.run_to_quiet(LIMIT));
        assert_eq!(
            common::tally(&world),
            [(503, 10)],
            "{transport}: {}",
            world.trace()
        );
        world.run_until(Duration::from_secs(20));
        let request = Request::get("/").header("x-k", "a");
        let gateway = world.exchange(0).gateway;
        let sent = world.request(world.now(), gateway, None, request, Client::Patient);
        assert!(world.run_to_quiet(LIMIT));
        assert_eq!(
            world.exchange(sent).status(),
            200,
            "{transport}: {}",
            world.trace()
        );
        assert_eq!(passed(&world), 1);
    }
}
