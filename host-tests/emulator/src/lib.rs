//! A deterministic emulator of gateways that run proxy-wasm filters: the compiled `.wasm`, unchanged, in several workers
//! of several gateways, with clients, an origin, callouts and a Redis, under a virtual clock.
//!
//! Everything that happens is an entry of a schedule that is drawn from a seed: in which order things come, where calls
//! into the filter are interrupted by other workers, and what goes wrong. The same seed gives the same trace, to the
//! byte.
//!
//! ```no_run
//! use sluice_emulator::{Client, GatewayOptions, Plan, Request, World};
//! use std::time::Duration;
//!
//! let engine = sluice_embed::Engine::new(&sluice_embed::Limits::default()).unwrap();
//! let module = engine.compile(&std::fs::read("my-filter.wasm").unwrap()).unwrap();
//! let mut world = World::new(42, Plan::interleaved());
//! let gateway = world.add_gateway(GatewayOptions::new(&module, "{}").workers(2)).unwrap();
//! let sent = world.request(Duration::ZERO, gateway, None, Request::get("/"), Client::Patient);
//! assert!(world.run_to_quiet(Duration::from_secs(10)));
//! assert_eq!(world.exchange(sent).status(), 200);
//! ```

mod attributes;
mod baton;
mod callout;
mod core;
mod draws;
mod event;
mod exchange;
mod faults;
mod gateway;
mod iterate;
mod origin;
mod plan;
mod redis;
mod reply;
mod schedule;
mod seeds;
mod services;
mod side;
mod start;
mod stream;
mod tasks;
mod trace;
mod worker;
mod world;

pub use callout::{CallAnswer, Cluster};
pub use exchange::{
    Answer, Client, Ended, Exchange, OriginReply, OriginRequest, OriginTrouble, Request,
};
pub use gateway::{FailurePolicy, GatewayOptions, Origin};
pub use plan::{
    CalloutFaults, Fault, Interruption, Latency, OriginFaults, Plan, Span, StreamFaults,
};
pub use seeds::seeds;
pub use world::{GatewayId, Redis, World};
