//! Making an instance, running a callback in it, and telling how it failed.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{Store, Trap, TypedFunc, WasmParams, WasmResults};

use super::{Vm, VmOptions};
use crate::abi;
use crate::context::Context;
use crate::engine::Module;
use crate::error::{Cause, Failure, VmError};
use crate::guest::Exports;
use crate::host::{Calls, Host, Metrics, Phase};
use crate::services::Services;

/// Makes an instance of a module and lets it initialize itself.
pub(super) fn instantiate(
    module: &Module,
    options: &Arc<VmOptions>,
    services: &Services,
    generation: u32,
) -> Result<(Store<Host>, Exports), VmError> {
    let host = Host {
        options: Arc::clone(options),
        services: services.clone(),
        limits: (*module.limits).clone(),
        generation,
        memory: None,
        allocate: None,
        refused: abi::refused(options),
        phase: Phase::Initializing,
        contexts: HashMap::new(),
        next_context: 1,
        current: 0,
        effective: 0,
        stop: false,
        done: Vec::new(),
        effects: Vec::new(),
        calls: Calls::default(),
        metrics: Metrics::default(),
        out_of_memory: false,
    };
    let engine = module.instance.module().engine();
    let mut store = Store::new(engine, host);
    store.limiter(|host| host);
    store.set_epoch_deadline(module.limits.epochs.max(1));
    match initialize(module, options, &mut store) {
        Ok(exports) => Ok((store, exports)),
        Err(error) => {
            let cause = match cause(&error, store.data()) {
                Cause::Trap if error.downcast_ref::<Trap>().is_none() => Cause::Instantiation,
                cause => cause,
            };
            Err(failed(&mut store, cause, &error))
        }
    }
}

fn initialize(
    module: &Module,
    options: &Arc<VmOptions>,
    store: &mut Store<Host>,
) -> wasmtime::Result<Exports> {
    let instance = module.instance.instantiate(&mut *store)?;
    let allocate = ["malloc", "proxy_on_memory_allocate"]
        .iter()
        .find_map(|name| instance.get_typed_func(&mut *store, name).ok());
    let memory = instance.get_memory(&mut *store, "memory");
    let host = store.data_mut();
    host.allocate = allocate;
    host.memory = memory;
    // A WASI reactor initializes and may have a main function; a command only starts.
    let mut call = |name: &str| match instance.get_typed_func::<(), ()>(&mut *store, name) {
        Ok(function) => function.call(&mut *store, ()).map(|()| true),
        Err(_) => Ok(false),
    };
    if call("_initialize")? {
        let main = instance.get_typed_func::<(u32, u32), u32>(&mut *store, "main");
        if let Ok(main) = main {
            main.call(&mut *store, (0, 0))?;
        } else if let Ok(main) = instance.get_typed_func::<(), u32>(&mut *store, "__main_void") {
            main.call(&mut *store, ())?;
        }
    } else {
        call("_start")?;
    }
    store.data_mut().phase = Phase::Running;
    Ok(Exports::find(&instance, &mut *store, options))
}

/// Marks an error of a host function that may not be called now.
#[derive(Debug)]
pub(crate) struct Restricted(pub &'static str);

impl std::fmt::Display for Restricted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` may not be called at this point", self.0)
    }
}

impl std::error::Error for Restricted {}

fn cause(error: &wasmtime::Error, host: &Host) -> Cause {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Cause::TooLong,
        Some(Trap::StackOverflow) => Cause::StackOverflow,
        _ if error.is::<Restricted>() => Cause::Restricted,
        _ if host.out_of_memory => Cause::OutOfMemory,
        _ => Cause::Trap,
    }
}

fn failed(store: &mut Store<Host>, cause: Cause, error: &wasmtime::Error) -> VmError {
    VmError::Failed(Box::new(Failure {
        cause,
        message: format!("{error:#}"),
        effects: std::mem::take(&mut store.data_mut().effects),
    }))
}

impl Vm {
    /// Runs a callback for a context. `None` when the filter has no such callback.
    ///
    /// The stop flag is left as the callback left it, for [`Vm::stopped`].
    pub(super) fn run<P: WasmParams, R: WasmResults>(
        &mut self,
        context: u32,
        callback: Option<&TypedFunc<P, R>>,
        parameters: P,
    ) -> Result<Option<R>, VmError> {
        self.alive()?;
        let Some(callback) = callback else {
            return Ok(None);
        };
        self.store
            .set_epoch_deadline(self.module.limits.epochs.max(1));
        let host = self.store.data_mut();
        host.current = context;
        host.effective = 0;
        host.stop = false;
        host.out_of_memory = false;
        let result = callback.call(&mut self.store, parameters);
        let host = self.store.data_mut();
        host.current = 0;
        host.effective = 0;
        match result {
            Ok(result) => {
                self.delete_done()?;
                Ok(Some(result))
            }
            Err(error) => {
                self.dead = true;
                let cause = cause(&error, self.store.data());
                Err(failed(&mut self.store, cause, &error))
            }
        }
    }

    /// Whether the callback that ran last sent a local reply, for whatever stream: its status counts for nothing then.
    pub(super) fn stopped(&mut self) -> bool {
        std::mem::take(&mut self.store.data_mut().stop)
    }

    /// Tells the filter of a new context, once.
    pub(super) fn create(&mut self, number: u32, parent: u32) -> Result<(), VmError> {
        let created = match self.store.data_mut().contexts.get_mut(&number) {
            Some(Context::Root(root)) => &mut root.created,
            Some(Context::Stream(stream)) => &mut stream.created,
            None => return Err(VmError::UnknownContext),
        };
        if std::mem::replace(created, true) {
            return Ok(());
        }
        let callback = self.exports.context_create.clone();
        self.run(number, callback.as_ref(), (number, parent))?;
        Ok(())
    }

    /// Tells the filter that a context is gone, and forgets it.
    pub(super) fn forget(&mut self, number: u32) -> Result<(), VmError> {
        let callback = self.exports.delete.clone();
        let result = self.run(number, callback.as_ref(), number);
        self.store.data_mut().contexts.remove(&number);
        result.map(|_| ())
    }

    /// Root contexts that said `proxy_done` are deleted once the callback is over.
    fn delete_done(&mut self) -> Result<(), VmError> {
        let done = std::mem::take(&mut self.store.data_mut().done);
        let stop = self.store.data().stop;
        for number in done {
            self.forget(number)?;
        }
        self.store.data_mut().stop = stop;
        Ok(())
    }
}
