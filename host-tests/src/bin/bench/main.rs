//! What the filters cost on a real Envoy: throughput of one worker as a ratio to a wasm filter that does nothing.
//!
//! `ROUNDS` and `TURNS` (of a second, in a round) can be set; arguments pick variants by their names, or by the beginning
//! with a `*` behind it.

mod coalesce;
mod crowd;
mod edits;
mod idempotency;
mod measure;
mod proxies;
mod rate_limit;
mod shard_route;
mod stampede;

use measure::{BASELINE, Effort};

fn main() {
    let setting = |name: &str, default: usize| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let effort = Effort {
        rounds: setting("ROUNDS", 5),
        turns: setting("TURNS", 3),
    };
    let picked: Vec<String> = std::env::args().skip(1).collect();
    println!(
        "one worker, {} rounds of {} turns of 1 s; ratios of requests per second, and of the gateway's processor time for \
         one request (us), to: {BASELINE}",
        effort.rounds, effort.turns
    );
    rate_limit::run(&picked, effort);
    idempotency::run(&picked, effort);
    shard_route::run(&picked, effort);
    coalesce::run(&picked, effort);
}
