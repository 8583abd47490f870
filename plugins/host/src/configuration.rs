//! What the gateway's operator configured.

use proxy_wasm::hostcalls;
use proxy_wasm::types::BufferType;

/// The plugin's configuration as text; empty when there is none. Call it in `on_configure` only.
#[must_use]
pub fn plugin(size: usize) -> Vec<u8> {
    if size == 0 {
        return Vec::new();
    }
    hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// A variable of the VM's environment, as its configuration passes it in.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
