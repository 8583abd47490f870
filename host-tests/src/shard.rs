//! What the tests of shard routing share: shards that are origins, a gateway in front of them, and what it says of a
//! request.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use sluice_core::shard::published::{PUBLISH, Published, Signer};

use crate::client::Response;
use crate::config::Config;
use crate::gateway::{Builder, Gateway, Route};
use crate::origin::Origin;
use crate::redis::Redis;

/// The shards `s0`, `s1`, and so on. Each is one origin, primary and replica alike, unless it has a replica of its own.
#[derive(Debug)]
pub struct Shards {
    pub primaries: Vec<Arc<Origin>>,
    /// Empty, or one for each.
    pub replicas: Vec<Arc<Origin>>,
}

impl Shards {
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start(count: usize) -> Self {
        let primaries = (0..count).map(|_| Arc::new(Origin::start()));
        Self {
            primaries: primaries.collect(),
            replicas: Vec::new(),
        }
    }

    /// With a replica for each.
    #[must_use]
    pub fn with_replicas(mut self) -> Self {
        let replicas = self.primaries.iter().map(|_| Arc::new(Origin::start()));
        self.replicas = replicas.collect();
        self
    }

    /// A gateway in front of them, to be started.
    #[must_use]
    pub fn gateway(&self, policy: &Value) -> Builder {
        let endpoints: Vec<(SocketAddr, SocketAddr)> = self
            .primaries
            .iter()
            .enumerate()
            .map(|(place, primary)| {
                let replica = self.replicas.get(place).unwrap_or(primary);
                (primary.address(), replica.address())
            })
            .collect();
        gateway(&endpoints, policy)
    }

    /// The one that has got a request of this path, and whether its replica did; of several the first.
    #[must_use]
    pub fn reached(&self, path: &str) -> Option<(usize, bool)> {
        let find =
            |origins: &[Arc<Origin>]| origins.iter().position(|origin| origin.hits(path) > 0);
        let primary = find(&self.primaries).map(|place| (place, false));
        primary.or_else(|| find(&self.replicas).map(|place| (place, true)))
    }
}

/// A gateway in front of shards `s0`, `s1`, and so on: the addresses of primary and replica of each.
#[must_use]
pub fn gateway(shards: &[(SocketAddr, SocketAddr)], policy: &Value) -> Builder {
    let shards = shards.to_vec();
    Gateway::builder()
        .route(Route::ShardRoute)
        .policy(policy)
        .edit(move |config| {
            for (place, (primary, replica)) in shards.iter().enumerate() {
                set_shard(config, &format!("s{place}"), *primary, *replica);
            }
        })
}

/// Makes a cluster of this name lead to them; one that the example does not have is made like the first.
fn set_shard(config: &mut Config, name: &str, primary: SocketAddr, replica: SocketAddr) {
    let clusters = config.value_mut()["static_resources"]["clusters"]
        .as_array_mut()
        .expect("the example has clusters");
    if !clusters.iter().any(|cluster| cluster["name"] == name) {
        let first = clusters.iter().find(|cluster| cluster["name"] == "s0");
        let mut another = first.expect("the example has s0").clone();
        another["name"] = name.into();
        another["load_assignment"]["cluster_name"] = name.into();
        clusters.push(another);
    }
    config.endpoints(name, &[primary, replica]);
    let endpoints = &mut config.cluster(name)["load_assignment"]["endpoints"][0]["lb_endpoints"];
    for (place, role) in ["primary", "replica"].iter().enumerate() {
        endpoints[place]["metadata"] = json!({"filter_metadata": {"envoy.lb": {"role": role}}});
    }
}

/// A policy of one table `users` of four shards and one route for all, with the key in `x-user`; `table` and `route` are
/// set in them.
#[must_use]
pub fn policy(table: Value, route: Value) -> Value {
    let table = crate::limits::with(
        json!({"fill": "jump", "shards": ["s0", "s1", "s2", "s3"]}),
        table,
    );
    let route = crate::limits::with(
        json!({"name": "users", "table": "users", "key": [{"header": "x-user"}]}),
        route,
    );
    json!({"tables": {"users": table}, "routes": [route]})
}

/// What the origin saw in a header of a request to `/echo`.
#[must_use]
pub fn echoed(response: &Response, name: &str) -> Vec<String> {
    let prefix = format!("{name}: ");
    let text = response.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    lines.map(str::to_owned).collect()
}

/// A count of the filter.
#[must_use]
pub fn count(gateway: &Gateway, name: &str) -> u64 {
    let name = format!("wasmcustom.sluice_shard_route.{name}");
    gateway.envoy().stat(&name)
}

/// Where tables are published.
pub const PLACE: &str = "sluice:shard-tables:tables";

/// Version 1 is in the policy, and says `s0`.
#[must_use]
pub fn refreshed(refresh: Value) -> Value {
    let mut policy = policy(json!({"shards": ["s0"]}), json!({}));
    policy["refresh"] = crate::limits::with(json!({"version": 1, "every": "100ms"}), refresh);
    policy["redis"] = json!({"cluster": "sluice-redis", "timeout": "5s"});
    policy
}

/// As `sluice shard publish` does it. True when it was newer.
///
/// # Panics
/// When Redis refuses.
pub fn publish(redis: &Redis, version: u64, tables: &Value, secret: Option<&str>) -> bool {
    let published = Published {
        version,
        tables: tables.to_string().into_bytes(),
    };
    let signer = secret.map(|secret| Signer::new(secret.as_bytes(), PLACE).unwrap());
    let signature = signer.map_or(Vec::new(), |signer| signer.sign(&published));
    let (done, _): (bool, String) = redis::cmd("EVAL")
        .arg(PUBLISH)
        .arg(1)
        .arg(PLACE)
        .arg(version)
        .arg(published.tables)
        .arg(signature)
        .query(&mut redis.connect())
        .unwrap();
    done
}
