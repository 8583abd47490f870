//! Making VMs: a worker's, the main thread's, and the one that a configuration is tried in.

use crate::core::Core;
use crate::event::WorkerId;
use crate::services::{CANARY, WorkerServices};
use crate::worker::Worker;
use sluice_embed::{Plugin, StartError, Vm};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

impl Core {
    /// Starts the plugin with this configuration in a VM of the main thread, and drops it.
    pub fn try_on_main_thread(
        &self,
        gateway: usize,
        configuration: &[u8],
    ) -> Result<(), StartError> {
        let id = WorkerId {
            gateway,
            worker: CANARY,
        };
        let plugin = Plugin {
            configuration: configuration.to_vec(),
            ..self.state().gateway(id).plugin.clone()
        };
        let mut canary = self.new_worker(id)?;
        canary.vm.start(&plugin)?;
        Ok(())
    }

    /// Services for a VM.
    fn services(&self, id: WorkerId) -> Arc<WorkerServices> {
        let core = self.own.upgrade().expect("whoever calls this holds it");
        let mut state = self.state();
        let seed = state.draws.schedule.u64(..);
        let gateway = state.gateway(id);
        WorkerServices::new(
            &core,
            id,
            Arc::clone(&gateway.shared),
            Arc::clone(&gateway.queues),
            Arc::clone(&gateway.metrics),
            fastrand::Rng::with_seed(seed),
        )
    }

    /// A worker whose VM is made, and runs no plugin yet.
    pub fn new_worker(&self, id: WorkerId) -> Result<Box<Worker>, StartError> {
        let (module, mut options) = {
            let mut state = self.state();
            let gateway = state.gateway(id);
            (gateway.module.clone(), gateway.vm.clone())
        };
        options.number = id.worker as u64;
        let services = self.services(id);
        let vm = Vm::new(&module, &options, &services.services())?;
        Ok(Box::new(Worker {
            id,
            vm,
            dead: false,
            loaded_at: self.state().now,
            life: 0,
            root: None,
            draining: Vec::new(),
            streams: BTreeMap::new(),
            contexts: HashMap::new(),
            after: VecDeque::new(),
            nested: 0,
            called_for: None,
            ticks: HashMap::new(),
            services,
        }))
    }
}
