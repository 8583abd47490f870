//! Idempotency keys: a first request takes two rounds to Redis, a replay one.

use crate::edits::unconfigured;
use crate::measure::{BASELINE, Effort, Load, Variants};
use host_tests::coalesce::answer;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::idempotency::Service;
use host_tests::redis::Redis;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Bytes, of answers that are stored.
const SIZES: [(&str, usize); 3] = [("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)];
const BUFFER: u32 = 4 << 20;

pub fn run(picked: &[String], effort: Effort) {
    let redis = Redis::start();
    // A thread that sleeps keeps to the time better than a timer of whole milliseconds.
    let slow = Service::start(|message, _, stream| {
        std::thread::sleep(Duration::from_millis(1));
        let (_, size) = message.path.split_once("size=").expect("a size");
        let size = size.parse().expect("a number");
        answer(stream, "", &vec![b'x'; size])
    });
    let folder = TempDir::with_prefix("sluice-bench-").expect("a temporary folder");
    let [small, large @ ..] = SIZES;
    let small = [1, 32, 256].map(|connections| (connections, small));
    let large = [1, 32, 256].map(|connections| large.map(|size| (connections, size)));
    let tables = small.into_iter().chain(large.into_iter().flatten());
    for (connections, (name, size)) in tables {
        let script = folder.path().join(format!("{size}.lua"));
        fs::write(&script, posts(size)).expect("the script can be written");
        variants(&redis, slow.address(), connections, picked).measure(
            &format!("POST with a key, answers of {name}, {connections} connections"),
            &load(connections, &script, size),
            effort,
        );
    }
}

fn load(connections: usize, script: &Path, answer: usize) -> Load {
    Load {
        connections,
        arguments: vec!["-s".to_owned(), script.to_string_lossy().into_owned()],
        filter: "sluice_idempotency",
        answer,
    }
}

/// What `wrk` sends: each request with a key of its own, and with one that all have. The variants differ in which they
/// look at.
fn posts(size: usize) -> String {
    format!(
        "local run, count = tostring(os.time()) .. tostring({{}}):gsub('%W', ''), 0
local body = string.rep('x', 1024)
function request()
  count = count + 1
  wrk.headers['x-new-key'] = run .. '-' .. count
  wrk.headers['x-same-key'] = 'the-same'
  return wrk.format('POST', '/pay?size={size}', nil, body)
end
"
    )
}

fn variants<'a>(
    redis: &'a Redis,
    slow: SocketAddr,
    connections: usize,
    picked: &'a [String],
) -> Variants<'a> {
    let mut variants = Variants::new(picked);
    // As the filters, it sees the bodies.
    variants.add(BASELINE, None, move || {
        with_redis(redis).wasm("noop").edit(unconfigured)
    });
    variants.add("idempotency, first request", None, move || {
        with_redis(redis).policy(policy("x-new-key"))
    });
    variants.add("idempotency, first request, stream", None, move || {
        let mut policy = policy("x-new-key");
        policy["redis"]["transport"] = "stream".into();
        with_redis(redis)
            .route(Route::IdempotencyStream)
            .policy(policy)
    });
    variants.add("idempotency, replay", None, move || {
        with_redis(redis).policy(policy("x-same-key"))
    });
    // As at another gateway than the one that stored it.
    variants.add("idempotency, replay, not trusted", None, move || {
        let mut policy = policy("x-same-key");
        policy["worker"] = json!({"trust_remembered": "0s"});
        with_redis(redis).policy(policy)
    });
    variants.add("idempotency, replay, not remembered", None, move || {
        let mut policy = policy("x-same-key");
        policy["worker"] = json!({"max_remembered": "0B"});
        with_redis(redis).policy(policy)
    });
    // What a replay is to keep up with.
    variants.add(
        "wasm that does nothing, an upstream of 1 ms",
        None,
        move || {
            let gateway = with_redis(redis).wasm("noop").edit(unconfigured);
            gateway.edit(move |config| config.endpoints("origin", &[slow]))
        },
    );
    if connections == 256 {
        variants.add(
            "idempotency, first request, one callout each",
            None,
            move || {
                let mut policy = policy("x-new-key");
                policy["redis"]["batch"] = json!({"max_commands": 1, "in_flight": 64});
                with_redis(redis).policy(policy)
            },
        );
    }
    variants
}

/// Redis has nothing of the runs before.
fn with_redis(redis: &Redis) -> Builder {
    let _ = redis.cmd(&["FLUSHALL"]);
    Gateway::builder()
        .route(Route::Idempotency)
        .redis(redis)
        .edit(|config| {
            config.listener("gateway")["per_connection_buffer_limit_bytes"] = BUFFER.into();
        })
}

fn policy(key_header: &str) -> Value {
    json!({
        "redis": {"cluster": "sluice-redis", "timeout": "2s"},
        "gateway_buffer": format!("{}MiB", BUFFER >> 20),
        "routes": [{
            "name": "bench",
            "scope": [{"const": "all"}],
            "key_header": key_header,
            "key_mode": "compat",
            "max_response_body": "1MiB",
        }],
    })
}
