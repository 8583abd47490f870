//! How many seeds a second: two gateways with two workers, one Redis, 200 requests of rate-limit.wasm each.
//!
//!     cargo run --profile tools -p sluice-emulator --example speed -- dist/rate-limit.wasm 200

use sluice_emulator::{Client, Cluster, GatewayOptions, Plan, Request, World};
use std::time::{Duration, Instant};

const POLICY: &str = r#"{"redis": {"cluster": "redis", "timeout": "20ms"},
    "limits": [
        {"name": "near", "key": [{"header": "x-k"}], "rate": "100/day"},
        {"name": "far", "key": [{"header": "x-k"}], "rate": "30/day", "mode": "strict"}
    ]}"#;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .unwrap_or_else(|| "dist/rate-limit.wasm".into());
    let seeds: u64 = arguments.next().map_or(200, |seeds| seeds.parse().unwrap());
    let engine = sluice_embed::Engine::new(&sluice_embed::Limits::default()).unwrap();
    let module = engine.compile(&std::fs::read(path).unwrap()).unwrap();
    for (name, plan) in [
        ("calm", Plan::calm()),
        ("interleaved", Plan::interleaved()),
        ("hostile", Plan::hostile()),
    ] {
        let began = Instant::now();
        let mut events = 0;
        for seed in 0..seeds {
            let mut world = World::new(seed, plan.clone());
            let gateways = [(); 2].map(|()| {
                let options = GatewayOptions::new(&module, POLICY);
                let options = options.workers(2).cluster("redis", Cluster::Redis);
                world.add_gateway(options).unwrap()
            });
            for number in 0..200 {
                let at = Duration::from_micros(number * 40);
                let gateway = gateways[usize::try_from(world.draw(2)).unwrap()];
                let request = Request::get("/").header("x-k", world.draw(4).to_string());
                world.request(at, gateway, None, request, Client::AsPlanned);
            }
            assert!(world.run_to_quiet(Duration::from_secs(400)));
            events += world.trace().lines().count();
        }
        let took = began.elapsed();
        let each = took / u32::try_from(seeds).unwrap();
        println!(
            "{name:12} {each:?} a seed, {} lines of trace a seed",
            events as u64 / seeds
        );
    }
}
