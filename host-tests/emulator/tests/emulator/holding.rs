//! What becomes of bodies and heads that a filter holds back.

use crate::common;
use sluice_emulator::{
    Client, Ended, Exchange, GatewayOptions, OriginReply, OriginRequest, OriginTrouble, Plan,
    Request, World,
};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(400);

/// A filter with these bodies of the callbacks for request headers, request body (1: size, 2: end), and response body.
fn filter(request_headers: &str, request_body: &str, response_body: &str) -> String {
    format!(
        r#"(module
        (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
        (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
        (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
        (memory (export "memory") 1)
        (global $paused (mut i32) (i32.const 0))
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $tick (i32.const 10))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
            (if (i32.eqz (call $effective (global.get $paused)))
                (then (drop (call $continue (i32.const 0))))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {request_headers})
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) {request_body})
        (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) {response_body}))"#
    )
}

const GO: &str = "(i32.const 0)";
/// Pauses until the end has come.
const UNTIL_END: &str = "(i32.eqz (local.get 2))";
/// Pauses, until the next tick.
const UNTIL_TICK: &str = "(global.set $paused (local.get 0)) (i32.const 1)";

fn run(filter: &str, reply: OriginReply, request: Request, limit: usize) -> (World, Exchange) {
    let mut world = World::new(1, Plan::calm());
    let mut options = GatewayOptions::new(&common::wat(filter), "");
    options.buffer_limit = limit;
    let options = options.origin(move |_: &OriginRequest| reply.clone());
    let gateway = world.add_gateway(options).unwrap();
    let sent = world.request(Duration::ZERO, gateway, None, request, Client::Patient);
    assert!(world.run_to_quiet(LIMIT), "{}", world.trace());
    let exchange = world.exchange(sent);
    (world, exchange)
}

fn post() -> Request {
    Request::new("POST", "/")
        .piece("one ")
        .piece("two ")
        .piece("three")
}

#[test]
fn a_body_held_to_its_end_comes_whole() {
    let filter = filter(GO, UNTIL_END, UNTIL_END);
    let mut reply = OriginReply::new(200, "");
    reply.body = vec![b"a".to_vec(), b"b".to_vec()];
    let (world, exchange) = run(&filter, reply, post(), 100);
    assert_eq!(world.origin_log()[0].body, b"one two three");
    let answer = exchange.answer.unwrap();
    assert_eq!(
        (answer.status, answer.body, answer.complete),
        (200, b"ab".to_vec(), true)
    );
}

#[test]
fn a_held_request_past_the_limit_is_answered_413() {
    let filter = filter(GO, UNTIL_END, GO);
    let (world, exchange) = run(&filter, OriginReply::new(200, ""), post(), 9);
    assert_eq!(exchange.status(), 413, "{}", world.trace());
    assert_eq!(exchange.details, "request_payload_too_large");
    assert!(world.origin_log().iter().all(|seen| !seen.complete));
}

#[test]
fn a_held_response_past_the_limit_breaks_off() {
    let filter = filter(GO, GO, UNTIL_END);
    let mut reply = OriginReply::new(200, "");
    reply.body = vec![vec![b'a'; 60], vec![b'b'; 60]];
    let (world, exchange) = run(&filter, reply, Request::get("/"), 100);
    assert_eq!(exchange.ended, Ended::Reset, "{}", world.trace());
    assert_eq!(exchange.details, "response_payload_too_large");
}

#[test]
fn a_paused_head_holds_the_body_too_and_the_filter_sees_it_later() {
    // It would hold the body until its end, so it must see it after the tick.
    let filter = filter(UNTIL_TICK, UNTIL_END, GO);
    let (world, exchange) = run(&filter, OriginReply::new(204, ""), post(), 9);
    assert_eq!(exchange.status(), 204, "{}", world.trace());
    let seen = &world.origin_log()[0];
    assert_eq!(seen.body, b"one two three");
    assert!(seen.at >= Duration::from_millis(10), "{:?}", seen.at);
}

#[test]
fn a_request_that_nobody_resumes_ends_by_the_idle_timeout() {
    let filter = filter("(i32.const 1)", GO, GO);
    let (world, exchange) = run(&filter, OriginReply::new(200, ""), Request::get("/"), 9);
    assert_eq!(exchange.status(), 504, "{}", world.trace());
    assert_eq!(exchange.ended_at, Duration::from_secs(300));
    assert!(world.origin_log().is_empty());
}

#[test]
fn troubles_of_the_origin_are_answered_as_the_gateway_words_them() {
    let filter = filter(GO, GO, GO);
    for (trouble, status, details) in [
        (
            OriginTrouble::ResetBefore,
            503,
            "upstream_reset_before_response_started{connection_termination}",
        ),
        (OriginTrouble::Silent, 504, "response_timeout"),
        (
            OriginTrouble::ResetAfter(1),
            200,
            "upstream_reset_after_response_started{protocol_error}",
        ),
    ] {
        let mut reply = OriginReply::failing(trouble);
        reply.body = vec![b"half".to_vec(), b"gone".to_vec()];
        let (world, exchange) = run(&filter, reply, Request::get("/"), 100);
        assert_eq!(exchange.status(), status, "{}", world.trace());
        assert_eq!(exchange.details, details);
        let answer = exchange.answer.unwrap();
        assert_eq!(answer.complete, trouble != OriginTrouble::ResetAfter(1));
    }
}
