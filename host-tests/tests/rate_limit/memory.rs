//! A flood of invented clients costs a fixed amount of memory, and what the table has no room for is counted.

use std::net::Ipv4Addr;
use std::ops::Range;

use host_tests::client;
use host_tests::gateway::Gateway;
use host_tests::limits::{assert_sound, count, policy};
use host_tests::wait;
use serde_json::json;

const CLIENTS: usize = 100_000;
const ENTRIES: usize = 4_096;
/// Connections at once.
const CROWD: usize = 4;

/// One request from each of these addresses; how many passed and how many were refused.
fn flood(gateway: &Gateway, clients: Range<usize>) -> (usize, usize) {
    let first = clients.start;
    let statuses = client::blast(
        gateway.address(),
        CROWD,
        clients.len() / CROWD,
        |number, turn| {
            let bytes = u32::try_from(first + turn * CROWD + number).unwrap();
            let address = Ipv4Addr::from(0x0b00_0000 + bytes);
            let header = ("x-forwarded-for".to_owned(), address.to_string());
            ("/".to_owned(), vec![header])
        },
    );
    let of = |status| statuses.iter().filter(|other| **other == status).count();
    (of(200), of(429))
}

fn floods(on_overflow: &str) -> (usize, usize) {
    let mut policy = policy(json!([{"name": "l", "key": ["client_ip"], "rate": "10/day"}]));
    policy["client_ip"] = json!({"trusted_hops": 1});
    policy["headers"] = "off".into();
    policy["local"] = json!({"entries": ENTRIES, "on_overflow": on_overflow});
    let gateway = Gateway::builder()
        .policy(policy)
        .edit(|config| {
            let manager = config
                .listener("gateway")
                .pointer_mut("/filter_chains/0/filters/0/typed_config")
                .expect("the gateway's connection manager");
            manager["use_remote_address"] = false.into();
            let route = &mut manager["route_config"]["virtual_hosts"][0]["routes"][0];
            *route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
        })
        .start();
    const FIRST: usize = CLIENTS / 5;
    let warm = flood(&gateway, 0..FIRST);
    let before = gateway.envoy().running().resident();
    let rest = flood(&gateway, FIRST..CLIENTS);
    let grown = gateway.envoy().running().resident().saturating_sub(before);
    // A hundred bytes for each of them would be as much.
    assert!(
        grown < 80 * 100,
        "{grown} KiB more after {} clients more",
        CLIENTS - FIRST
    );
    let (passed, denied) = (warm.0 + rest.0, warm.1 + rest.1);
    assert_eq!(passed + denied, CLIENTS);
    let kept = if on_overflow == "deny" {
        passed
    } else {
        ENTRIES
    };
    wait::until("the overflow to be counted", || {
        count(&gateway, "local.overflow") as usize + kept >= CLIENTS
    });
    assert_sound(&gateway);
    (passed, denied)
}

#[test]
fn a_flood_of_clients_is_kept_out_of_a_full_table() {
    let (passed, _) = floods("deny");
    // Buckets fill evenly enough, and hold no more than they are for.
    assert!((ENTRIES * 9 / 10..=ENTRIES).contains(&passed), "{passed}");
}

#[test]
fn a_flood_of_clients_passes_a_full_table_where_the_policy_allows() {
    assert_eq!(floods("allow"), (CLIENTS, 0));
}
