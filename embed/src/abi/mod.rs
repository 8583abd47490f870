//! The host functions of ABI 0.2.1, and of WASI what filters link.

mod buffers;
mod calls;
mod general;
mod headers;
mod shared;
mod streams;
mod wasi;

use wasmtime::{Caller, Linker, Memory};

use crate::host::{Host, Phase};
use crate::services::Level;
use crate::status::Status;
pub(crate) use crate::vm::Restricted;
use crate::vm::VmOptions;
pub(crate) use wasi::{add_stubs, needs_stubs};

/// A host function's way out: an answer to the filter, or the end of the VM.
pub(crate) enum Stop {
    Status(Status),
    Trap(wasmtime::Error),
}

pub(crate) type Answer<T = ()> = Result<T, Stop>;

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// A host function at work: the filter's memory, and the host's state.
pub(crate) struct Guest<'a, 'b>(&'a mut Caller<'b, Host>);

impl Guest<'_, '_> {
    pub(crate) fn host(&mut self) -> &mut Host {
        self.0.data_mut()
    }

    fn memory(&self) -> Answer<Memory> {
        Ok(self.0.data().memory.ok_or(Status::InvalidMemoryAccess)?)
    }

    /// The memory and the host's state, side by side.
    pub(crate) fn split(&mut self) -> Answer<(&mut [u8], &mut Host)> {
        let memory = self.memory()?;
        Ok(memory.data_and_store_mut(&mut *self.0))
    }

    pub(crate) fn read(&mut self, pointer: u32, size: u32) -> Answer<Vec<u8>> {
        let (memory, _) = self.split()?;
        Ok(slice(memory, pointer, size)?.to_vec())
    }

    pub(crate) fn read_text(&mut self, pointer: u32, size: u32) -> Answer<String> {
        let (memory, _) = self.split()?;
        Ok(String::from_utf8_lossy(slice(memory, pointer, size)?).into_owned())
    }

    pub(crate) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Answer {
        let (memory, _) = self.split()?;
        let start = index(pointer);
        let end = start.saturating_add(bytes.len());
        let target = memory.get_mut(start..end);
        target
            .ok_or(Status::InvalidMemoryAccess)?
            .copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn write_u32(&mut self, pointer: u32, value: u32) -> Answer {
        self.write(pointer, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, pointer: u32, value: u64) -> Answer {
        self.write(pointer, &value.to_le_bytes())
    }

    /// Hands bytes over: in memory that the filter allocates, whose place and size go to the two pointers.
    pub(crate) fn give(&mut self, bytes: &[u8], pointer: u32, size_pointer: u32) -> Answer {
        let size = u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?;
        let place = if size == 0 { 0 } else { self.allocate(size)? };
        self.write(place, bytes)?;
        self.write_u32(pointer, place)?;
        self.write_u32(size_pointer, size)
    }

    fn allocate(&mut self, size: u32) -> Answer<u32> {
        let host = self.host();
        let allocate = host.allocate.clone().ok_or(Status::InvalidMemoryAccess)?;
        let phase = std::mem::replace(&mut host.phase, Phase::Allocating);
        let place = allocate.call(&mut *self.0, size)?;
        self.host().phase = phase;
        if place == 0 {
            return Err(Status::InvalidMemoryAccess.into());
        }
        Ok(place)
    }
}

/// A part of the filter's memory.
pub(crate) fn slice(memory: &[u8], pointer: u32, size: u32) -> Answer<&[u8]> {
    let start = index(pointer);
    let part = memory.get(start..start.saturating_add(index(size)));
    Ok(part.ok_or(Status::InvalidMemoryAccess)?)
}

/// A filter's number as an index. Hosts of less than 32 bits do not exist here.
pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Makes the list of host functions: their names, their registration, and which arguments they take.
macro_rules! functions {
    ($($name:literal = $function:path, ($($argument:ident: $type:ty),*);)*) => {
        /// The names of all host functions of the module `env`.
        const FUNCTIONS: &[&str] = &[$($name),*];

        fn register(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
            $({
                let bit = bit($name);
                linker.func_wrap(
                    "env",
                    $name,
                    move |mut caller: Caller<'_, Host>, $($argument: $type),*|
                        -> wasmtime::Result<u32> {
                        if let Some(answer) = enter(&caller, $name, bit)? {
                            return Ok(answer);
                        }
                        let mut guest = Guest(&mut caller);
                        finish($function(&mut guest, $($argument),*))
                    },
                )?;
            })*
            Ok(())
        }
    };
}

functions! {
    "proxy_log" = general::log, (level: u32, text: u32, size: u32);
    "proxy_get_log_level" = general::log_level, (to: u32);
    "proxy_get_current_time_nanoseconds" = general::now, (to: u32);
    "proxy_set_tick_period_milliseconds" = general::tick_period, (period: u32);
    "proxy_get_property" = general::get_property, (path: u32, size: u32, to: u32, to_size: u32);
    "proxy_set_property" = general::set_property, (path: u32, size: u32, value: u32, value_size: u32);
    "proxy_get_status" = general::get_status, (code: u32, to: u32, to_size: u32);
    "proxy_set_effective_context" = general::set_effective_context, (context: u32);
    "proxy_done" = general::done, ();
    "proxy_call_foreign_function" = general::foreign,
        (name: u32, size: u32, arguments: u32, arguments_size: u32, to: u32, to_size: u32);
    "proxy_continue_stream" = streams::resume, (kind: u32);
    "proxy_close_stream" = streams::close, (kind: u32);
    "proxy_send_local_response" = streams::local_response,
        (status: u32, details: u32, details_size: u32, body: u32, body_size: u32, headers: u32,
            headers_size: u32, grpc_status: u32);
    "proxy_get_header_map_pairs" = headers::pairs, (map: u32, to: u32, to_size: u32);
    "proxy_set_header_map_pairs" = headers::set_pairs, (map: u32, pairs: u32, size: u32);
    "proxy_get_header_map_size" = headers::size, (map: u32, to: u32);
    "proxy_get_header_map_value" = headers::get,
        (map: u32, name: u32, size: u32, to: u32, to_size: u32);
    "proxy_add_header_map_value" = headers::add,
        (map: u32, name: u32, size: u32, value: u32, value_size: u32);
    "proxy_replace_header_map_value" = headers::replace,
        (map: u32, name: u32, size: u32, value: u32, value_size: u32);
    "proxy_remove_header_map_value" = headers::remove, (map: u32, name: u32, size: u32);
    "proxy_get_buffer_bytes" = buffers::get,
        (buffer: u32, start: u32, length: u32, to: u32, to_size: u32);
    "proxy_set_buffer_bytes" = buffers::set,
        (buffer: u32, start: u32, length: u32, bytes: u32, size: u32);
    "proxy_get_buffer_status" = buffers::status, (buffer: u32, length: u32, flags: u32);
    "proxy_get_shared_data" = shared::get, (key: u32, size: u32, to: u32, to_size: u32, cas: u32);
    "proxy_set_shared_data" = shared::set,
        (key: u32, size: u32, value: u32, value_size: u32, cas: u32);
    "proxy_register_shared_queue" = shared::register_queue, (name: u32, size: u32, to: u32);
    "proxy_resolve_shared_queue" = shared::resolve_queue,
        (vm: u32, vm_size: u32, name: u32, size: u32, to: u32);
    "proxy_enqueue_shared_queue" = shared::enqueue, (token: u32, value: u32, size: u32);
    "proxy_dequeue_shared_queue" = shared::dequeue, (token: u32, to: u32, to_size: u32);
    "proxy_define_metric" = shared::define_metric, (kind: u32, name: u32, size: u32, to: u32);
    "proxy_increment_metric" = shared::increment_metric, (id: u32, by: i64);
    "proxy_record_metric" = shared::record_metric, (id: u32, value: u64);
    "proxy_get_metric" = shared::get_metric, (id: u32, to: u32);
    "proxy_http_call" = calls::http,
        (upstream: u32, upstream_size: u32, headers: u32, headers_size: u32, body: u32,
            body_size: u32, trailers: u32, trailers_size: u32, timeout: u32, to: u32);
    "proxy_grpc_call" = calls::grpc,
        (upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32,
            method_size: u32, metadata: u32, metadata_size: u32, message: u32, message_size: u32,
            timeout: u32, to: u32);
    "proxy_grpc_stream" = calls::grpc_stream,
        (upstream: u32, upstream_size: u32, service: u32, service_size: u32, method: u32,
            method_size: u32, metadata: u32, metadata_size: u32, to: u32);
    "proxy_grpc_send" = calls::grpc_send, (token: u32, message: u32, size: u32, end: u32);
    "proxy_grpc_close" = calls::grpc_close, (token: u32);
    "proxy_grpc_cancel" = calls::grpc_cancel, (token: u32);
}

/// All host functions, ready to be bound.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    register(&mut linker)?;
    wasi::register(&mut linker)?;
    Ok(linker)
}

/// Whether there is a host function of this name.
pub(crate) fn provides(module: &str, name: &str) -> bool {
    match module {
        "env" => FUNCTIONS.contains(&name),
        module => wasi::provides(module, name),
    }
}

/// The host functions that the options refuse, as bits. Those of WASI that answer an error anyway have none.
pub(crate) fn refused(options: &VmOptions) -> u128 {
    let refused = restrictable().filter(|name| !options.allows(name));
    refused.fold(0, |bits, name| bits | bit(name))
}

fn restrictable() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().chain(wasi::WORKING).copied()
}

/// A host function's bit.
fn bit(name: &str) -> u128 {
    let place = restrictable().position(|it| it == name);
    let place = place.and_then(|place| u32::try_from(place).ok());
    place
        .and_then(|place| 1_u128.checked_shl(place))
        .unwrap_or(0)
}

/// The answer to a function that may not be called; `None` when it may.
fn enter(
    caller: &Caller<'_, Host>,
    name: &'static str,
    bit: u128,
) -> wasmtime::Result<Option<u32>> {
    let host = caller.data();
    if host.refused & bit != 0 {
        host.log(
            Level::Error,
            &format!("Attempted call to restricted proxy-wasm capability: {name}"),
        );
        return Ok(Some(Status::InternalFailure as u32));
    }
    if host.phase != Phase::Running && name != "proxy_log" {
        return Err(wasmtime::Error::new(Restricted(name)));
    }
    Ok(None)
}

fn finish(answer: Answer) -> wasmtime::Result<u32> {
    match answer {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Stop::Status(status)) => Ok(status as u32),
        Err(Stop::Trap(error)) => Err(error),
    }
}
