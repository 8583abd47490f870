//! What is changed in a gateway's configuration to compare it with others.

use host_tests::config::Config;
use serde_json::{Value, json};

/// The gateway answers by itself: what is measured is the filter, not an origin.
pub fn answer_directly(config: &mut Config) {
    answer_with(config, "ok");
}

/// The same with a body.
pub fn answer_with(config: &mut Config, body: &str) {
    let routes = "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes";
    *at(config, routes) = json!([{
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": body}},
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

pub fn without_filter(config: &mut Config) {
    at(config, FILTERS)
        .as_array_mut()
        .expect("filters")
        .remove(0);
}

/// For the filter that does nothing: it takes its configuration for the name of a header to read.
pub fn unconfigured(config: &mut Config) {
    let filter = config.filter().as_object_mut();
    filter.expect("an object").remove("configuration");
}

/// The filter that does nothing but reads one header.
pub fn reading(config: &mut Config, header: &str) {
    config.filter()["configuration"] = json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": header,
    });
}

/// The filter that does nothing, as filters are loaded when nobody says which callbacks they need.
pub fn with_every_callback(config: &mut Config) {
    unconfigured(config);
    let vm = config.filter()["vm_config"].as_object_mut();
    vm.expect("an object")
        .remove("capability_restriction_config");
}

pub fn local_ratelimit(config: &mut Config) {
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

pub fn lua(config: &mut Config) {
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

/// Envoy's own cache in the place of the filter.
pub fn cache_v2(config: &mut Config) {
    at(config, FILTERS)[0] = json!({
        "name": "envoy.filters.http.cache_v2",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.cache_v2.v3.CacheV2Config",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.http.cache_v2.simple_http_cache.v3.SimpleHttpCacheV2Config",
            },
        },
    });
}
