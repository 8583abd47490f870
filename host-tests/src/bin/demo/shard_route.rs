//! Shards: ten thousand users over four of them, who writes reads what was written, and a fifth shard step by step.

use std::collections::BTreeMap;
use std::thread;

use host_tests::client::Client;
use host_tests::gateway::Gateway;
use host_tests::reload::Listener;
use host_tests::shard::{Shards, echoed, policy};
use host_tests::wait;
use serde_json::{Value, json};
use sluice_core::policy::shard_route::ShardRoute;
use sluice_core::shard::Stage;

use crate::report::Report;

const USERS: usize = 10_000;

pub fn run(report: &mut Report) {
    spread(report);
    write_then_read(report);
    fifth_shard(report);
}

/// The shard that each user's request reached, as the origin saw it.
fn shards_of(gateway: &Gateway, users: usize) -> Vec<String> {
    thread::scope(|scope| {
        let parts: Vec<_> = (0..4)
            .map(|part| {
                scope.spawn(move || {
                    let mut client = Client::new(gateway.address());
                    let ask = |user: usize| {
                        let answer = client.get("/echo", &[("x-user", user.to_string())]);
                        answer.map_or("nothing".to_owned(), |answer| match answer.status {
                            200 => echoed(&answer, "x-shard").join(" "),
                            status => status.to_string(),
                        })
                    };
                    (part * users / 4..(part + 1) * users / 4)
                        .map(ask)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let parts = parts.into_iter();
        parts
            .flat_map(|part| part.join().expect("a client does not panic"))
            .collect()
    })
}

fn spread(report: &mut Report) {
    let table = r#"{"shards": ["s0", "s1", "s2", "s3"]}"#;
    report.scenario("Two Envoys, four shards, 10,000 users", &[]);
    report.note("table", table);
    let shards = Shards::start(4);
    let policy = policy(json!({"fill": "rendezvous"}), json!({}));
    let gateways = [(); 2].map(|()| shards.gateway(&policy).workers(2).start());
    let [one, two] = gateways.each_ref().map(|gateway| shards_of(gateway, USERS));
    let mut counts = BTreeMap::<&str, usize>::new();
    for shard in &one {
        *counts.entry(shard).or_default() += 1;
    }
    let text: Vec<String> = counts
        .iter()
        .map(|(shard, users)| format!("{shard} {users}"))
        .collect();
    report.note("users", text.join(", "));
    report.equal(
        "both Envoys send every user to the same shard",
        one == two,
        true,
    );
    // A quarter of the slots within 5 sigma, and of the users of them.
    let even = counts.len() == 4 && counts.values().all(|users| users.abs_diff(2_500) < 280);
    report.holds(
        "each shard has about a quarter",
        even,
        "2220 to 2780",
        format!("{counts:?}"),
    );
    let forged = one_answer(
        &gateways[0],
        &[("x-user", "7"), ("x-shard", "s0"), ("x-shard", "s3")],
    );
    report.equal(
        "a client that writes the header itself changes nothing",
        &forged,
        &one[7],
    );
}

fn one_answer(gateway: &Gateway, headers: &[(&str, &str)]) -> String {
    echoed(&gateway.get("/echo", headers), "x-shard").join(" ")
}

fn write_then_read(report: &mut Report) {
    report.scenario("A write, followed by reads", &[]);
    report.note("role", r#"{"split": {"sticky": {"window": "2s"}}}"#);
    let shards = Shards::start(4).with_replicas();
    let role = json!({"role": {"split": {"sticky": {"window": "2s"}}}});
    let gateway = shards.gateway(&policy(json!({}), role)).workers(2).start();
    let read = |user: &str| {
        let answer = gateway.get("/echo", &[("x-user", user)]);
        echoed(&answer, "x-shard-role").join(" ")
    };
    report.equal("a read goes to the replica", read("7").as_str(), "replica");
    let written = gateway
        .client()
        .send("PUT", "/profile", &[("x-user", "7")], b"name");
    report.equal(
        "a write is answered",
        written.map_or(0, |answer| answer.status),
        200,
    );
    report.equal(
        "by the primary",
        shards.reached("/profile").map(|(_, replica)| replica),
        Some(false),
    );
    let reads: Vec<String> = (0..10).map(|_| read("7")).collect();
    report.equal(
        "ten reads after it go to the primary",
        reads,
        vec!["primary".to_owned(); 10],
    );
    report.equal(
        "those of another user to the replica",
        read("8").as_str(),
        "replica",
    );
    wait::until("the window to end", || read("7") == "replica");
    report.equal(
        "and after the window to the replica again",
        read("7").as_str(),
        "replica",
    );
}

fn fifth_shard(report: &mut Report) {
    const SOME: usize = 2_000;
    report.scenario("A fifth shard, step by step, while requests come", &[]);
    let to = r#""to": {"shards": ["s0", "s1", "s2", "s3", "s4"]}"#;
    let stage = |share: &str| -> Value {
        let migration = format!(r#"{{{to}, "moved": "{share}"}}"#);
        let migration: Value = serde_json::from_str(&migration).expect("it is JSON");
        policy(json!({"migration": migration}), json!({}))
    };
    let shards = Shards::start(5);
    let folder = tempfile::TempDir::new().expect("a folder");
    let listener = Listener::new(folder.path());
    let theirs = listener.clone();
    let gateway = shards
        .gateway(&stage("0%"))
        .workers(2)
        .edit(move |config| theirs.take_from(config))
        .start();
    let before = shards_of(&gateway, SOME);
    for share in ["25%", "100%", "0%"] {
        let next = stage(share);
        let loaded = ShardRoute::load(next.to_string().as_bytes()).expect("the policy is good");
        let directory = &loaded.tables[0].directory;
        let migration = directory.migration.as_ref().expect("a migration");
        let expected: Vec<&str> = (0..SOME)
            .map(|user| directory.name_of(directory.locate(user.to_string().as_bytes()).shard))
            .collect();
        listener.change(&next);
        let mut failed = 0;
        wait::until(share, || {
            let now = shards_of(&gateway, SOME);
            failed += now.iter().filter(|shard| !shard.starts_with('s')).count();
            now == expected
        });
        let moved = expected
            .iter()
            .zip(&before)
            .filter(|(now, before)| now != before)
            .count();
        report.note(
            "moved",
            format!(
                "{share}: {} of {} slots that differ, {moved} of {SOME} users",
                migration.slots_at(Stage::Moved),
                migration.differing
            ),
        );
        report.equal("no request failed on the way", failed, 0);
        let elsewhere = expected
            .iter()
            .zip(&before)
            .filter(|(now, before)| now != before && **now != "s4");
        report.equal("whoever moved is at the new shard", elsewhere.count(), 0);
        if share == "0%" {
            report.equal("and the way back leads back", moved, 0);
        }
    }
}
