//! A running filter.

mod calls;
mod run;
pub(crate) use run::Restricted;
mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;

use wasmtime::Store;

use crate::attributes::Attributes;
use crate::context::{Context, Root, Stream};
use crate::effect::Effect;
use crate::engine::Module;
use crate::error::{StartError, VmError};
use crate::guest::Exports;
use crate::host::Host;
use crate::services::Services;

/// What a VM is given from the start.
#[derive(Debug, Clone, Default)]
pub struct VmOptions {
    /// The gateway's own number of this VM: it comes back in [`Receiver`](crate::Receiver).
    pub number: u64,
    /// VMs with the same id share data and queues.
    pub vm_id: String,
    pub vm_configuration: Vec<u8>,
    pub environment: Vec<(String, String)>,
    /// The names of the host functions that the filter may call, and of the callbacks that the gateway calls in it
    /// (Envoy's `allowed_capabilities`). `None`, or an empty set, allows all. A refused function answers
    /// `InternalFailure` (of WASI: `ENOTCAPABLE`) and is logged; a refused callback is not called.
    pub allowed: Option<BTreeSet<String>>,
}

impl VmOptions {
    pub(crate) fn allows(&self, name: &str) -> bool {
        let allowed = self.allowed.as_ref().filter(|names| !names.is_empty());
        allowed.is_none_or(|names| names.contains(name))
    }
}

/// A plugin: a configuration that a filter runs with. One VM can run several.
#[derive(Debug, Clone, Default)]
pub struct Plugin {
    pub name: String,
    pub root_id: String,
    pub configuration: Vec<u8>,
    /// Whether a filter that pauses in its header callbacks still gets the body. Envoy's option of this name.
    pub allow_on_headers_stop_iteration: bool,
    /// Facts that hold for all streams and for the root context, such as `["node", "id"]`.
    pub properties: Attributes,
}

/// A root context of a VM. Belongs to one generation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootId {
    generation: u32,
    number: u32,
}

/// A stream context of a VM. Belongs to one generation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    generation: u32,
    number: u32,
}

impl RootId {
    pub(crate) fn new(generation: u32, number: u32) -> Self {
        Self { generation, number }
    }

    /// The number that the filter knows the context by.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }
}

impl StreamId {
    pub(crate) fn new(generation: u32, number: u32) -> Self {
        Self { generation, number }
    }

    /// The number that the filter knows the context by.
    #[must_use]
    pub fn number(self) -> u32 {
        self.number
    }
}

/// A filter in memory of its own. Moves between threads, runs on one at a time.
///
/// After a failure the VM is dead: each call answers [`VmError::Dead`] until [`Vm::rebuild`], and contexts of before
/// are refused then.
pub struct Vm {
    module: Module,
    options: Arc<VmOptions>,
    services: Services,
    generation: u32,
    store: Store<Host>,
    exports: Exports,
    dead: bool,
}

impl Vm {
    /// Makes a VM and runs the module's own initialization.
    ///
    /// # Errors
    /// [`VmError::Failed`] when the module fails in it, or needs more memory than it may have.
    pub fn new(module: &Module, options: &VmOptions, services: &Services) -> Result<Self, VmError> {
        let options = Arc::new(options.clone());
        let (store, exports) = run::instantiate(module, &options, services, 1)?;
        Ok(Self {
            module: module.clone(),
            options,
            services: services.clone(),
            generation: 1,
            store,
            exports,
            dead: false,
        })
    }

    /// How many times the VM was made: 1 at first, one more with each [`Vm::rebuild`].
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether the VM failed, and must be rebuilt.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Makes the VM anew, with no context. Calls that were under way are forgotten: the gateway cancels them.
    ///
    /// # Errors
    /// As [`Vm::new`]; the VM is dead then.
    pub fn rebuild(&mut self) -> Result<(), VmError> {
        self.dead = true;
        self.generation = self.generation.wrapping_add(1);
        let made = run::instantiate(&self.module, &self.options, &self.services, self.generation);
        (self.store, self.exports) = made?;
        self.dead = false;
        Ok(())
    }

    /// Starts a plugin: makes its root context, calls `proxy_on_vm_start` and `proxy_on_configure`.
    ///
    /// # Errors
    /// When the filter refuses its configuration, or fails. The VM then is of no use for this plugin.
    pub fn start(&mut self, plugin: &Plugin) -> Result<(RootId, Vec<Effect>), StartError> {
        self.alive()?;
        let plugin = Arc::new(plugin.clone());
        let vm_size = size32(self.options.vm_configuration.len());
        let plugin_size = size32(plugin.configuration.len());
        let host = self.store.data_mut();
        let number = host.draw_context();
        host.contexts
            .insert(number, Context::Root(Root::new(plugin)));
        self.configuring(number, true);
        self.create(number, 0)?;
        self.configuring(number, false);
        let vm_start = self.exports.vm_start.clone();
        let started = self.run(number, vm_start.as_ref(), (number, vm_size))?;
        if started == Some(0) {
            self.take_effects();
            return Err(StartError::VmRefused);
        }
        self.configuring(number, true);
        let configure = self.exports.configure.clone();
        let configured = self.run(number, configure.as_ref(), (number, plugin_size))?;
        self.configuring(number, false);
        if configured == Some(0) {
            self.take_effects();
            return Err(StartError::ConfigurationRefused);
        }
        Ok((RootId::new(self.generation, number), self.take_effects()))
    }

    /// The root context of that number, if there is one now.
    #[must_use]
    pub fn root(&self, number: u32) -> Option<RootId> {
        match self.store.data().contexts.get(&number)? {
            Context::Root(_) => Some(RootId::new(self.generation, number)),
            Context::Stream(_) => None,
        }
    }

    /// Ends a plugin: `proxy_on_done`, then `proxy_on_delete`. When the filter asks to wait (`proxy_on_done` answers
    /// false), the second comes after the call in which it says `proxy_done`. Answers whether it ended at once.
    ///
    /// # Errors
    /// When the context is unknown, or the filter fails.
    pub fn shut_down(&mut self, root: RootId) -> Result<(bool, Vec<Effect>), VmError> {
        let number = self.find_root(root)?;
        let done = self.exports.done.clone();
        let waits = self.run(number, done.as_ref(), number)? == Some(0);
        if waits {
            self.change_root(number, |root| root.pending_done = true);
        } else {
            self.forget(number)?;
        }
        Ok((!waits, self.take_effects()))
    }

    /// Makes the context of a stream. The filter hears of it with its first callback, as in Envoy.
    ///
    /// # Errors
    /// When the root context is unknown or the VM dead.
    pub fn open_stream(
        &mut self,
        root: RootId,
        attributes: Attributes,
    ) -> Result<StreamId, VmError> {
        let root = self.find_root(root)?;
        let host = self.store.data_mut();
        let Some(Context::Root(context)) = host.contexts.get(&root) else {
            return Err(VmError::UnknownContext);
        };
        let stream = Stream::new(root, Arc::clone(&context.plugin), attributes);
        let number = host.draw_context();
        host.contexts.insert(number, Context::Stream(stream));
        Ok(StreamId::new(self.generation, number))
    }

    /// How many streams are open.
    #[must_use]
    pub fn streams(&self) -> usize {
        let contexts = self.store.data().contexts.values();
        contexts
            .filter(|it| matches!(it, Context::Stream(_)))
            .count()
    }

    /// How many bytes of memory the filter has.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let memory = self.store.data().memory;
        memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    fn configuring(&mut self, number: u32, configuring: bool) {
        self.change_root(number, |root| root.configuring = configuring);
    }

    fn alive(&self) -> Result<(), VmError> {
        if self.dead {
            Err(VmError::Dead)
        } else {
            Ok(())
        }
    }

    /// The number of a root context that is there.
    fn find_root(&self, root: RootId) -> Result<u32, VmError> {
        self.current(root.generation)?;
        match self.store.data().contexts.get(&root.number) {
            Some(Context::Root(_)) => Ok(root.number),
            _ => Err(VmError::UnknownContext),
        }
    }

    /// The number of a stream that is there.
    fn find_stream(&self, stream: StreamId) -> Result<u32, VmError> {
        self.current(stream.generation)?;
        match self.store.data().contexts.get(&stream.number) {
            Some(Context::Stream(_)) => Ok(stream.number),
            _ => Err(VmError::UnknownContext),
        }
    }

    fn current(&self, generation: u32) -> Result<(), VmError> {
        if generation != self.generation {
            return Err(VmError::StaleContext);
        }
        self.alive()
    }

    fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.store.data_mut().effects)
    }
}

/// A size, as filters count. Nothing that is handed to a filter is larger than its memory can be.
fn size32(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm")
            .field("vm_id", &self.options.vm_id)
            .field("generation", &self.generation)
            .field("dead", &self.dead)
            .finish_non_exhaustive()
    }
}
