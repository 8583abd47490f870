//! Envoy configurations for tests: the shipped examples, with ports, paths and the policy replaced. What the tests
//! run is therefore what users copy.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::tools;

/// An Envoy configuration that can be changed before it is used.
#[derive(Debug, Clone)]
pub struct Config {
    value: Value,
}

impl Config {
    /// A file of `envoy-config/`, for example `rate-limit.yaml`, with the filters' absolute paths and sockets of its
    /// own. Ports stay as they are written.
    #[must_use]
    pub fn example(file: &str) -> Self {
        Self::example_with(file, &[])
    }

    /// The same with some of its alternatives switched on: the lines that start with `#NAME ` lose that.
    ///
    /// # Panics
    /// When the file is not there or not YAML, or has no such alternative.
    #[must_use]
    pub fn example_with(file: &str, alternatives: &[&str]) -> Self {
        let path = tools::root().join("envoy-config").join(file);
        let mut text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for name in alternatives {
            let mark = format!("#{name} ");
            assert!(text.contains(&mark), "{file} has no alternative {name}");
            text = text.replace(&mark, "");
        }
        let mut value: Value = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let own = format!(
            "-{}-{}",
            process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        each_string(&mut value, &mut |text| {
            if text.starts_with("dist/") {
                *text = tools::root().join(&*text).to_string_lossy().into_owned();
            } else if text.starts_with('@') {
                // An abstract socket: its name is shared by the whole machine.
                text.push_str(&own);
            }
        });
        Self { value }
    }

    /// The whole, for a change that has no method.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.value
    }

    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What Envoy reads. JSON is YAML.
    ///
    /// # Panics
    /// When it names a filter that is not built.
    #[must_use]
    pub fn text(&self) -> String {
        each_string(&mut self.value.clone(), &mut |text| {
            if text.starts_with('/') && text.ends_with(".wasm") {
                assert!(
                    Path::new(text).is_file(),
                    "{text} is missing: run `make build` first"
                );
            }
        });
        format!("{:#}", self.value)
    }

    pub fn admin_port(&mut self, port: u16) {
        self.value["admin"]["address"] = socket_address(([127, 0, 0, 1], port).into());
    }

    /// # Panics
    /// When there is no such listener.
    pub fn listener(&mut self, name: &str) -> &mut Value {
        named(&mut self.value["static_resources"]["listeners"], name)
    }

    /// # Panics
    /// When there is no such listener.
    pub fn listener_port(&mut self, listener: &str, port: u16) {
        self.listener(listener)["address"] = socket_address(([127, 0, 0, 1], port).into());
    }

    /// # Panics
    /// When there is no such cluster.
    pub fn cluster(&mut self, name: &str) -> &mut Value {
        named(&mut self.value["static_resources"]["clusters"], name)
    }

    /// Replaces the endpoints of a cluster.
    ///
    /// # Panics
    /// When there is no such cluster.
    pub fn endpoints(&mut self, cluster: &str, addresses: &[SocketAddr]) {
        let endpoints: Vec<Value> = addresses
            .iter()
            .map(|address| json!({"endpoint": {"address": socket_address(*address)}}))
            .collect();
        self.cluster(cluster)["load_assignment"]["endpoints"] =
            json!([{"lb_endpoints": endpoints}]);
    }

    /// The `config` of the wasm filter that the listener `gateway` runs first.
    ///
    /// # Panics
    /// When there is none.
    pub fn filter(&mut self) -> &mut Value {
        let filters = self
            .listener("gateway")
            .pointer_mut("/filter_chains/0/filters/0/typed_config/http_filters");
        let filters = filters
            .and_then(Value::as_array_mut)
            .expect("the gateway has HTTP filters");
        let filter = filters
            .iter_mut()
            .find(|filter| filter["name"] == "envoy.filters.http.wasm");
        &mut filter.expect("the gateway has a wasm filter")["typed_config"]["config"]
    }

    /// Sends every request to another cluster, for example to the one that the filter calls.
    ///
    /// # Panics
    /// When the gateway has no route.
    pub fn route_to(&mut self, cluster: &str) {
        let path =
            "/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0/route";
        let route = self.listener("gateway").pointer_mut(path);
        *route.expect("the gateway has a route") = json!({"cluster": cluster});
    }

    /// Which authority the connections to a store's cluster trust; the alternative `tls` must be on.
    ///
    /// # Panics
    /// When it is not.
    pub fn trusted_authority(&mut self, cluster: &str, file: &Path) {
        let path =
            "/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca";
        let authority = self.cluster(cluster).pointer_mut(path);
        authority.expect("TLS is on")["filename"] = file.to_string_lossy().into();
    }

    /// Replaces the policy.
    pub fn policy(&mut self, policy: &str) {
        self.filter()["configuration"]["value"] = policy.into();
    }

    /// Sets a field of the policy's `redis`.
    pub fn redis_policy(&mut self, field: &str, value: Value) {
        self.store_policy("redis", field, value);
    }

    /// Sets a field of the policy's `redis`, or what stands in its place.
    ///
    /// # Panics
    /// When the policy is not JSON.
    pub fn store_policy(&mut self, store: &str, field: &str, value: Value) {
        let policy = &mut self.filter()["configuration"]["value"];
        let mut changed: Value =
            serde_json::from_str(policy.as_str().unwrap_or_default()).expect("the policy is JSON");
        changed[store][field] = value;
        *policy = changed.to_string().into();
    }

    /// Runs another built filter in the place of the one that the example has.
    pub fn wasm(&mut self, name: &str) {
        let path = tools::wasm(name).to_string_lossy().into_owned();
        self.filter()["vm_config"]["code"]["local"]["filename"] = path.into();
    }
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

fn named<'a>(list: &'a mut Value, name: &str) -> &'a mut Value {
    let items = list
        .as_array_mut()
        .expect("a list of listeners or clusters");
    items
        .iter_mut()
        .find(|item| item["name"] == name)
        .unwrap_or_else(|| panic!("the configuration has no {name}"))
}

fn each_string(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_string(item, change)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| each_string(field, change)),
        _ => {}
    }
}
