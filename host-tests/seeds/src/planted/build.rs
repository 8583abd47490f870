//! Builds the filters with the bugs in them: all filters from one copy of the sources, so that what they share is
//! compiled once.

use super::{Edit, numbered};
use crate::modules::root;
use crate::sweep::FILTERS;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The switch, as the copy has it.
const SWITCHES: &str = r#"
static PLANTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Plants a bug.
pub fn plant(bug: usize) {
    PLANTED.store(bug, std::sync::atomic::Ordering::Relaxed);
}

/// Whether this bug is planted.
#[must_use]
pub fn planted(bug: usize) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == bug
}

/// A script with the bug that is planted.
#[must_use]
pub fn planted_script(file: &str, text: &str) -> &'static str {
    let mut text = text.to_owned();
    for (bug, edited, old, new) in SCRIPT_EDITS {
        if planted(*bug) && *edited == file {
            text = text.replace(old, new);
        }
    }
    text.leak()
}
"#;

/// Builds them in a folder of their own under the target directory, where dependencies stay built. Answers where they are.
///
/// # Panics
/// When an edit does not fit its file any more, or the build fails.
#[must_use]
pub fn build() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("planted");
    // Not the repository's: Cargo takes the crates of two workspaces for the same when their paths within are.
    let built = folder.join("target");
    fs::create_dir_all(&folder).unwrap();
    write(&folder.join("Cargo.toml"), &workspace());
    write(
        &folder.join("Cargo.lock"),
        &read(&root().join("Cargo.lock")),
    );
    for (file, text) in edited_sources() {
        let text = if file.ends_with("Cargo.toml") {
            without_tests(&text)
        } else {
            text
        };
        write(&folder.join(file), &text);
    }
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--offline",
            "--target",
            "wasm32-wasip1",
        ])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", &built)
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    built.join("wasm32-wasip1/release")
}

/// The crates that are copied, below `plugins/`.
fn crates() -> impl Iterator<Item = &'static str> {
    let filters = FILTERS.iter().map(|filter| filter.name);
    ["core", "host"].into_iter().chain(filters)
}

/// The workspace's own manifest with fewer members, and a profile that builds fast.
fn workspace() -> String {
    let manifest = read(&root().join("Cargo.toml"));
    let (head, rest) = manifest.split_once("members = [").unwrap();
    let (_, rest) = rest.split_once(']').unwrap();
    let (rest, _) = rest.split_once("[profile.release]").unwrap();
    let rest: String = rest
        .split_inclusive('\n')
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let members: Vec<_> = crates().map(|name| format!("\"plugins/{name}\"")).collect();
    let members = members.join(", ");
    format!(
        "{head}members = [{members}]{rest}\n[profile.release]\nopt-level = 1\npanic = \"abort\"\nstrip = true\n"
    )
}

/// A manifest without what only tests need.
fn without_tests(manifest: &str) -> String {
    let Some((head, rest)) = manifest.split_once("[dev-dependencies]\n") else {
        return manifest.to_owned();
    };
    let rest = rest
        .split_once("\n[")
        .map_or(String::new(), |(_, rest)| format!("[{rest}"));
    format!("{head}{rest}")
}

/// The sources of the crates with all edits in them, by their paths in the repository.
fn edited_sources() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for name in crates() {
        collect(&root(), Path::new(&format!("plugins/{name}")), &mut files);
    }
    let mut scripts = String::from("const SCRIPT_EDITS: &[(usize, &str, &str, &str)] = &[");
    for (number, bug) in FILTERS.into_iter().flat_map(numbered) {
        for Edit { file, old, new } in bug.edits {
            let text = files
                .get_mut(*file)
                .unwrap_or_else(|| panic!("there is no {file}"));
            assert_eq!(
                text.matches(old).count(),
                1,
                "{}: {old:?} in {file}",
                bug.name
            );
            if let Some(script) = file.strip_suffix(".lua") {
                let script = script.rsplit('/').next().unwrap_or(script);
                scripts.push_str(&format!("({number}, {script:?}, {old:?}, {new:?}),"));
            } else {
                let own = if file.starts_with("plugins/core") {
                    "crate"
                } else {
                    "sluice_core"
                };
                *text = text.replace(
                    old,
                    &new.replace("{on}", &format!("{own}::planted({number})")),
                );
            }
        }
    }
    scripts.push_str("];\n");
    let mut edit = |file: &str, old: &str, new: &str| {
        let text = files.get_mut(file).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{old:?} in {file}");
        *text = text.replace(old, new);
    };
    for table in FILTERS.map(|filter| &filter.bugs) {
        let (including, names) = table.scripts;
        for name in names {
            let include = format!("include_str!(\"{name}.lua\")");
            let script = name.rsplit('/').next().unwrap_or(name);
            let planted = format!("crate::planted_script({script:?}, {include})");
            edit(including, &include, &planted);
        }
        let (file, load) = table.load;
        let plant = "sluice_core::plant(configuration::environment(\"PLANTED\").and_then(|bug| bug.parse().ok()).unwrap_or(0));";
        edit(file, load, &format!("{plant} {load}"));
    }
    if let Some(library) = files.get_mut("plugins/core/src/lib.rs") {
        library.push_str(SWITCHES);
        library.push_str(&scripts);
    }
    files
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(root, &path, files);
        } else {
            files.insert(path.to_string_lossy().into_owned(), read(&entry.path()));
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes only what has changed, so that only that is built again.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
