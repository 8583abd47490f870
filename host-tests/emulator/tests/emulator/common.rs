//! Filters for the tests, each compiled once.

use sluice_embed::{Engine, Limits, Module};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&Limits::default()).unwrap());

static MODULES: LazyLock<Mutex<HashMap<String, Module>>> = LazyLock::new(Mutex::default);

/// A built filter of `dist`.
pub fn built(name: &str) -> Module {
    let mut modules = MODULES.lock().unwrap();
    let load = || {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../dist")
            .join(name);
        let wasm = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; `make build` makes it", path.display()));
        ENGINE.compile(&wasm).unwrap()
    };
    modules.entry(name.to_owned()).or_insert_with(load).clone()
}

/// A filter written by hand.
pub fn wat(text: &str) -> Module {
    ENGINE.compile(&wat::parse_str(text).unwrap()).unwrap()
}

pub fn rate_limit() -> Module {
    built("rate-limit.wasm")
}

/// How many exchanges got each status; 0 where there was no answer.
pub fn tally(world: &sluice_emulator::World) -> Vec<(u16, usize)> {
    let mut tally = std::collections::BTreeMap::new();
    for exchange in world.exchanges() {
        *tally.entry(exchange.status()).or_insert(0) += 1;
    }
    tally.into_iter().collect()
}
