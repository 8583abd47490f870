//! Filters, compiled once for a whole process.

use sluice_embed::{Engine, Limits, Module};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

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

/// The filter that users load.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn rate_limit() -> Module {
    static RATE_LIMIT: LazyLock<Module> =
        LazyLock::new(|| compile(&root().join("dist/rate-limit.wasm")));
    RATE_LIMIT.clone()
}
