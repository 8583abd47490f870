//! A gateway whose policy is changed while it runs: its listener is in a file that Envoy watches.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::config::Config;

/// The gateway's listener in a file of its own, which Envoy watches.
#[derive(Debug, Clone)]
pub struct Listener {
    file: PathBuf,
    config: Arc<Mutex<Option<Config>>>,
}

impl Listener {
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            file: folder.join("listeners.json"),
            config: Arc::default(),
        }
    }

    /// Moves the listener out of the configuration.
    pub fn take_from(&self, config: &mut Config) {
        *self.config.lock().expect("nobody panicked with it") = Some(config.clone());
        self.write();
        let listeners = config.value_mut()["static_resources"]["listeners"]
            .as_array_mut()
            .expect("a list");
        listeners.retain(|listener| listener["name"] != "gateway");
        config.value_mut()["node"] = json!({"id": "test", "cluster": "test"});
        config.value_mut()["dynamic_resources"] =
            json!({"lds_config": {"path_config_source": {"path": self.file.to_string_lossy()}}});
    }

    fn write(&self) {
        let mut config = self.config.lock().expect("nobody panicked with it");
        let mut listener = config
            .as_mut()
            .expect("a listener was taken")
            .listener("gateway")
            .clone();
        listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
        let next = self.file.with_extension("next");
        fs::write(&next, json!({"resources": [listener]}).to_string())
            .expect("the file can be written");
        fs::rename(&next, &self.file).expect("the file can be renamed");
    }

    /// Another policy, at one instant.
    pub fn change(&self, policy: &Value) {
        let mut config = self.config.lock().expect("nobody panicked with it");
        config
            .as_mut()
            .expect("a listener was taken")
            .policy(&policy.to_string());
        drop(config);
        self.write();
    }
}
