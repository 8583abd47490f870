//! A crawl through more than the store holds costs a fixed amount of memory: what was not used for longest goes.

use host_tests::client;
use host_tests::coalesce::{FRESH, answer, assert_sound, gateway, policy, until_event};
use host_tests::idempotency::Service;
use serde_json::json;

const KIB: usize = 1024;
const BODY: usize = 256 * KIB;
const URLS: usize = 40_960;
/// Connections at once.
const CROWD: usize = 4;

#[test]
fn ten_gigabytes_of_distinct_urls_keep_to_the_bound() {
    let service = Service::start(|_, _, stream| answer(stream, FRESH, &[b'x'; BODY]));
    let route = json!({"flight": {"wait": "20s"}});
    let mut policy = policy(route.clone());
    policy["store"] = json!({"shared": "16MiB", "worker": "4MiB"});
    let gateway = gateway(service.address(), route)
        .policy(policy)
        .workers(2)
        .start();
    let get = |from: usize, count: usize| {
        let statuses = client::blast(gateway.address(), CROWD, count / CROWD, |number, turn| {
            let path = format!("/item/{}", from + turn * CROWD + number);
            (path, Vec::new())
        });
        assert!(statuses.iter().all(|status| *status == 200));
    };
    // Enough to fill every store, and the buffers of what is under way.
    let first = URLS / 20;
    get(0, first);
    let before = gateway.envoy().running().resident();
    get(first, URLS - first);
    let after = gateway.envoy().running().resident();
    assert_eq!(service.count(), URLS, "each is asked for once");
    until_event(&gateway, "stored", URLS as u64);
    let grown = after.saturating_sub(before);
    assert!(grown < 16 * KIB, "{before} KiB, then {grown} KiB more");
    assert_sound(&gateway);
}
