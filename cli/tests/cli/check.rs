//! `sluice check` says what the gateway would.

use std::fs;
use std::path::Path;
use std::process::Command;

fn check(filter: &str, policy: &Path) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["check", filter])
        .arg(policy)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn every_example_is_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy-config/policies");
    let mut count = 0;
    for filter in ["coalesce", "rate-limit", "idempotency", "shard-route"] {
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap();
            if file.file_name().to_str().unwrap().starts_with(filter) {
                let (code, out, error) = check(filter, &file.path());
                assert_eq!(code, 0, "{error}");
                assert!(out.contains(": ok, "), "{out}");
                count += 1;
            }
        }
    }
    assert!(count >= 12, "{count}");
}

#[test]
fn a_mistake_is_told_with_its_place() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("p.json");
    fs::write(
        &file,
        r#"{"redis": {"cluster": "r"}, "routes": [{"name": "a", "scope": []}]}"#,
    )
    .unwrap();
    let (code, out, error) = check("idempotency", &file);
    assert_eq!((code, out.as_str()), (1, ""));
    let expected = format!(
        "{}: routes[0].scope: found an empty list, expected at least one item\n",
        file.display()
    );
    assert_eq!(error, expected);
    assert_eq!(check("rate-limit", &file).0, 1);
    assert_eq!(check("rate-limit", &folder.path().join("none.json")).0, 1);
    assert_eq!(check("coalesced", &file).0, 2);
}
