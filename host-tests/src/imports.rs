//! Which host functions a built filter imports, and which ones it is allowed: `envoy-config/host-functions.txt`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use wasmparser::{Parser, Payload};

use crate::tools;

/// The allow-list, read.
#[derive(Debug)]
pub struct HostFunctions {
    /// What a filter may call, and what the gateway may call in it.
    pub allowed: BTreeSet<String>,
    /// What the SDK links into every filter although none calls it: Envoy is told to refuse it.
    pub refused: BTreeSet<String>,
}

impl HostFunctions {
    /// # Panics
    /// When the file is not there.
    #[must_use]
    pub fn read() -> Self {
        let path = tools::root().join("envoy-config/host-functions.txt");
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (refused, allowed): (Vec<&str>, Vec<&str>) =
            lines.partition(|line| line.starts_with('-'));
        Self {
            allowed: allowed.into_iter().map(str::to_owned).collect(),
            refused: refused
                .into_iter()
                .map(|line| line.trim_start_matches('-').to_owned())
                .collect(),
        }
    }
}

/// The names of the functions that a module imports.
///
/// # Panics
/// When the file is no WebAssembly module, or imports something other than functions.
#[must_use]
pub fn imports(wasm: &Path) -> BTreeSet<String> {
    let bytes = fs::read(wasm).unwrap_or_else(|error| panic!("{}: {error}", wasm.display()));
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(&bytes) {
        if let Payload::ImportSection(section) = payload.expect("a WebAssembly module") {
            for import in section.into_imports() {
                let import = import.expect("an import");
                assert!(
                    matches!(import.ty, wasmparser::TypeRef::Func(_)),
                    "{} is no function",
                    import.name
                );
                names.insert(import.name.to_owned());
            }
        }
    }
    names
}
