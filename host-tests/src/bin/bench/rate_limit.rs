//! The rate limiter, what Envoy has instead, and what any filter costs.

use crate::edits::{
    answer_directly, local_ratelimit, lua, reading, unconfigured, with_every_callback,
    without_filter,
};
use crate::measure::{BASELINE, Effort, Load, Variants, is_picked};
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::redis::Redis;
use serde_json::{Value, json};

pub fn run(picked: &[String], effort: Effort) {
    let redis = Redis::start();
    let load = load(32);
    variants(&redis, Behind::Origin, picked).measure("an origin behind the gateway", &load, effort);
    variants(&redis, Behind::Nothing, picked).measure(
        "nothing behind it: the gateway answers by itself",
        &load,
        effort,
    );
    // What it gains that those who wait go together.
    let crowd: Vec<String> = [
        "rate-limit strict, direct",
        "rate-limit strict, stream",
        "rate-limit strict, one callout each",
    ]
    .into_iter()
    .filter(|name| is_picked(picked, name))
    .map(Into::into)
    .collect();
    if !crowd.is_empty() {
        variants(&redis, Behind::Nothing, &crowd).measure(
            "the same, 256 connections",
            &self::load(256),
            effort,
        );
    }
}

fn load(connections: usize) -> Load {
    Load {
        connections,
        arguments: ["-H", "x-api-key: 8e03978e-40d5-43e8-bc93-6894a57f9324"]
            .map(Into::into)
            .into(),
        filter: "sluice_rate_limit",
        answer: 0,
    }
}

/// What answers the requests that pass.
#[derive(Clone, Copy)]
enum Behind {
    Origin,
    /// The hardest comparison: next to nothing but the filter is left to pay for.
    Nothing,
}

fn variants<'a>(redis: &'a Redis, behind: Behind, picked: &'a [String]) -> Variants<'a> {
    let mut variants = Variants::new(picked);
    let mut add = |name: &str, goal: Option<f64>, builder: Box<dyn Fn() -> Builder + 'a>| {
        variants.add(name, goal, move || match behind {
            Behind::Origin => builder(),
            Behind::Nothing => builder().edit(answer_directly),
        });
    };
    add(
        "no filter",
        None,
        Box::new(|| Gateway::builder().edit(without_filter)),
    );
    add(
        BASELINE,
        None,
        Box::new(|| Gateway::builder().wasm("noop").edit(with_every_callback)),
    );
    add(
        "the same, without needless callbacks",
        None,
        Box::new(|| Gateway::builder().wasm("noop").edit(unconfigured)),
    );
    add(
        "envoy local_ratelimit",
        None,
        Box::new(|| Gateway::builder().edit(local_ratelimit)),
    );
    add(
        "envoy lua, reads one header",
        None,
        Box::new(|| Gateway::builder().edit(lua)),
    );
    add(
        "the same, reads one header",
        None,
        Box::new(|| {
            Gateway::builder()
                .wasm("noop")
                .edit(|config| reading(config, "x-api-key"))
        }),
    );
    add(
        "rate-limit local, one key for all",
        Some(0.95),
        Box::new(|| Gateway::builder().policy(policy("local", "off", json!({"const": "all"})))),
    );
    add(
        "rate-limit local",
        Some(0.95),
        Box::new(|| Gateway::builder().policy(policy("local", "off", by_header()))),
    );
    add(
        "rate-limit local, draft fields",
        None,
        Box::new(|| Gateway::builder().policy(policy("local", "draft", by_header()))),
    );
    add(
        "rate-limit local, key of X-Forwarded-For",
        None,
        Box::new(|| {
            let mut policy = policy("local", "off", by_address());
            policy["client_ip"] = json!({"trusted_hops": 1});
            Gateway::builder().policy(policy)
        }),
    );
    add(
        "rate-limit local, key of the peer's address",
        None,
        Box::new(|| Gateway::builder().policy(policy("local", "off", by_address()))),
    );
    add(
        "rate-limit local, key of a header, no other copy",
        None,
        Box::new(|| {
            Gateway::builder().policy(policy("local", "off", json!({"header": "x-api-key"})))
        }),
    );
    add(
        "rate-limit local, denied",
        None,
        Box::new(|| Gateway::builder().policy(denying("local"))),
    );
    add(
        "rate-limit leased",
        Some(0.90),
        Box::new(move || with_redis(redis).policy(policy("leased", "off", by_header()))),
    );
    add(
        "rate-limit strict, direct",
        Some(0.45),
        Box::new(move || with_redis(redis).policy(policy("strict", "off", by_header()))),
    );
    add(
        "rate-limit strict, stream",
        Some(0.45),
        Box::new(move || {
            let mut policy = policy("strict", "off", by_header());
            policy["redis"]["transport"] = "stream".into();
            with_redis(redis).route(Route::Stream).policy(policy)
        }),
    );
    add(
        "rate-limit strict, pooled",
        None,
        Box::new(move || {
            with_redis(redis)
                .route(Route::Pooled)
                .policy(policy("strict", "off", by_header()))
        }),
    );
    let socket = redis.unix_socket().to_string_lossy().into_owned();
    add(
        "rate-limit strict, Unix socket",
        None,
        Box::new(move || {
            let socket = socket.clone();
            with_redis(redis)
                .policy(policy("strict", "off", by_header()))
                .edit(move |config| {
                    let address = json!({"pipe": {"path": socket}});
                    config.cluster("redis")["load_assignment"]["endpoints"] =
                        json!([{"lb_endpoints": [{"endpoint": {"address": address}}]}]);
                })
        }),
    );
    add(
        "rate-limit strict, denied",
        Some(0.90),
        Box::new(move || with_redis(redis).policy(denying("strict"))),
    );
    add(
        "rate-limit strict, one callout each",
        None,
        Box::new(move || {
            let mut policy = policy("strict", "off", by_header());
            policy["redis"]["batch"] = json!({"max_commands": 1, "in_flight": 64});
            with_redis(redis).policy(policy)
        }),
    );
    variants.refusing("rate-limit local, denied");
    variants.refusing("rate-limit strict, denied");
    variants
}

fn by_address() -> Value {
    json!("client_ip")
}

fn by_header() -> Value {
    json!({"header": {"name": "x-api-key", "duplicates": "first"}})
}

fn with_redis(redis: &Redis) -> Builder {
    Gateway::builder().route(Route::Direct).redis(redis)
}

/// A limit that is never reached.
fn policy(mode: &str, headers: &str, key: Value) -> Value {
    let mut policy = json!({
        "headers": headers,
        "limits": [{
            "name": "bench",
            "key": [key],
            "rate": "1000000/s",
            "mode": mode,
        }],
    });
    if mode != "local" {
        policy["redis"] = json!({"cluster": "sluice-redis", "timeout": "1s"});
    }
    policy
}

/// A limit that is reached at once.
fn denying(mode: &str) -> Value {
    let mut policy = policy(mode, "off", by_header());
    policy["limits"][0]["rate"] = "1/h".into();
    policy["limits"][0]["name"] = "bench-denied".into();
    policy
}
