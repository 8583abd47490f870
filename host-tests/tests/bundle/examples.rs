//! Every example of `envoy-config/` starts and serves, with and without its alternatives, and says the same as the
//! allow-list of host functions.

use std::collections::BTreeSet;

use host_tests::bloom;
use host_tests::coalesce;
use host_tests::config::Config;
use host_tests::etcd::Etcd;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::idempotency::{self, Service};
use host_tests::imports::HostFunctions;
use host_tests::limits::assert_sound;
use host_tests::redis::{Redis, speaks_tls};
use host_tests::redis_cluster::RedisCluster;
use host_tests::shard::Shards;
use host_tests::{tools, wait};
use serde_json::{Value, json};
use sluice_core::policy::coalesce::Coalesce;
use sluice_core::policy::idempotency::{Idempotency, Records};
use sluice_core::policy::rate_limit::RateLimit;
use sluice_core::policy::shard_route::ShardRoute;
use sluice_core::shard::explain::explain;

/// Those of rate limits.
const ROUTES: [Route; 4] = [Route::None, Route::Direct, Route::Stream, Route::Pooled];
const WITH_REDIS: [Route; 3] = [Route::Direct, Route::Stream, Route::Pooled];
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

/// A busy machine does not keep the timeouts that examples have for Redis.
fn patiently(config: &mut Config) {
    let policy = config.filter()["configuration"]["value"].as_str();
    let policy = policy.unwrap_or_default().to_owned();
    for store in ["redis", "etcd"] {
        if policy.contains(&format!("\"{store}\":")) {
            config.store_policy(store, "timeout", "5s".into());
        }
    }
    let patient = config
        .value()
        .to_string()
        .replace("\"op_timeout\":\"0.25s\"", "\"op_timeout\":\"5s\"");
    *config.value_mut() = serde_json::from_str(&patient).unwrap();
}

/// One request goes through, a flood is cut to the limit of 100 a minute, and Envoy has nothing to complain about.
fn serves(builder: Builder) {
    let gateway = builder.edit(patiently).workers(2).start();
    assert_eq!(gateway.get("/", &[]).status, 200);
    assert_eq!(gateway.origin().hits("/"), 1);
    let passed = gateway
        .blast(4, 50, "/flood", &[])
        .iter()
        .filter(|status| **status == 200)
        .count();
    // A token comes back every 600 ms, so a slow machine sees a few more than the burst.
    assert!((99..=120).contains(&passed), "{passed} passed");
    // The filter adds up its counts for a moment before it tells Envoy.
    let allowed = "wasmcustom.sluice_rate_limit.limit.per-client.outcome.allowed";
    wait::until("the filter's counts", || {
        gateway.envoy().stat(allowed) == passed as u64 + 1
    });
    let troubled = gateway
        .envoy()
        .stats()
        .into_iter()
        .find(|(name, count)| name.contains("redis.error") && *count > 0);
    assert_eq!(troubled, None);
    nothing_to_complain_about(&gateway);
}

fn nothing_to_complain_about(gateway: &Gateway) {
    let log = gateway.envoy().log();
    assert!(
        !log.to_lowercase().contains("deprecated") && !log.contains("[error]"),
        "{log}"
    );
}

/// A request with a key goes through once and its retry gets the first answer.
fn keeps_answers(builder: Builder) {
    let gateway = builder.edit(patiently).workers(2).start();
    let key = [("idempotency-key", "\"k\""), ("x-consumer-id", "ann")];
    let pay = || {
        gateway
            .client()
            .send("POST", "/payments", &key, b"a=1")
            .unwrap()
    };
    let (first, replay) = (pay(), pay());
    assert_eq!((first.status, replay.status), (200, 200));
    assert_eq!(replay.body, first.body);
    assert_eq!(first.header("idempotency-replayed"), None);
    assert_eq!(
        replay.header("idempotency-replayed").as_deref(),
        Some("true")
    );
    assert_eq!(gateway.origin().hits("/payments"), 1);
    wait::until("the filter's counts", || {
        idempotency::count(&gateway, "route.payments.event.committed") == 1
    });
    assert_sound(&gateway);
    nothing_to_complain_about(&gateway);
}

#[test]
fn every_example_is_tested() {
    let folder = tools::root().join("envoy-config");
    let shipped: BTreeSet<String> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    let tested: BTreeSet<String> = ROUTES
        .iter()
        .chain([
            &Route::Idempotency,
            &Route::IdempotencyStream,
            &Route::Redlock,
            &Route::Etcd,
            &Route::Coalesce,
            &Route::CoalesceBloom,
            &Route::ShardRoute,
        ])
        .map(|route| route.example().to_owned())
        .collect();
    assert_eq!(shipped, tested);
}

/// A key's reads go to the replica and its writes to the primary of its shard, and a forged header goes nowhere.
fn routes_by_shard(alternatives: &[&'static str]) {
    let shards = Shards::start(4).with_replicas();
    let policy = shipped_policy(Route::ShardRoute);
    let mut builder = shards.gateway(&policy).workers(2);
    for name in alternatives {
        builder = builder.alternative(name);
    }
    let instances: Vec<_> = shards
        .primaries
        .iter()
        .map(|origin| origin.address())
        .collect();
    let ring = alternatives.contains(&"ring");
    let gateway = builder
        .edit(move |config| {
            if ring {
                config.endpoints("instances", &instances);
            }
        })
        .start();
    let loaded = ShardRoute::load(policy.to_string().as_bytes()).unwrap();
    let roles = !ring;
    for user in 0..20 {
        let path = format!("/users/{user}");
        let shard = explain(&loaded, "users", user.to_string().as_bytes()).unwrap();
        let read = gateway.get(&path, &[("x-shard", "s0")]);
        assert_eq!(read.status, 200);
        let (place, replica) = shards.reached(&path).unwrap();
        if !ring {
            assert_eq!(format!("s{place}"), shard.shard);
        }
        assert_eq!(replica, roles);
        // The same again.
        assert_eq!(gateway.get(&path, &[]).status, 200);
        let origins = if replica {
            &shards.replicas
        } else {
            &shards.primaries
        };
        assert_eq!(origins[place].hits(&path), 2);
        let path = format!("{path}/name");
        assert_eq!(
            gateway
                .client()
                .send::<&str>("PUT", &path, &[], b"x")
                .unwrap()
                .status,
            200
        );
        assert_eq!(shards.reached(&path), Some((place, false)));
    }
    assert_eq!(gateway.get("/", &[("x-shard", "s0")]).status, 200);
    assert_eq!(gateway.origin().hits("/"), 1);
    assert_sound(&gateway);
    nothing_to_complain_about(&gateway);
}

fn shipped_policy(route: Route) -> Value {
    let mut config = Config::example(route.example());
    let policy = config.filter()["configuration"]["value"].as_str();
    serde_json::from_str(policy.expect("a policy")).unwrap()
}

#[test]
fn the_shard_example_and_its_alternatives_serve() {
    for alternatives in [&[][..], &["headers"], &["ring"], &["body", "cookie"]] {
        routes_by_shard(alternatives);
    }
}

#[test]
fn every_example_serves() {
    for route in ROUTES {
        let redis = Redis::start();
        serves(Gateway::builder().route(route).redis(&redis));
    }
    let redis = Redis::start();
    keeps_answers(Gateway::builder().route(Route::Idempotency).redis(&redis));
    let redis = Redis::start();
    let stream = Gateway::builder().route(Route::IdempotencyStream);
    keeps_answers(stream.redis(&redis));
    let three = [Redis::start(), Redis::start(), Redis::start()];
    let addresses = three.each_ref().map(Redis::address);
    keeps_answers(
        Gateway::builder()
            .route(Route::Redlock)
            .redis_at(&addresses),
    );
    keeps_answers(Gateway::builder().etcd(&Etcd::start()));
}

/// What one request brought answers the next ones.
fn shares_answers(builder: Builder) {
    let service = Service::start(|_, _, stream| coalesce::answer(stream, coalesce::FRESH, b"ok"));
    let origin = service.address();
    let gateway = builder
        .edit(move |config| config.endpoints("origin", &[origin]))
        .workers(2)
        .start();
    for _ in 0..10 {
        assert_eq!(gateway.get("/a", &[]).text(), "ok");
    }
    assert_eq!(service.count(), 1);
    coalesce::until_event(&gateway, "hit", 9);
    coalesce::assert_sound(&gateway);
    nothing_to_complain_about(&gateway);
}

/// What exists is shared as well, and what does not is refused.
fn guards(builder: Builder, redis: &Redis) {
    bloom::build(redis, "items", 1..=9);
    let service = Service::start(|_, _, stream| coalesce::answer(stream, coalesce::FRESH, b"ok"));
    let origin = service.address();
    let gateway = builder
        .route(Route::CoalesceBloom)
        .edit(patiently)
        .edit(move |config| config.endpoints("origin", &[origin]))
        .workers(2)
        .start();
    bloom::until_loaded(&gateway, 2, 1);
    for _ in 0..10 {
        assert_eq!(gateway.get("/items/7/reviews", &[]).text(), "ok");
        assert_eq!(gateway.get("/items/77/reviews", &[]).status, 404);
    }
    assert_eq!(service.count(), 1);
    coalesce::assert_sound(&gateway);
    nothing_to_complain_about(&gateway);
}

#[test]
fn the_coalescing_example_serves_with_its_alternative_too() {
    shares_answers(Gateway::builder().route(Route::Coalesce));
    let policy = json!({
        "purge": {"path": "/.purge", "token": {"env": "PURGE_TOKEN"}},
        "routes": [{"name": "all"}],
    });
    shares_answers(
        Gateway::builder()
            .route(Route::Coalesce)
            .alternative("purge")
            .env("PURGE_TOKEN", "secret")
            .policy(policy),
    );
}

#[test]
fn the_example_with_a_guard_serves_with_its_alternatives_too() {
    let redis = Redis::start();
    guards(Gateway::builder().redis(&redis), &redis);
    let redis = Redis::builder().password("secret").start();
    let builder = Gateway::builder().redis(&redis).alternative("auth");
    let builder = builder.env("REDIS_PASSWORD", "secret");
    let builder =
        builder.edit(|config| config.redis_policy("password", json!({"env": "REDIS_PASSWORD"})));
    guards(builder, &redis);
    if !speaks_tls() {
        eprintln!("skipped: this redis-server is built without TLS");
        return;
    }
    let redis = Redis::builder().tls().start();
    guards(Gateway::builder().redis_tls(&redis), &redis);
}

#[test]
fn every_alternative_of_the_idempotency_examples_serves() {
    for route in [Route::Idempotency, Route::IdempotencyStream] {
        let redis = Redis::builder().password("secret").start();
        let builder = Gateway::builder().route(route).redis(&redis);
        keeps_answers(
            builder
                .alternative("auth")
                .env("REDIS_PASSWORD", "secret")
                .edit(|config| config.redis_policy("password", json!({"env": "REDIS_PASSWORD"}))),
        );
        if !speaks_tls() {
            eprintln!("skipped: this redis-server is built without TLS");
            return;
        }
        let redis = Redis::builder().tls().start();
        keeps_answers(Gateway::builder().route(route).redis_tls(&redis));
    }
}

#[test]
fn every_alternative_of_the_etcd_example_serves() {
    let etcd = Etcd::start();
    etcd.require_login(("sluice", "secret"), "sluice:idem:");
    let builder = Gateway::builder().etcd(&etcd).alternative("auth");
    keeps_answers(builder.env("ETCD_PASSWORD", "secret").edit(|config| {
        config.store_policy("etcd", "username", "sluice".into());
        config.store_policy("etcd", "password", json!({"env": "ETCD_PASSWORD"}));
    }));
    keeps_answers(Gateway::builder().etcd(&Etcd::start_tls()));
}

#[test]
fn every_alternative_of_the_examples_serves() {
    let cluster = RedisCluster::start();
    serves(
        Gateway::builder()
            .route(Route::Pooled)
            .redis_cluster(&cluster)
            .edit(|config| config.redis_policy("hash_slots", true.into())),
    );

    let redis = Redis::builder().password("secret").start();
    for route in WITH_REDIS {
        let _ = redis.cmd(&["FLUSHALL"]);
        let builder = Gateway::builder().route(route).redis(&redis);
        let builder = builder.alternative("auth").env("REDIS_PASSWORD", "secret");
        serves(if route == Route::Pooled {
            builder
        } else {
            builder.edit(|config| config.redis_policy("password", json!({"env": "REDIS_PASSWORD"})))
        });
    }

    if !speaks_tls() {
        eprintln!("skipped: this redis-server is built without TLS");
        return;
    }
    let redis = Redis::builder().tls().start();
    for route in WITH_REDIS {
        let _ = redis.cmd(&["FLUSHALL"]);
        serves(Gateway::builder().route(route).redis_tls(&redis));
    }
}

#[test]
fn an_example_allows_a_filter_what_the_list_allows() {
    let known = HostFunctions::read();
    for route in ROUTES {
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
    for route in [Route::Coalesce, Route::CoalesceBloom] {
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

#[test]
fn the_policy_of_every_example_is_valid() {
    let mut config = Config::example(Route::Idempotency.example());
    let policy = config.filter()["configuration"]["value"].clone();
    let policy = Idempotency::load(policy.as_str().expect("a policy").as_bytes());
    let policy = policy.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(policy.redis().unwrap().cluster_name, "sluice-redis");
    let policy = shipped_policy(Route::Redlock).to_string();
    let policy = Idempotency::load(policy.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let voters = ["sluice-redis-a", "sluice-redis-b", "sluice-redis-c"];
    let Records::Redis(named) = &policy.records else {
        panic!("Redis")
    };
    assert_eq!(named.clusters().collect::<Vec<_>>(), voters);
    let policy = shipped_policy(Route::Etcd).to_string();
    let policy = Idempotency::load(policy.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let Records::Etcd(named) = &policy.records else {
        panic!("etcd")
    };
    assert_eq!(named.cluster_name, "etcd");
    for route in [Route::Coalesce, Route::CoalesceBloom] {
        let policy = Coalesce::load(shipped_policy(route).to_string().as_bytes());
        assert!(policy.is_ok(), "{policy:?}");
    }
    for route in ROUTES {
        let mut config = Config::example(route.example());
        let policy = config.filter()["configuration"]["value"]
            .as_str()
            .expect("a policy")
            .to_owned();
        let policy = RateLimit::load(policy.as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", route.example()));
        let clusters = config.value()["static_resources"]["clusters"]
            .as_array()
            .unwrap();
        if let Some(redis) = policy.redis {
            assert!(
                clusters
                    .iter()
                    .any(|cluster| cluster["name"] == redis.cluster_name.as_str())
            );
        }
    }
}
