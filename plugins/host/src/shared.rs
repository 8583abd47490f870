//! The gateway's shared data, for [`sluice_core::slots`].

use proxy_wasm::hostcalls;
use sluice_core::slots::{ABSENT, Mismatch, SharedData, Version};

/// Shared data of this process: one map for all VMs with the same `vm_id`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GatewayShared;

impl SharedData for GatewayShared {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        match hostcalls::get_shared_data(key) {
            Ok((value, Some(version))) => Some((value.unwrap_or_default(), version)),
            _ => None,
        }
    }

    fn set(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch> {
        hostcalls::set_shared_data(key, Some(value), Some(expected)).map_err(|_| Mismatch)
    }

    fn put(&self, key: &str, value: &[u8]) {
        // Fails only where the host has no shared data at all.
        let _ = hostcalls::set_shared_data(key, Some(value), None);
    }
}

/// A secret of this process, the same in every worker: made by whichever comes first. It keeps clients from finding
/// keys that share a record.
#[must_use]
pub fn process_secret() -> [u64; 4] {
    const KEY: &str = "sluice/secret";
    let store = GatewayShared;
    let mut fresh = [0; 32];
    if getrandom::fill(&mut fresh).is_err() {
        log::warn!("no random numbers: the local table's hash can be predicted");
    }
    // Only the first one is kept; everybody reads back what was.
    let _ = store.set(KEY, &fresh, ABSENT);
    let bytes = store.get(KEY).map_or(fresh.to_vec(), |(bytes, _)| bytes);
    let mut words = bytes.chunks_exact(8).map(|chunk| {
        chunk
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    });
    std::array::from_fn(|_| words.next().unwrap_or(0))
}
