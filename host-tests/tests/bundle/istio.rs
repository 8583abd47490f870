//! What the manifests of Istio put into a gateway is what the examples have, which are tested.

use std::fs;

use host_tests::config::Config;
use host_tests::tools;
use serde_json::{Value, json};

fn manifests(name: &str) -> Vec<Value> {
    let path = tools::root().join("envoy-config/istio").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let documents = text.split("\n---\n");
    let read =
        |text| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    documents.map(read).collect()
}

/// As if its filters lay where those of a manifest do.
fn placed(block: &Value) -> Value {
    let dist = tools::root().join("dist");
    let text = block.to_string();
    let text = text.replace(dist.to_str().unwrap(), "/var/lib/sluice");
    serde_json::from_str(&text).unwrap()
}

/// Without what need not be the same: how many shards there are.
fn comparable(filter: &Value) -> Value {
    let mut filter = placed(filter);
    let policy = filter["configuration"]["value"].as_str().unwrap();
    let mut policy: Value = serde_json::from_str(policy).unwrap();
    if let Some(shards) = policy.pointer_mut("/tables/users/shards") {
        *shards = json!("some");
    }
    filter["configuration"]["value"] = policy;
    filter
}

/// Without where its endpoints are, and how these are found.
fn anywhere(cluster: &Value) -> Value {
    let mut cluster = cluster.clone();
    cluster.as_object_mut().unwrap().remove("type");
    let pointer = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    if let Some(address) = cluster.pointer_mut(pointer) {
        *address = json!("somewhere");
    }
    cluster
}

#[test]
fn a_manifest_has_the_blocks_of_its_example() {
    for (manifest, example, least, clusters) in [
        ("rate-limit.yaml", "rate-limit-redis.yaml", 5, 2),
        ("idempotency.yaml", "idempotency.yaml", 5, 2),
        ("shard-route.yaml", "shard-route.yaml", 1, 0),
    ] {
        let mut config = Config::example(example);
        let documents = manifests(manifest);
        let patches = documents[0]["spec"]["configPatches"].as_array().unwrap();
        let mut added = 0;
        for patch in patches {
            let value = &patch["patch"]["value"];
            let name = value["name"].as_str().unwrap_or_default();
            match (
                patch["applyTo"].as_str().unwrap(),
                patch["patch"]["operation"].as_str().unwrap(),
            ) {
                ("HTTP_FILTER", "INSERT_BEFORE") => {
                    let filter = &value["typed_config"]["config"];
                    assert_eq!(
                        comparable(filter),
                        comparable(config.filter()),
                        "{manifest}"
                    );
                }
                ("LISTENER", "ADD") => {
                    assert_eq!(value, &placed(config.listener(name)), "{manifest}");
                }
                ("LISTENER", "MERGE") => {
                    let limit = "per_connection_buffer_limit_bytes";
                    assert_eq!(
                        value[limit],
                        config.listener("gateway")[limit],
                        "{manifest}"
                    );
                }
                ("CLUSTER", "ADD") => {
                    added += 1;
                    assert_eq!(
                        anywhere(value),
                        anywhere(config.cluster(name)),
                        "{manifest}"
                    );
                }
                ("BOOTSTRAP", "MERGE") => {
                    for (field, value) in value.as_object().unwrap() {
                        assert_eq!(value, &config.value()[field], "{manifest}: {field}");
                    }
                }
                other => panic!("{manifest}: {other:?}"),
            }
        }
        assert_eq!(
            (patches.len() >= least, added),
            (true, clusters),
            "{manifest}"
        );
    }
}

#[test]
fn every_manifest_is_of_a_kind_that_istio_knows() {
    let folder = tools::root().join("envoy-config/istio").read_dir().unwrap();
    let mut count = 0;
    for entry in folder {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        for document in manifests(&name) {
            let kind = document["kind"].as_str().unwrap();
            let version = match kind {
                "EnvoyFilter" => "networking.istio.io/v1alpha3",
                "VirtualService" | "DestinationRule" => "networking.istio.io/v1",
                other => panic!("{name}: {other}"),
            };
            assert_eq!(document["apiVersion"], version, "{name}");
            assert!(document["metadata"]["name"].is_string(), "{name}");
            count += 1;
        }
    }
    assert!(count >= 7, "{count}");
}
