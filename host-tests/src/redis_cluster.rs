//! A Redis Cluster of three masters without replicas, each holding a third of the slots.

use crate::redis::Redis;
use crate::wait;

const SLOTS: u32 = 16_384;
const MASTERS: u32 = 3;

/// A running cluster; dropping it kills every node.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts the nodes and waits until each of them knows the whole cluster.
    #[must_use]
    pub fn start() -> Self {
        let nodes: Vec<Redis> = (0..MASTERS)
            .map(|_| {
                Redis::builder()
                    .option("cluster-enabled", "yes")
                    .option("cluster-node-timeout", "2000")
                    .start()
            })
            .collect();
        for ((node, index), epoch) in nodes.iter().zip(0..).zip(1..) {
            let _ = node.cmd(&["CLUSTER", "SET-CONFIG-EPOCH", &i32::to_string(&epoch)]);
            let mut command = redis::cmd("CLUSTER");
            command.arg("ADDSLOTS");
            for slot in SLOTS * index / MASTERS..SLOTS * (index + 1) / MASTERS {
                command.arg(slot);
            }
            command
                .exec(&mut node.connect())
                .expect("slots that nobody has can be added");
        }
        if let Some((first, others)) = nodes.split_first() {
            for other in others {
                let _ = first.cmd(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
            }
        }
        for node in &nodes {
            wait::until("every node to see the whole cluster", || {
                let info: String = node.query(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            });
        }
        Self { nodes }
    }

    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The nodes, to break them.
    pub fn nodes_mut(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }
}
