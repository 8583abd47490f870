//! Filters, compiled once for a whole process.

use sluice_embed::{Engine, Limits, Module};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&Limits::default()).unwrap());

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compiles the filter of this file.
///
/// # Panics
/// When there is none; `make build` makes it.
#[must_use]
pub fn compile(path: &Path) -> Module {
    let wasm = std::fs::read(path)
        .unwrap_or_else(|error| panic!("{}: {error}; `make build` makes it", path.display()));
    ENGINE.compile(&wasm).unwrap()
}

/// The filter of this name that users load.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn built(name: &'static str) -> Module {
    static BUILT: Mutex<BTreeMap<&str, Module>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap();
    let compiled = || compile(&root().join(format!("dist/{name}.wasm")));
    built.entry(name).or_insert_with(compiled).clone()
}
