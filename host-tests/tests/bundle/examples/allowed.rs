//! What an example allows its filter is what the list of host functions allows.

use std::collections::BTreeSet;

use host_tests::config::Config;
use host_tests::gateway::{Gateway, Route};
use host_tests::imports::HostFunctions;
use host_tests::redis::Redis;
use serde_json::Value;

use super::RATE_LIMITS;

/// What the bridge needs beyond what filters do: it changes bodies.
const BRIDGE_ONLY: [&str; 3] = [
    "proxy_set_buffer_bytes",
    "proxy_on_request_body",
    "proxy_on_response_body",
];

/// What the idempotency filter needs beyond what rate limits do: it sees bodies, and may have to cut an answer short.
const IDEMPOTENCY_ONLY: [&str; 5] = [
    "proxy_close_stream",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
];

/// What the coalescing filter needs beyond what rate limits do: it sees the bodies of answers.
const COALESCE_ONLY: [&str; 2] = ["proxy_on_response_body", "proxy_on_response_trailers"];

/// What shard routing needs beyond that: it tells the gateway's log of the shard, and to choose the route anew.
const SHARD_ROUTE_ONLY: [&str; 4] = [
    "proxy_call_foreign_function",
    "proxy_set_property",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
];

#[test]
fn an_example_allows_a_filter_what_the_list_allows() {
    let known = HostFunctions::read();
    for route in RATE_LIMITS {
        let mut config = Config::example(route.example());
        assert_eq!(
            allowed(config.filter()),
            known.allowed,
            "{}",
            route.example()
        );
    }
    for route in [
        Route::Idempotency,
        Route::IdempotencyStream,
        Route::Redlock,
        Route::Etcd,
    ] {
        let mut config = Config::example(route.example());
        let mut idempotency = allowed(config.filter());
        idempotency.retain(|name| !IDEMPOTENCY_ONLY.contains(&name.as_str()));
        assert!(idempotency.is_subset(&known.allowed), "{idempotency:?}");
    }
    for route in [Route::Coalesce, Route::CoalesceBloom, Route::CoalesceFleet] {
        let mut config = Config::example(route.example());
        let mut coalesce = allowed(config.filter());
        coalesce.retain(|name| !COALESCE_ONLY.contains(&name.as_str()));
        assert!(coalesce.is_subset(&known.allowed), "{coalesce:?}");
    }
    let mut config = Config::example_with(Route::ShardRoute.example(), &["body"]);
    let mut shard_route = allowed(config.filter());
    shard_route.retain(|name| !SHARD_ROUTE_ONLY.contains(&name.as_str()));
    assert!(shard_route.is_subset(&known.allowed), "{shard_route:?}");
    for route in [Route::Stream, Route::Pooled, Route::IdempotencyStream] {
        let mut config = Config::example(route.example());
        let mut bridge = allowed(bridge(&mut config));
        bridge.retain(|name| !BRIDGE_ONLY.contains(&name.as_str()));
        assert!(bridge.is_subset(&known.allowed), "{bridge:?}");
    }
}

/// All that has to do with a stream, or nothing: one function too few is not missed before a connection is closed.
#[test]
fn a_filter_that_may_open_a_stream_may_do_all_else_with_it() {
    let known = HostFunctions::read().allowed;
    let stream: BTreeSet<String> = known
        .into_iter()
        .filter(|name| name.contains("_grpc_"))
        .collect();
    assert_eq!(stream.len(), 8);
    let routes = [
        Route::Idempotency,
        Route::IdempotencyStream,
        Route::Redlock,
        Route::Etcd,
        Route::Coalesce,
        Route::CoalesceBloom,
        Route::CoalesceFleet,
    ];
    let examples = routes.map(|route| Config::example(route.example()));
    let refresh = Config::example_with(Route::ShardRoute.example(), &["refresh"]);
    for mut config in examples.into_iter().chain([refresh]) {
        let listed = allowed(config.filter());
        let has: BTreeSet<String> = listed.intersection(&stream).cloned().collect();
        assert!(has.is_empty() || has == stream, "{has:?}");
    }
}

/// Envoy would ignore a list in the wrong place, so one function too few must be felt.
#[test]
fn a_filter_is_held_to_its_list() {
    let redis = Redis::start();
    let gateway = Gateway::builder()
        .route(Route::Pooled)
        .redis(&redis)
        .wasm("noop")
        .edit(|config| {
            config.route_to("sluice-redis");
            let list = &mut bridge(config)["vm_config"]["capability_restriction_config"]["allowed_capabilities"];
            list.as_object_mut().unwrap().remove("proxy_on_request_body").unwrap();
        })
        .start();
    let ping = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nQUIT\r\n";
    let answer = gateway
        .client()
        .send::<&str>("POST", "/", &[], ping)
        .map(|answer| answer.text());
    assert_ne!(
        answer.ok().as_deref(),
        Some("$-1\r\n+OK\r\n"),
        "the bridge kept the connection open"
    );
}

fn allowed(filter: &Value) -> BTreeSet<String> {
    let list = &filter["vm_config"]["capability_restriction_config"]["allowed_capabilities"];
    list.as_object()
        .expect("the filter has a list")
        .keys()
        .cloned()
        .collect()
}

fn bridge(config: &mut Config) -> &mut Value {
    let filters = config
        .listener("sluice-redis")
        .pointer_mut("/filter_chains/0/filters/0/typed_config/http_filters/0");
    &mut filters.expect("the bridge is the first filter")["typed_config"]["config"]
}
