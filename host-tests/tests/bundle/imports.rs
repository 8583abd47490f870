//! A filter that imports one function its host lacks does not load: every built filter stays within the allow-list.

use std::path::PathBuf;

use host_tests::imports::{HostFunctions, imports};
use host_tests::tools;

fn built() -> Vec<PathBuf> {
    ["", "test"]
        .iter()
        .flat_map(|folder| {
            tools::root()
                .join("dist")
                .join(folder)
                .read_dir()
                .into_iter()
                .flatten()
        })
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .collect()
}

#[test]
fn a_built_filter_imports_nothing_outside_the_allow_list() {
    let known = HostFunctions::read();
    let built = built();
    assert!(!built.is_empty(), "dist/ is empty: run `make build` first");
    // The probe asks the host for all that there is; nobody loads it but the tests.
    let filters = built
        .into_iter()
        .filter(|wasm| !wasm.ends_with("probe.wasm"));
    for wasm in filters {
        let unknown: Vec<String> = imports(&wasm)
            .into_iter()
            .filter(|name| !known.allowed.contains(name) && !known.refused.contains(name))
            .collect();
        assert!(
            unknown.is_empty(),
            "{} imports {unknown:?}, see envoy-config/host-functions.txt",
            wasm.display()
        );
    }
}
