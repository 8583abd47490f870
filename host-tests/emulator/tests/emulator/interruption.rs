//! A counter without compare-and-swap loses counts when workers interleave: the emulator must show it, and only where
//! calls are interrupted.

use crate::common;
use sluice_emulator::{Client, GatewayOptions, Plan, Request, World};
use std::time::Duration;

/// On each request: reads one byte of shared data, adds one, and writes it whatever is there by then.
const COUNTER: &str = r#"(module
    (import "env" "proxy_get_shared_data"
        (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data"
        (func $set (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "k")
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store8 (i32.const 1024) (i32.const 0))
        (drop (call $get (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20) (i32.const 24)))
        (i32.store8 (i32.const 32)
            (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))
        (drop (call $set (i32.const 0) (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 0)))
        (i32.const 0)))"#;

/// How far the counter came with 100 requests to two workers.
fn counted(plan: Plan, seed: u64) -> u8 {
    let mut world = World::new(seed, plan);
    let options = GatewayOptions::new(&common::wat(COUNTER), "").workers(2);
    let gateway = world.add_gateway(options).unwrap();
    for number in 0..100 {
        let at = Duration::from_micros(number * 20);
        world.request(at, gateway, None, Request::get("/"), Client::Patient);
    }
    assert!(world.run_to_quiet(Duration::from_secs(10)));
    let value = world.shared_data(gateway).get(&b"k"[..]).cloned();
    value.unwrap()[0]
}

#[test]
fn counts_are_lost_between_a_read_and_a_write_and_only_there() {
    assert_eq!(counted(Plan::calm(), 1), 100);
    let lost: Vec<u8> = (0..10)
        .map(|seed| 100 - counted(Plan::interleaved(), seed))
        .collect();
    assert!(lost.iter().all(|lost| *lost > 0), "{lost:?}");
}
