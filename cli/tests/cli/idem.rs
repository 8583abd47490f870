//! `sluice idem` on a real Redis.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::common::Store;
use host_tests::redis::Redis;
use redis::Value;
use sluice_core::idempotency::store::Kind;
use sluice_core::idempotency::stored::Stored;
use tempfile::TempDir;

const POLICY: &str = r#"{"redis": {"cluster": "redis"}, "partitions": 7,
    "routes": [{"name": "pay", "scope": [{"header": "x-account"}]}]}"#;
const MINUTE: Duration = Duration::from_secs(60);

struct Desk {
    store: Store,
    folder: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

struct Said {
    code: i32,
    out: String,
    error: String,
}

impl Desk {
    fn new(policy: &str) -> Self {
        Self::on(Store::start(policy), policy)
    }

    fn on(store: Store, policy: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("policy.json"), policy).unwrap();
        Self {
            store,
            folder,
            environment: Vec::new(),
        }
    }

    fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// `sluice idem`, with so much to read at its standard input.
    fn told(&self, arguments: &[&str], input: &str) -> Said {
        let url = format!("redis://127.0.0.1:{}", self.store.redis.port());
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["idem", arguments[0], "--redis", &url, "--policy"])
            .arg(self.folder.path().join("policy.json"))
            .args(&arguments[1..])
            .env_clear()
            .envs(self.environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that does not ask closes it unread.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        said(&child.wait_with_output().unwrap())
    }

    fn idem(&self, arguments: &[&str]) -> Said {
        self.told(arguments, "")
    }

    fn list(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let said = self.idem(&[&["list", "--json"], arguments].concat());
        assert_eq!(said.code, 0, "{}", said.error);
        said.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        error: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

fn answer(body: &[u8]) -> Stored {
    Stored {
        status: 201,
        fields: vec![(b"x-charge".to_vec(), b"17".to_vec())],
        body: body.to_vec(),
    }
}

#[test]
fn what_is_open_is_listed_and_what_is_done_when_asked_for() {
    let desk = Desk::new(POLICY);
    let store = &desk.store;
    let nothing = desk.idem(&["list"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (0, ""));
    assert_eq!(nothing.error, "0 records\n");

    store.unknown("ann", "lost");
    store.acquire(&store.claim("ann", "running", 1, MINUTE));
    let done = store.claim("bob", "done", 1, MINUTE);
    store.acquire(&done);
    store.commit(&done, Kind::Answer, answer(b"x").to_bytes(), None);
    let bad = store.claim("bob", "bad", 1, MINUTE);
    let name = String::from_utf8(store.policy.keys().record(&bad.scope)).unwrap();
    let _ = store.redis.cmd(&["SET", &name, "no hash"]);
    // Of another installation, and no record at all.
    let _ = store
        .redis
        .cmd(&["HSET", &name.replace("sluice:", "other:"), "v", "1"]);
    let _ = store.redis.cmd(&["SET", "sluice:idem:{00}:x", "1"]);

    let states = |arguments: &[&str]| {
        let mut all: Vec<_> = desk
            .list(arguments)
            .iter()
            .map(|record| {
                format!(
                    "{} {}",
                    record["key"].as_str().unwrap(),
                    record["state"].as_str().unwrap()
                )
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(states(&[]), ["lost unknown", "running in-flight"]);
    assert_eq!(states(&["--state", "unknown"]), ["lost unknown"]);
    assert_eq!(
        states(&["--state", "completed", "--state", "corrupt"]),
        [" corrupt", "done completed"]
    );
    assert_eq!(states(&["--route", "other"]), [""; 0]);

    let said = desk.idem(&["list", "--state", "unknown"]);
    let scope = store.scope("ann", "lost").hex();
    assert!(
        said.out.starts_with(&format!("{scope}  unknown for ")),
        "{}",
        said.out
    );
    assert!(said.out.contains("route pay  key \"lost\""), "{}", said.out);
    assert_eq!(said.error, "1 record\n");
}

#[test]
fn many_records_are_found_in_every_partition() {
    let desk = Desk::new(POLICY);
    for number in 0..1_200 {
        let key = format!("k{number}");
        desk.store
            .acquire(&desk.store.claim("ann", &key, 1, MINUTE));
    }
    let records = desk.list(&[]);
    assert_eq!(records.len(), 1_200);
    let mut hashes: Vec<_> = records
        .iter()
        .map(|record| record["record"].to_string())
        .collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 1_200);
}

#[test]
fn a_record_is_found_by_its_digits_and_by_what_it_belongs_to() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.claim("ann", "k", 1, MINUTE);
    desk.store.acquire(&claim);
    desk.store
        .commit(&claim, Kind::Answer, answer(b"made\n").to_bytes(), None);
    let digits = claim.scope.hex();
    let by_digits = desk.idem(&["show", &digits]);
    assert_eq!(by_digits.code, 0, "{}", by_digits.error);
    for part in [
        "state      completed",
        "status     201",
        "field      x-charge: 17",
        "body       5 bytes",
    ] {
        assert!(by_digits.out.contains(part), "{}", by_digits.out);
    }
    let by_values = desk.idem(&["show", "--route", "pay", "--scope", "ann", "--key", "k"]);
    let first = |said: &Said| said.out.lines().next().unwrap().to_owned();
    assert_eq!(first(&by_values), format!("record     {digits}"));
    let body = desk.folder.path().join("body");
    let with_body = desk.idem(&["show", &digits, "--body", body.to_str().unwrap()]);
    assert_eq!(
        (with_body.code, fs::read(&body).unwrap()),
        (0, b"made\n".to_vec())
    );

    for (arguments, code, why) in [
        (
            &["show", "--route", "pay", "--scope", "bob", "--key", "k"][..],
            1,
            "no record ",
        ),
        (
            &["show", "--route", "play", "--scope", "ann", "--key", "k"],
            1,
            "found route \"play\"",
        ),
        (
            &["show", "--route", "pay", "--key", "k"],
            1,
            "scope: found 0 values, expected 1",
        ),
        (&["show", "abc"], 1, "expected 64 digits"),
        (&["show"], 2, "required"),
        (&["show", "--key", "k"], 2, "--route"),
    ] {
        let said = desk.idem(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}", said.error);
        assert!(said.error.contains(why), "{arguments:?}: {}", said.error);
    }
}

#[test]
fn what_was_not_carried_out_is_freed() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.unknown("ann", "k");
    let done = desk.idem(&["resolve", &claim.scope.hex(), "--free", "--yes"]);
    assert_eq!(done.code, 0, "{}", done.error);
    assert!(
        done.out.starts_with("done: the next request"),
        "{}",
        done.out
    );
    assert!(desk.list(&[]).is_empty());
    let next = desk.store.claim("ann", "k", 2, MINUTE);
    assert_eq!(desk.store.acquire(&next).0, "acquired");
    assert_eq!(
        desk.idem(&[
            "resolve",
            &desk.store.scope("ann", "no").hex(),
            "--free",
            "--yes"
        ])
        .code,
        1
    );
}

#[test]
fn what_was_carried_out_gets_its_answer_and_the_late_gateway_is_refused() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.unknown("ann", "k");
    let body = desk.file("body.json", b"{\"charge\": 17}");
    let done = desk.idem(&[
        "resolve",
        "--route",
        "pay",
        "--scope",
        "ann",
        "--key",
        "k",
        "--completed",
        "201",
        "--header",
        "Content-Type: application/json",
        "--body",
        body.to_str().unwrap(),
        "--yes",
    ]);
    assert_eq!(done.code, 0, "{}", done.error);
    let (word, parts) = desk.store.acquire(&desk.store.claim("ann", "k", 2, MINUTE));
    let Value::BulkString(bytes) = &parts[0] else {
        panic!("{parts:?}")
    };
    let stored = Stored::from_bytes(bytes).unwrap();
    assert_eq!((word.as_str(), stored.status), ("answer", 201));
    assert_eq!(
        stored.fields,
        [(b"content-type".to_vec(), b"application/json".to_vec())]
    );
    assert_eq!(stored.body, b"{\"charge\": 17}");
    let late = desk
        .store
        .commit(&claim, Kind::Answer, answer(b"late").to_bytes(), None);
    assert_eq!(late, "superseded");
    // Once is for ever.
    let again = desk.idem(&["resolve", &claim.scope.hex(), "--free", "--yes"]);
    assert_eq!(again.code, 1);
    assert!(again.error.contains("never changes"), "{}", again.error);
    // As long as the route says.
    let name = String::from_utf8(desk.store.policy.keys().record(&claim.scope)).unwrap();
    let left: u64 = desk.store.redis.query(&["PTTL", &name]);
    assert!((86_000_000..=86_400_000).contains(&left), "{left}");
}

#[test]
fn an_answer_that_is_lost_is_a_tombstone() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.unknown("ann", "k");
    let done = desk.idem(&[
        "resolve",
        &claim.scope.hex(),
        "--lost",
        "202",
        "--retention",
        "1h",
        "--yes",
    ]);
    assert_eq!(done.code, 0, "{}", done.error);
    assert_eq!(
        desk.store
            .acquire(&desk.store.claim("ann", "k", 2, MINUTE))
            .0,
        "tombstone"
    );
    let shown = desk.idem(&["show", &claim.scope.hex()]);
    assert!(
        shown.out.contains("status     202\nbody       not kept"),
        "{}",
        shown.out
    );
}

#[test]
fn nothing_happens_without_a_yes() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.unknown("ann", "k");
    let digits = claim.scope.hex();
    for input in ["", "no\n", "y\n", "YES\n"] {
        let said = desk.told(&["resolve", &digits, "--free"], input);
        assert_eq!((said.code, said.error.as_str()), (1, "nothing was done\n"));
        assert!(
            said.out.contains("key        \"k\"") && said.out.contains("Type yes"),
            "{}",
            said.out
        );
    }
    assert_eq!(desk.list(&[]).len(), 1);
    assert_eq!(desk.told(&["resolve", &digits, "--free"], "yes\n").code, 0);
    assert!(desk.list(&[]).is_empty());
}

#[test]
fn what_still_runs_is_resolved_only_by_force() {
    let desk = Desk::new(POLICY);
    let claim = desk.store.claim("ann", "k", 1, MINUTE);
    desk.store.acquire(&claim);
    let digits = claim.scope.hex();
    let refused = desk.idem(&["resolve", &digits, "--free", "--yes"]);
    assert_eq!(refused.code, 1);
    assert!(refused.error.contains("--in-flight"), "{}", refused.error);
    assert_eq!(desk.list(&[]).len(), 1);
    let forced = desk.idem(&["resolve", &digits, "--free", "--in-flight", "--yes"]);
    assert_eq!(forced.code, 0, "{}", forced.error);
    assert!(desk.list(&[]).is_empty());
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let desk = Desk::new(POLICY);
    let digits = desk.store.unknown("ann", "k").scope.hex();
    for (arguments, code) in [
        (&["--yes"][..], 2),
        (&["--free", "--completed", "200", "--yes"], 2),
        (&["--completed", "99", "--yes"], 2),
        (&["--free", "--body", "x", "--yes"], 2),
        (&["--completed", "200", "--header", "no colon", "--yes"], 2),
        (
            &["--completed", "200", "--header", "Set-Cookie: a=b", "--yes"],
            1,
        ),
        (
            &["--completed", "200", "--body", "/there/is/none", "--yes"],
            1,
        ),
    ] {
        let said = desk.idem(&[&["resolve", &digits], arguments].concat());
        assert_eq!(said.code, code, "{arguments:?}: {}", said.error);
    }
    assert_eq!(desk.list(&["--state", "unknown"]).len(), 1);
}

const SEALED: &str = r#"{"redis": {"cluster": "redis"},
    "at_rest": {"keys": [{"id": "k", "env": "IDEMPOTENCY_KEY"}]},
    "routes": [{"name": "pay", "scope": [{"header": "x-account"}]}]}"#;
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn an_answer_is_sealed_where_the_policy_has_keys() {
    let mut desk = Desk::new(SEALED);
    let claim = desk.store.unknown("ann", "k");
    let body = desk.file("body", b"secret");
    let digits = claim.scope.hex();
    let resolve = [
        "resolve",
        digits.as_str(),
        "--completed",
        "200",
        "--body",
        body.to_str().unwrap(),
        "--yes",
    ];
    let without = desk.idem(&resolve);
    assert_eq!(without.code, 1);
    assert!(
        without.error.contains("found no variable IDEMPOTENCY_KEY"),
        "{}",
        without.error
    );
    // To look does not take the keys.
    assert_eq!(desk.list(&[]).len(), 1);

    desk.environment = vec![("IDEMPOTENCY_KEY", KEY)];
    assert_eq!(desk.idem(&resolve).code, 0);
    let (_, parts) = desk.store.acquire(&desk.store.claim("ann", "k", 2, MINUTE));
    let Value::BulkString(bytes) = &parts[0] else {
        panic!("{parts:?}")
    };
    let settings = desk
        .store
        .policy
        .settings(|_| Some(KEY.to_owned()))
        .unwrap();
    let record = settings.keys().record(&claim.scope);
    let opened = settings.at_rest.open(bytes, Kind::Answer, &record).unwrap();
    assert_eq!(opened.body, b"secret");
    let shown = desk.idem(&["show", &digits]);
    assert!(shown.out.contains("body       6 bytes"), "{}", shown.out);
    desk.environment = vec![(
        "IDEMPOTENCY_KEY",
        "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    )];
    let other = desk.idem(&["show", &digits]);
    assert_eq!(other.code, 1);
    assert!(other.error.contains("cannot be opened"), "{}", other.error);
}

#[test]
fn the_policys_password_is_used_and_a_redis_that_is_away_is_told() {
    let policy = r#"{"redis": {"cluster": "redis", "password": {"env": "REDIS_PASSWORD"}},
        "routes": [{"name": "pay", "scope": [{"header": "x-account"}]}]}"#;
    let redis = Redis::builder().password("hush").start();
    let mut desk = Desk::on(Store::on(redis, policy), policy);
    let refused = desk.idem(&["list"]);
    assert_eq!(refused.code, 3);
    assert!(refused.error.starts_with("redis: "), "{}", refused.error);
    desk.environment = vec![("REDIS_PASSWORD", "hush")];
    assert_eq!(desk.idem(&["list"]).code, 0);
    desk.store.redis.kill();
    let away = desk.idem(&["list"]);
    assert_eq!(away.code, 3);
    assert!(away.error.starts_with("redis: "), "{}", away.error);
}
