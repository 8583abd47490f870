//! What the filters cost on a real Envoy: throughput of one worker as a ratio to a wasm filter that does nothing.
//!
//! Every variant is an Envoy of its own, started beforehand; the load goes to one after the other, round by round, so
//! that a slow moment of the machine hits all alike, and medians are compared. `wrk` sends the load: 32 connections
//! that ask as fast as they are answered. `ROUNDS` and `SECONDS` (of one run) can be set; arguments pick variants by
//! their names, or by the beginning with a `*` behind it.

use host_tests::config::Config;
use host_tests::gateway::{Builder, Gateway, Route};
use host_tests::redis::Redis;
use host_tests::tools;
use serde_json::{Value, json};
use std::process::Command;

const CONNECTIONS: &str = "32";

struct Variant {
    name: &'static str,
    /// The ratio to the do-nothing filter that is promised.
    goal: Option<f64>,
    gateway: Gateway,
    /// Requests per second, by round.
    rates: Vec<f64>,
    /// Microseconds of Envoy's processor time per request, by round: steadier than the rate on a busy machine.
    costs: Vec<f64>,
}

fn main() {
    let setting = |name: &str, default: usize| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (rounds, seconds) = (setting("ROUNDS", 5), setting("SECONDS", 3));
    let picked: Vec<String> = std::env::args().skip(1).collect();
    let redis = Redis::start();
    println!(
        "one worker, {CONNECTIONS} connections, {rounds} rounds of {seconds} s; ratios to: {BASELINE}"
    );
    for (title, behind) in [
        ("an origin behind the gateway", Behind::Origin),
        (
            "nothing behind it: the gateway answers by itself",
            Behind::Nothing,
        ),
    ] {
        let mut variants = variants(&redis, behind, &picked);
        for round in 0..=rounds {
            for variant in &mut variants {
                let pid = variant.gateway.envoy().running().pid();
                let before = processor_time(pid);
                let (rate, requests) = load(&variant.gateway, if round == 0 { 1 } else { seconds });
                // The first round only warms up.
                if round > 0 {
                    variant.rates.push(rate);
                    let spent = processor_time(pid) - before;
                    variant.costs.push(spent * 1e6 / requests);
                }
            }
        }
        print(title, &variants);
    }
}

/// What answers the requests that pass.
#[derive(Clone, Copy)]
enum Behind {
    Origin,
    /// The hardest comparison: next to nothing but the filter is left to pay for.
    Nothing,
}

fn variants(redis: &Redis, behind: Behind, picked: &[String]) -> Vec<Variant> {
    let mut variants = Vec::new();
    let mut add = |name: &'static str, goal: Option<f64>, builder: &dyn Fn() -> Builder| {
        let wanted = |pick: &String| match pick.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pick,
        };
        let wanted = picked.is_empty() || picked.iter().any(wanted);
        if wanted || name == BASELINE {
            let gateway = match behind {
                Behind::Origin => builder().start(),
                Behind::Nothing => builder().edit(answer_directly).start(),
            };
            variants.push(Variant {
                name,
                goal,
                gateway,
                rates: Vec::new(),
                costs: Vec::new(),
            });
        }
    };
    add("no filter", None, &|| {
        Gateway::builder().edit(without_filter)
    });
    add(BASELINE, None, &|| {
        Gateway::builder().wasm("noop").edit(with_every_callback)
    });
    add("the same, without needless callbacks", None, &|| {
        Gateway::builder().wasm("noop")
    });
    add("envoy local_ratelimit", None, &|| {
        Gateway::builder().edit(local_ratelimit)
    });
    add("envoy lua, reads one header", None, &|| {
        Gateway::builder().edit(lua)
    });
    add("rate-limit local", Some(0.95), &|| {
        Gateway::builder().policy(policy("local", "off", by_header()))
    });
    add("rate-limit local, draft fields", None, &|| {
        Gateway::builder().policy(policy("local", "draft", by_header()))
    });
    add("rate-limit local, key of X-Forwarded-For", None, &|| {
        let mut policy = policy("local", "off", by_address());
        policy["client_ip"] = json!({"trusted_hops": 1});
        Gateway::builder().policy(policy)
    });
    add("rate-limit local, key of the peer's address", None, &|| {
        Gateway::builder().policy(policy("local", "off", by_address()))
    });
    add(
        "rate-limit local, key of a header, no other copy",
        None,
        &|| Gateway::builder().policy(policy("local", "off", json!({"header": "x-api-key"}))),
    );
    add("rate-limit local, denied", None, &|| {
        Gateway::builder().policy(denying("local"))
    });
    add("rate-limit leased", Some(0.90), &|| {
        with_redis(redis).policy(policy("leased", "off", by_header()))
    });
    add("rate-limit strict, direct", Some(0.45), &|| {
        with_redis(redis).policy(policy("strict", "off", by_header()))
    });
    add("rate-limit strict, stream", Some(0.45), &|| {
        let mut policy = policy("strict", "off", by_header());
        policy["redis"]["transport"] = "stream".into();
        with_redis(redis).route(Route::Stream).policy(policy)
    });
    add("rate-limit strict, pooled", None, &|| {
        with_redis(redis)
            .route(Route::Pooled)
            .policy(policy("strict", "off", by_header()))
    });
    let socket = redis.unix_socket().to_string_lossy().into_owned();
    add("rate-limit strict, Unix socket", None, &|| {
        let socket = socket.clone();
        with_redis(redis)
            .policy(policy("strict", "off", by_header()))
            .edit(move |config| {
                let address = json!({"pipe": {"path": socket}});
                config.cluster("redis")["load_assignment"]["endpoints"] =
                    json!([{"lb_endpoints": [{"endpoint": {"address": address}}]}]);
            })
    });
    add("rate-limit strict, denied", Some(0.90), &|| {
        with_redis(redis).policy(denying("strict"))
    });
    add("rate-limit strict, one callout each", None, &|| {
        let mut policy = policy("strict", "off", by_header());
        policy["redis"]["batch"] = json!({"max_commands": 1, "in_flight": 64});
        with_redis(redis).policy(policy)
    });
    variants
}

const BASELINE: &str = "wasm that does nothing";

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

/// Requests per second, and how many requests in all.
fn load(gateway: &Gateway, seconds: usize) -> (f64, f64) {
    let output = Command::new(tools::wrk())
        .args(["-t", "1", "-c", CONNECTIONS, "-d", &format!("{seconds}s")])
        .args(["-H", "x-api-key: 8e03978e-40d5-43e8-bc93-6894a57f9324"])
        .arg(gateway.url())
        .output()
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |text: &str| text.trim().parse().ok();
    let rate = text
        .lines()
        .find_map(|line| number(line.strip_prefix("Requests/sec:")?));
    let requests = text
        .lines()
        .find_map(|line| number(line.split_once(" requests in")?.0));
    rate.zip(requests)
        .unwrap_or_else(|| panic!("wrk prints no rate: {text}"))
}

/// Commands in a callout, on average; none for a filter that made none.
fn batch_size(gateway: &Gateway) -> Option<f64> {
    let stat = |name: &str| {
        let name = format!("wasmcustom.sluice_rate_limit.redis.{name}");
        gateway.envoy().stat(&name) as f64
    };
    let callouts = stat("callouts");
    (callouts > 0.0).then(|| stat("commands") / callouts)
}

/// Seconds of processor time that a process has taken, all its threads together.
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number of ticks");
    (ticks(12) + ticks(13)) / rustix::param::clock_ticks_per_second() as f64
}

fn print(title: &str, variants: &[Variant]) {
    let median = |rates: &[f64]| {
        let mut sorted = rates.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let baseline = variants
        .iter()
        .find(|variant| variant.name == BASELINE)
        .map(|variant| variant.rates.clone())
        .expect("the baseline always runs");
    println!();
    println!(
        "{:48} {:>9} {:>7} {:>15} {:>6}",
        title, "req/s", "ratio", "min - max", "goal"
    );
    for variant in variants {
        let mut ratios: Vec<f64> = variant
            .rates
            .iter()
            .zip(&baseline)
            .map(|(rate, base)| rate / base)
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "{:48} {:>9.0} {:>7.3} {:>7.3} - {:.3} {:>6} {:>8.2} {:>6}",
            variant.name,
            median(&variant.rates),
            median(&ratios),
            ratios[0],
            ratios[ratios.len() - 1],
            variant
                .goal
                .map_or(String::new(), |goal| format!("{goal:.2}")),
            median(&variant.costs),
            batch_size(&variant.gateway).map_or(String::new(), |size| format!("{size:.1}")),
        );
    }
}

/// The gateway answers by itself: what is measured is the filter, not an origin.
fn answer_directly(config: &mut Config) {
    let routes = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes";
    *at(config, routes) = json!([{
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
    }]);
}

fn at<'a>(config: &'a mut Config, pointer: &str) -> &'a mut Value {
    let listeners = config.value_mut()["static_resources"]["listeners"].as_array_mut();
    let mut listeners = listeners.expect("listeners").iter_mut();
    let gateway = listeners.find(|listener| listener["name"] == "gateway");
    gateway
        .expect("a gateway")
        .pointer_mut(pointer)
        .expect("it is there")
}

const FILTERS: &str = "/filter_chains/0/filters/0/typed_config/http_filters";

fn without_filter(config: &mut Config) {
    at(config, FILTERS)
        .as_array_mut()
        .expect("filters")
        .remove(0);
}

/// As filters are loaded when nobody says which callbacks they need.
fn with_every_callback(config: &mut Config) {
    let vm = config.filter()["vm_config"].as_object_mut();
    vm.expect("an object")
        .remove("capability_restriction_config");
}

fn local_ratelimit(config: &mut Config) {
    at(config, FILTERS)[0] = json!({
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "bench",
            "token_bucket": {"max_tokens": 1_000_000, "tokens_per_fill": 1_000_000, "fill_interval": "1s"},
            "filter_enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
            "filter_enforced": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
        },
    });
}

fn lua(config: &mut Config) {
    let code =
        "function envoy_on_request(handle)\n  local key = handle:headers():get('x-api-key')\nend";
    at(config, FILTERS)[0] = json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": code},
        },
    });
}
