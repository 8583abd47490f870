//! `sluice shard` says of a policy what the filter does with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shard(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .arg("shard")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy-config/policies");
    folder.join(name).to_string_lossy().into_owned()
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_key_is_explained() {
    let users = example("shard-route-users.json");
    // CRC16 of 123456789 is 0x31C3.
    let (code, out, _) = shard(&["explain", "--policy", &users, "--key", " 123456789"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("key    123456789\n") && out.contains("slot   12739 of 16384"),
        "{out}"
    );
    let (_, out, _) = shard(&["explain", "--policy", &users, "--key", "BIG-tenant"]);
    assert!(out.contains("the key is pinned\nshard  s3"), "{out}");

    let full = example("shard-route-full.json");
    let (code, _, error) = shard(&["explain", "--policy", &full, "--key", "7"]);
    assert_eq!(
        (code, error.as_str()),
        (1, "say --table, one of: tenants, orders\n")
    );
    let (code, out, _) = shard(&[
        "explain", "--policy", &full, "--table", "orders", "--key", "07",
    ]);
    assert_eq!(code, 0);
    assert!(out.contains("key    7\ntable  orders"), "{out}");
    let (code, _, error) = shard(&[
        "explain", "--policy", &full, "--table", "orders", "--key", "x",
    ]);
    assert_eq!(
        (code, error.as_str()),
        (1, "\"x\" is no key of the table's route\n")
    );
}

#[test]
fn a_plan_says_what_moves_before_it_does() {
    let folder = tempfile::TempDir::new().unwrap();
    let policy = |shards: &str| {
        format!(
            r#"{{"tables": {{"t": {{"fill": "jump", "shards": {shards}}}}},
                "routes": [{{"name": "r", "table": "t", "key": ["consumer"]}}]}}"#
        )
    };
    let four = written(folder.path(), "4.json", &policy(r#"["a", "b", "c", "d"]"#));
    let five = written(
        folder.path(),
        "5.json",
        &policy(r#"["a", "b", "c", "d", "e"]"#),
    );
    let (four, five) = (four.to_str().unwrap(), five.to_str().unwrap());
    let (code, out, _) = shard(&["plan", "--from", four, "--to", five]);
    assert_eq!(code, 0);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 5, "{out}");
    assert!(
        lines.iter().take(4).all(|line| line.contains(" -> e  ")),
        "{out}"
    );
    assert!(
        out.contains(" of 16384 slots move, ") && out.contains("the least for these shares is")
    );
    // A policy's own migration is the same change.
    let (_, own, _) = shard(&["plan", "--from", &example("shard-route-users.json")]);
    let numbers = |text: &str| -> Vec<u32> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect()
    };
    assert_eq!(
        numbers(own.lines().last().unwrap()),
        numbers(lines.last().unwrap())
    );
    let (code, _, error) = shard(&["plan", "--from", four]);
    assert_eq!(
        (code, error.as_str()),
        (1, "table t has no migration: say --to\n")
    );
}

#[test]
fn skew_is_told_of_a_list_of_keys() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut keys: String = (0..1_000).map(|key| format!("{key}\n")).collect();
    keys.push_str(&"7\n".repeat(1_000));
    let keys = written(folder.path(), "keys", &keys);
    let policy = example("shard-route-minimal.json");
    let (code, out, _) = shard(&[
        "skew",
        "--policy",
        &policy,
        "--keys",
        keys.to_str().unwrap(),
    ]);
    assert_eq!(code, 0);
    assert!(out.contains("2000 keys; the fullest shard has "), "{out}");
    assert!(out.contains("the hottest slot is "), "{out}");
}

const REFRESHED: &str = r#"{
    "refresh": {"version": VERSION, "secret": "0123456789abcdef"}, "redis": {"cluster": "redis"},
    "tables": {"t": {"shards": ["a", "b"]}},
    "routes": [{"name": "r", "table": "t", "key": ["consumer"]}]
}"#;

#[test]
fn tables_are_published_and_an_older_version_is_not() {
    let folder = tempfile::TempDir::new().unwrap();
    let redis = host_tests::redis::Redis::start();
    let url = format!("redis://{}", redis.address());
    let publish = |version: &str, url: &str| {
        let text = REFRESHED.replace("VERSION", version);
        let file = written(folder.path(), "policy.json", &text);
        shard(&[
            "publish",
            "--policy",
            &file.to_string_lossy(),
            "--redis",
            url,
        ])
    };
    let (code, out, error) = publish("3", &url);
    assert_eq!(
        (code, out.as_str(), error.as_str()),
        (
            0,
            "version 3 is published at sluice:shard-tables:tables, after 0\n",
            ""
        )
    );
    let (code, out, _) = publish("12", &url);
    assert_eq!((code, out.ends_with("after 3\n")), (0, true), "{out}");
    for older in ["12", "11"] {
        let (code, _, error) = publish(older, &url);
        let said = format!(
            "found {older}, expected more than 12, which is published at sluice:shard-tables:tables\n"
        );
        assert!(code == 1 && error.ends_with(&said), "{error}");
    }
    let there: Vec<String> =
        redis.query(&["HMGET", "sluice:shard-tables:tables", "version", "tables"]);
    assert_eq!(there, ["12", r#"{"tables":{"t":{"shards":["a","b"]}}}"#]);
    let (code, _, error) = publish("0", &url);
    assert!(
        code == 1 && error.ends_with("refresh.version: found 0, expected at least 1\n"),
        "{error}"
    );
    let (code, _, error) = publish("13", "redis://127.0.0.1:1");
    assert!(code == 3 && error.starts_with("redis: "), "{error}");
    let users = example("shard-route-users.json");
    let (code, _, error) = shard(&["publish", "--policy", &users, "--redis", &url]);
    let said = "refresh: found nothing, expected where the tables are published\n";
    assert!(code == 1 && error.ends_with(said), "{error}");
}
