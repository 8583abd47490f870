//! A fifth shard is added step by step, and taken away again, while requests come: each step moves what it says, none is
//! lost, and the way back is the way it came.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use host_tests::client::Client;
use host_tests::gateway::Gateway;
use host_tests::limits::{assert_sound, with};
use host_tests::reload::Listener;
use host_tests::shard::{Shards, echoed, policy};
use host_tests::wait;
use serde_json::{Value, json};
use sluice_core::policy::shard_route::ShardRoute;
use sluice_core::shard::explain::explain;
use tempfile::TempDir;

const KEYS: usize = 300;

/// A stage that differs from the one before by its shards at least.
fn stage(migration: Value) -> Value {
    let to = json!({"to": {"shards": ["s0", "s1", "s2", "s3", "s4"]}});
    policy(json!({"migration": with(to, migration)}), json!({}))
}

/// What each key is told: shard, and the other that writes go to; or a status.
fn told(gateway: &Gateway, method: &str) -> Vec<String> {
    let mut client = gateway.client();
    let ask = |key: usize| {
        let key = key.to_string();
        let answer = client
            .send(method, "/echo", &[("x-user", &key)], b"")
            .unwrap();
        if answer.status != 200 {
            let after = answer.header("retry-after").unwrap_or_default();
            return format!("{} {after}", answer.status);
        }
        let shard = echoed(&answer, "x-shard").join(" ");
        let other = echoed(&answer, "x-shard-dual-write").join(" ");
        format!("{shard} {other}").trim_end().to_owned()
    };
    (0..KEYS).map(ask).collect()
}

/// The same as the policy is explained.
fn explained(policy: &Value) -> Vec<String> {
    let policy = ShardRoute::load(policy.to_string().as_bytes()).unwrap();
    let of = |key: usize| {
        explain(&policy, "users", key.to_string().as_bytes())
            .unwrap()
            .shard
    };
    (0..KEYS).map(of).collect()
}

#[test]
fn a_migration_goes_there_and_back_and_loses_no_request() {
    let shards = Shards::start(5);
    let folder = TempDir::new().unwrap();
    let listener = Listener::new(folder.path());
    let theirs = listener.clone();
    let start = stage(json!({}));
    let gateway = shards
        .gateway(&start)
        .workers(2)
        .edit(move |config| theirs.take_from(config))
        .start();
    let steps = ["0%", "10%", "50%", "100%", "50%", "0%"];
    let ended = AtomicBool::new(false);
    let address = gateway.address();
    let answered = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client: usize| {
                let ended = &ended;
                scope.spawn(move || {
                    let mut answers = BTreeMap::<u16, usize>::new();
                    for turn in client.. {
                        if ended.load(Ordering::Relaxed) {
                            break;
                        }
                        // A connection of its own: one that is kept may be closed as a request is on its way, which is
                        // the client's to repeat, and no loss of the gateway's.
                        let key = (turn * 7 % KEYS).to_string();
                        let answer = Client::new(address).get("/load", &[("x-user", &key)]);
                        *answers
                            .entry(answer.map_or(0, |answer| answer.status))
                            .or_default() += 1;
                    }
                    answers
                })
            })
            .collect();
        let before = explained(&stage(json!({})));
        let after = explained(&stage(json!({"moved": "100%"})));
        for step in steps {
            let policy = stage(json!({"moved": step}));
            listener.change(&policy);
            let expected = explained(&policy);
            wait::until(step, || told(&gateway, "GET") == expected);
            // Whoever has moved is where it is to be, and nobody is anywhere else.
            for (key, shard) in expected.iter().enumerate() {
                assert!([&before[key], &after[key]].contains(&shard));
            }
        }
        ended.store(true, Ordering::Relaxed);
        let clients = clients.into_iter().map(|client| client.join().unwrap());
        clients.fold(BTreeMap::<u16, usize>::new(), |mut all, client| {
            for (status, count) in client {
                *all.entry(status).or_default() += count;
            }
            all
        })
    });
    assert_eq!(answered.keys().collect::<Vec<_>>(), [&200], "{answered:?}");
    let arrived: usize = shards
        .primaries
        .iter()
        .map(|shard| shard.hits("/load"))
        .sum();
    assert_eq!(arrived, answered[&200]);
    assert!(shards.primaries[4].hits("/load") > 0);
    assert_sound(&gateway);
}

#[test]
fn every_stage_is_told_to_reads_and_writes() {
    let shards = Shards::start(5);
    let stages = json!({
        "moved": "25%", "frozen": "25%", "dual_write": "25%", "dual_write_back": true,
        "freeze": "writes", "retry_after": "7s"
    });
    let policy = stage(stages);
    let gateway = shards.gateway(&policy).start();
    let loaded = ShardRoute::load(policy.to_string().as_bytes()).unwrap();
    let directory = &loaded.tables[0].directory;
    let (reads, writes) = (told(&gateway, "GET"), told(&gateway, "POST"));
    let mut seen = BTreeMap::<&str, usize>::new();
    for key in 0..KEYS {
        let slot = directory.table.slot(key.to_string().as_bytes());
        let old = directory.name_of(directory.table.shard(slot));
        let (read, write) = (reads[key].as_str(), writes[key].as_str());
        let kind = match (read, write) {
            (read, "503 7") if read == old => "frozen",
            ("s4", write) if write == format!("s4 {old}") => "moved",
            (read, write) if read == old && write == format!("{old} s4") => "dual write",
            (read, write) if read == old && write == old => "before",
            other => panic!("key {key}, which is at {old}: {other:?}"),
        };
        *seen.entry(kind).or_default() += 1;
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    let frozen = stage(json!({"frozen": "100%"}));
    let gateway = shards.gateway(&frozen).start();
    let reads = told(&gateway, "GET");
    let gone = reads.iter().filter(|read| *read == "503 1").count();
    let migration = directory.migration.as_ref().unwrap();
    let moves = |key: &usize| {
        let slot = directory.table.slot(key.to_string().as_bytes());
        directory.table.shard(slot) != migration.shard(slot)
    };
    assert_eq!(gone, (0..KEYS).filter(moves).count());
    assert_sound(&gateway);
}
