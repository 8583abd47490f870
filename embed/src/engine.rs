//! Compiled modules, and the limits that their VMs run under.

use std::sync::Arc;

use wasmtime::{Config, InstancePre};

use crate::abi;
use crate::error::LoadError;
use crate::host::Host;

/// What a filter may use. The same for all VMs of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most memory of a VM, in bytes.
    pub memory_bytes: usize,
    /// The most stack of a call, in bytes.
    pub stack_bytes: usize,
    /// How many ticks of [`Engine::advance_epoch`] a call may last, at least 1: an endless loop ends in an error.
    pub epochs: u64,
}

impl Default for Limits {
    /// 256 MiB of memory, 512 KiB of stack, ten ticks.
    fn default() -> Self {
        Self {
            memory_bytes: 256 * 1024 * 1024,
            stack_bytes: 512 * 1024,
            epochs: 10,
        }
    }
}

/// Compiles and loads modules. Cheap to clone; clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) wasmtime: wasmtime::Engine,
    linker: Arc<wasmtime::Linker<Host>>,
    limits: Arc<Limits>,
}

/// A filter, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    pub(crate) instance: InstancePre<Host>,
    pub(crate) limits: Arc<Limits>,
}

impl Engine {
    /// # Errors
    /// When the engine does not run on this machine, or not with these limits.
    pub fn new(limits: &Limits) -> Result<Self, LoadError> {
        let failed = |error: wasmtime::Error| LoadError::Engine(format!("{error:#}"));
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.max_wasm_stack(limits.stack_bytes);
        let wasmtime = wasmtime::Engine::new(&config).map_err(failed)?;
        let linker = abi::linker(&wasmtime).map_err(failed)?;
        Ok(Self {
            wasmtime,
            linker: Arc::new(linker),
            limits: Arc::new(limits.clone()),
        })
    }

    /// Lets time pass for every call that runs on this engine. Call it from a thread of its own, at a steady pace. An
    /// engine whose epoch never advances never interrupts a call.
    pub fn advance_epoch(&self) {
        self.wasmtime.increment_epoch();
    }

    /// Compiles a module.
    ///
    /// # Errors
    /// When it is no filter of ABI 0.2, or imports what this host does not have.
    #[cfg(feature = "compile")]
    pub fn compile(&self, wasm: &[u8]) -> Result<Module, LoadError> {
        let module = wasmtime::Module::from_binary(&self.wasmtime, wasm)
            .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        self.link(module)
    }

    /// Compiles a module to a form that [`Engine::load_precompiled`] reads.
    ///
    /// # Errors
    /// As [`Engine::compile`].
    #[cfg(feature = "compile")]
    pub fn precompile(&self, wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
        let module = self.compile(wasm)?;
        let serialized = module.instance.module().serialize();
        serialized.map_err(|error| LoadError::Invalid(format!("{error:#}")))
    }

    /// Checks that a module is a filter, and binds its imports.
    pub(crate) fn link(&self, module: wasmtime::Module) -> Result<Module, LoadError> {
        let exports = |name: &str| module.get_export(name).is_some();
        if !exports("proxy_abi_version_0_2_0") && !exports("proxy_abi_version_0_2_1") {
            return Err(LoadError::Abi);
        }
        if module
            .get_export("memory")
            .and_then(|it| it.memory().cloned())
            .is_none()
        {
            return Err(LoadError::MissingExport("memory"));
        }
        if !exports("proxy_on_memory_allocate") && !exports("malloc") {
            return Err(LoadError::MissingExport("proxy_on_memory_allocate"));
        }
        crate::guest::check_signatures(&module)?;
        let mut missing: Vec<String> = module
            .imports()
            .filter(|import| !abi::provides(import.module(), import.name()))
            .map(|import| format!("{}.{}", import.module(), import.name()))
            .collect();
        if !missing.is_empty() {
            missing.sort();
            missing.dedup();
            return Err(LoadError::MissingImports(missing));
        }
        let signature = |error: wasmtime::Error| LoadError::Signature(format!("{error:#}"));
        let instance = if abi::needs_stubs(&module) {
            let mut linker = wasmtime::Linker::clone(&self.linker);
            abi::add_stubs(&mut linker, &module).map_err(signature)?;
            linker.instantiate_pre(&module)
        } else {
            self.linker.instantiate_pre(&module)
        };
        Ok(Module {
            instance: instance.map_err(signature)?,
            limits: Arc::clone(&self.limits),
        })
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
