//! What a filter exports: looked up once for each VM.

use wasmtime::{AsContextMut, Instance, TypedFunc, ValType, WasmParams, WasmResults};

use crate::error::LoadError;
use crate::vm::VmOptions;

/// Lists a filter's exports once: the fields, how they are looked up, and how their signatures are checked.
macro_rules! exports {
    ($($field:ident = $name:literal : $params:ty => $results:ty;)*) => {
        /// A filter's callbacks: those that it has, and that the options allow.
        pub(crate) struct Exports {
            $(pub $field: Option<TypedFunc<$params, $results>>,)*
        }

        impl Exports {
            pub(crate) fn find(
                instance: &Instance,
                mut store: impl AsContextMut,
                options: &VmOptions,
            ) -> Self {
                Self {
                    $($field: find(instance, &mut store, options, $name),)*
                }
            }
        }

        /// Refuses a module in which a known export has another signature.
        pub(crate) fn check_signatures(module: &wasmtime::Module) -> Result<(), LoadError> {
            $(check::<$params, $results>(module, $name)?;)*
            check::<u32, u32>(module, "malloc")?;
            check::<u32, u32>(module, "proxy_on_memory_allocate")
        }
    };
}

exports! {
    context_create = "proxy_on_context_create": (u32, u32) => ();
    vm_start = "proxy_on_vm_start": (u32, u32) => u32;
    configure = "proxy_on_configure": (u32, u32) => u32;
    tick = "proxy_on_tick": u32 => ();
    queue_ready = "proxy_on_queue_ready": (u32, u32) => ();
    request_headers = "proxy_on_request_headers": (u32, u32, u32) => u32;
    request_body = "proxy_on_request_body": (u32, u32, u32) => u32;
    request_trailers = "proxy_on_request_trailers": (u32, u32) => u32;
    response_headers = "proxy_on_response_headers": (u32, u32, u32) => u32;
    response_body = "proxy_on_response_body": (u32, u32, u32) => u32;
    response_trailers = "proxy_on_response_trailers": (u32, u32) => u32;
    http_call_response = "proxy_on_http_call_response": (u32, u32, u32, u32, u32) => ();
    grpc_initial_metadata = "proxy_on_grpc_receive_initial_metadata": (u32, u32, u32) => ();
    grpc_message = "proxy_on_grpc_receive": (u32, u32, u32) => ();
    grpc_trailing_metadata = "proxy_on_grpc_receive_trailing_metadata": (u32, u32, u32) => ();
    grpc_close = "proxy_on_grpc_close": (u32, u32, u32) => ();
    done = "proxy_on_done": u32 => u32;
    log = "proxy_on_log": u32 => ();
    delete = "proxy_on_delete": u32 => ();
}

fn find<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: impl AsContextMut,
    options: &VmOptions,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    options
        .allows(name)
        .then(|| instance.get_typed_func(store, name).ok())
        .flatten()
}

/// The exports' parameters and results are all 32-bit integers: their numbers are their signature.
trait Words {
    const COUNT: usize;
}
impl Words for () {
    const COUNT: usize = 0;
}
impl Words for u32 {
    const COUNT: usize = 1;
}
impl Words for (u32, u32) {
    const COUNT: usize = 2;
}
impl Words for (u32, u32, u32) {
    const COUNT: usize = 3;
}
impl Words for (u32, u32, u32, u32, u32) {
    const COUNT: usize = 5;
}

fn check<P: Words, R: Words>(module: &wasmtime::Module, name: &str) -> Result<(), LoadError> {
    let Some(export) = module.get_export(name) else {
        return Ok(());
    };
    let words = |types: Vec<ValType>, count| {
        types.len() == count && types.iter().all(|it| matches!(it, ValType::I32))
    };
    match export.func() {
        Some(function)
            if words(function.params().collect(), P::COUNT)
                && words(function.results().collect(), R::COUNT) =>
        {
            Ok(())
        }
        _ => Err(LoadError::Signature(format!("export `{name}`"))),
    }
}
