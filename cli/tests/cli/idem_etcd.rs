//! `sluice idem` on a real etcd.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use host_tests::etcd::{Etcd, Kv};
use serde_json::Value;
use sluice_core::idempotency::etcd::record::{Record, What};
use sluice_core::idempotency::store::Kind;
use sluice_core::idempotency::stored::Stored;
use sluice_core::policy::idempotency::Idempotency;
use tempfile::TempDir;

const POLICY: &str = r#"{"etcd": {"cluster": "etcd"},
    "routes": [{"name": "pay", "scope": [{"header": "x-account"}]}]}"#;
const LOGIN: &str = r#"{"etcd": {"cluster": "etcd", "username": "sluice", "password": {"env": "ETCD_PASSWORD"}},
    "routes": [{"name": "pay", "scope": [{"header": "x-account"}]}]}"#;

struct Desk {
    etcd: Etcd,
    policy: Idempotency,
    folder: TempDir,
    password: Option<&'static str>,
}

impl Desk {
    fn new(policy: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("policy.json"), policy).unwrap();
        Self {
            etcd: Etcd::start(),
            policy: Idempotency::load(policy.as_bytes()).unwrap(),
            folder,
            password: None,
        }
    }

    /// A record as a gateway writes it; `lease`: how many seconds from now it ends.
    fn flight(&self, key: &str, lease: i64) -> String {
        let scope = self.policy.scope("pay", &["ann".to_owned()], key).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let ends = (now.as_micros() as u64).saturating_add_signed(lease * 1_000_000);
        let print = "7".repeat(64);
        let line = format!(
            r#"{{"v":1,"state":"flight","token":"t","fp":"{print}","lease":{ends},"started":5,"route":"pay","key":"{key}"}}"#
        );
        let name = String::from_utf8(self.policy.keys().record(&scope)).unwrap();
        self.etcd.put(&name, format!("{line}\n").as_bytes());
        scope.hex()
    }

    fn kv(&self, scope: &str) -> Option<Kv> {
        let all = self.etcd.keys("sluice:idem:");
        all.into_iter().find(|kv| kv.key.ends_with(scope))
    }

    fn record(&self, scope: &str) -> Record {
        Record::read(&self.kv(scope).unwrap().value).unwrap()
    }

    /// Exit code, output, errors.
    fn idem(&self, arguments: &[&str]) -> (i32, String, String) {
        let url = format!("http://{}/", self.etcd.address());
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command
            .args(["idem", arguments[0], "--etcd", &url, "--policy"])
            .arg(self.folder.path().join("policy.json"))
            .args(&arguments[1..])
            .env_clear()
            .stdin(Stdio::null());
        if let Some(password) = self.password {
            command.env("ETCD_PASSWORD", password);
        }
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn list(&self, arguments: &[&str]) -> Vec<String> {
        let (code, out, error) = self.idem(&[&["list", "--json"], arguments].concat());
        assert_eq!(code, 0, "{error}");
        let line = |line: &str| {
            let record: Value = serde_json::from_str(line).unwrap();
            let part = |name: &str| record[name].as_str().unwrap().to_owned();
            format!("{} {}", part("key"), part("state"))
        };
        let mut all: Vec<String> = out.lines().map(line).collect();
        all.sort();
        all
    }
}

#[test]
fn records_are_listed_and_shown() {
    let desk = Desk::new(POLICY);
    assert_eq!(desk.list(&[]), Vec::<String>::new());
    let lost = desk.flight("lost", -60);
    desk.flight("running", 60);
    desk.etcd.put("sluice:idem:{00}:x", b"no record");
    desk.etcd.put("sluice:idem", b"nor this");
    assert_eq!(desk.list(&[]), ["lost unknown", "running in-flight"]);
    assert_eq!(desk.list(&["--state", "unknown"]), ["lost unknown"]);
    let (code, out, _) = desk.idem(&["show", &lost]);
    assert_eq!(code, 0);
    let fence = desk.kv(&lost).unwrap().created;
    for line in [
        format!("record     {lost}"),
        "key        \"lost\"".to_owned(),
        "state      unknown for 1m".to_owned(),
        format!("fence      {fence}"),
    ] {
        assert!(out.contains(&line), "{line}: {out}");
    }
    let by_name = desk.idem(&["show", "--route", "pay", "--scope", "ann", "--key", "lost"]);
    assert_eq!(by_name.1, out);
    let (code, _, error) = desk.idem(&["show", &"0".repeat(64)]);
    assert_eq!(
        (code, error),
        (1, format!("no record {}\n", "0".repeat(64)))
    );
}

/// More than one answer of etcd holds.
#[test]
fn a_long_list_is_whole() {
    let desk = Desk::new(POLICY);
    for number in 0..1_001 {
        desk.flight(&format!("k{number}"), -60);
    }
    let list = desk.list(&[]);
    assert_eq!(list.len(), 1_001);
}

#[test]
fn what_an_operator_knows_is_what_retries_get() {
    let desk = Desk::new(POLICY);
    let (done, lost, free) = (
        desk.flight("done", -1),
        desk.flight("lost", -1),
        desk.flight("free", -1),
    );
    let fence = desk.kv(&done).unwrap().created;
    let word = [
        "--completed",
        "201",
        "--header",
        "x-charge: 17",
        "--retention",
        "1h",
        "--yes",
    ];
    let (code, out, error) = desk.idem(&[&["resolve", &done], &word[..]].concat());
    assert_eq!(code, 0, "{out}{error}");
    let record = desk.record(&done);
    let What::Done { by, kind, bytes } = record.what else {
        panic!("{record:?}")
    };
    assert_eq!((by, kind, record.fence), (None, Kind::Answer, Some(fence)));
    assert_eq!(
        (record.fingerprint, record.started),
        ("7".repeat(64), Some(5))
    );
    let stored = Stored::from_bytes(&bytes.into()).unwrap();
    assert_eq!((stored.status, stored.fields.len()), (201, 1));
    assert_ne!(desk.kv(&done).unwrap().lease, 0);
    let (_, shown, _) = desk.idem(&["show", &done]);
    assert!(shown.contains("status     201\n"), "{shown}");
    assert!(
        shown.contains("forgotten  in 59m") || shown.contains("forgotten  in 1h"),
        "{shown}"
    );

    assert_eq!(
        desk.idem(&["resolve", &lost, "--lost", "200", "--yes"]).0,
        0
    );
    assert!(matches!(
        desk.record(&lost).what,
        What::Done {
            kind: Kind::Tombstone,
            ..
        }
    ));
    assert_eq!(desk.idem(&["resolve", &free, "--free", "--yes"]).0, 0);
    assert_eq!(desk.kv(&free), None);
    // What has an answer keeps it.
    let before = desk.kv(&done);
    assert_eq!(desk.idem(&["resolve", &done, "--free", "--yes"]).0, 1);
    assert_eq!(desk.kv(&done), before);
}

#[test]
fn what_is_in_flight_is_left_alone_unless_that_is_meant() {
    let desk = Desk::new(POLICY);
    let running = desk.flight("running", 60);
    let before = desk.kv(&running);
    let (code, _, error) = desk.idem(&["resolve", &running, "--free", "--yes"]);
    assert_eq!(code, 1);
    assert!(error.contains("it is being carried out"), "{error}");
    assert_eq!(desk.kv(&running), before);
    let free = ["resolve", &running, "--free", "--in-flight", "--yes"];
    assert_eq!(desk.idem(&free).0, 0);
    assert_eq!(desk.kv(&running), None);
}

#[test]
fn the_policys_user_is_used_and_an_etcd_that_is_away_is_told() {
    let mut desk = Desk::new(LOGIN);
    desk.flight("lost", -60);
    desk.etcd
        .require_login(("sluice", "secret"), "sluice:idem:");
    assert_eq!(desk.idem(&["list"]).0, 1, "the variable is not set");
    desk.password = Some("wrong");
    let (code, _, error) = desk.idem(&["list"]);
    assert_eq!(code, 3);
    assert!(error.starts_with("etcd: "), "{error}");
    desk.password = Some("secret");
    assert_eq!(desk.list(&[]), ["lost unknown"]);
    desk.etcd.kill();
    let (code, _, error) = desk.idem(&["list"]);
    assert_eq!(code, 3);
    assert!(error.starts_with("etcd: "), "{error}");
}
