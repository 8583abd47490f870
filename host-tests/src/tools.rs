//! Where the programs and the filters are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("host-tests lies in the repository")
}

/// The Envoy to run: `SLUICE_ENVOY`, else what `tools/get-envoy.sh` finds or installs.
#[must_use]
pub fn envoy() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("SLUICE_ENVOY", "get-envoy.sh"))
}

/// The redis-server to run: `SLUICE_REDIS`, else what `tools/get-redis.sh` finds or installs.
#[must_use]
pub fn redis_server() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("SLUICE_REDIS", "get-redis.sh"))
}

/// The etcd to run: `SLUICE_ETCD`, else what `tools/get-etcd.sh` finds or installs.
#[must_use]
pub fn etcd() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("SLUICE_ETCD", "get-etcd.sh"))
}

fn find(variable: &str, script: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let script = root().join("host-tests/tools").join(script);
    let output = Command::new(&script).output().expect("bash runs");
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(
        output.status.success() && !path.is_empty(),
        "{} finds nothing (set {variable} to a path): {}",
        script.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    path.into()
}

/// The load generator of the benchmarks: `SLUICE_WRK`, else what `tools/get-wrk.sh` finds or installs.
#[must_use]
pub fn wrk() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("SLUICE_WRK", "get-wrk.sh"))
}

/// The folder of the public tests of HTTP caches: `SLUICE_CACHE_TESTS`, else where `tools/get-cache-tests.sh` finds or
/// installs them.
#[must_use]
pub fn cache_tests() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| find("SLUICE_CACHE_TESTS", "get-cache-tests.sh"))
}

/// A built filter by its name, for example `rate-limit`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn wasm(name: &str) -> PathBuf {
    let dist = root().join("dist");
    let file = format!("{name}.wasm");
    let path = [dist.join(&file), dist.join("test").join(&file)]
        .into_iter()
        .find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{} has no {file}: run `make build` first", dist.display()))
}
