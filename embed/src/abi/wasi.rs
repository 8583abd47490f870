//! The part of WASI preview 1 that filters link: clocks, random bytes, the environment, and output, which is logged.
//! There are no files and no sockets. What else a module imports of WASI answers "no such function" (`ENOSYS`).

use wasmtime::{Caller, Linker, Module, Val};

use super::{Answer, Guest, Restricted, Stop, index, slice};
use crate::host::{Host, Phase};
use crate::services::Level;

const MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

const BADF: u32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const NOSYS: u32 = 52;
const NOTSUP: u32 = 58;
const NOTCAPABLE: u32 = 76;

/// The most random bytes that Envoy gives at once.
const MAX_RANDOM: usize = 64 * 1024;
/// The most output that is taken at once: a filter could list one part of its memory many times over.
const MAX_OUTPUT: usize = 1024 * 1024;

/// Those that do something.
pub(super) const WORKING: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// All others.
pub(super) const STUBS: &[&str] = &[
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

pub(super) fn provides(module: &str, name: &str) -> bool {
    MODULES.contains(&module) && (WORKING.contains(&name) || STUBS.contains(&name))
}

fn is_stub(module: &str, name: &str) -> bool {
    MODULES.contains(&module) && STUBS.contains(&name)
}

/// Whether a module imports functions that have to be made for it.
pub(crate) fn needs_stubs(module: &Module) -> bool {
    module.imports().any(|it| is_stub(it.module(), it.name()))
}

/// Makes functions that answer `ENOSYS`, with the signatures that the module imports them with.
pub(crate) fn add_stubs(linker: &mut Linker<Host>, module: &Module) -> wasmtime::Result<()> {
    for import in module.imports() {
        let Some(ty) = import.ty().func().cloned() else {
            continue;
        };
        if is_stub(import.module(), import.name()) {
            linker.func_new(import.module(), import.name(), ty, |_, _, results| {
                for result in results {
                    *result = Val::I32(NOSYS.cast_signed());
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Registers a function under both names that WASI has gone by.
macro_rules! function {
    ($linker:ident, $name:literal, |$guest:ident $(, $argument:ident: $type:ty)*| $work:expr) => {
        for module in MODULES {
            let bit = super::bit($name);
            $linker.func_wrap(
                module,
                $name,
                move |mut caller: Caller<'_, Host> $(, $argument: $type)*| -> wasmtime::Result<u32> {
                    if let Some(errno) = enter(&caller, $name, bit)? {
                        return Ok(errno);
                    }
                    let $guest = &mut Guest(&mut caller);
                    errno($work)
                },
            )?;
        }
    };
}

pub(super) fn register(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    function!(linker, "args_get", |_guest, _argv: u32, _buffer: u32| Ok(0));
    function!(linker, "args_sizes_get", |guest, count: u32, size: u32| {
        write_both(guest, (count, 0), (size, 0))
    });
    function!(
        linker,
        "clock_res_get",
        |guest, clock: u32, to: u32| match clock {
            0 | 1 => guest.write_u64(to, 1).map(|()| 0),
            _ => Ok(NOTSUP),
        }
    );
    function!(
        linker,
        "clock_time_get",
        |guest, clock: u32, _precision: u64, to: u32| {
            let time = match clock {
                0 => Some(guest.host().services.clock.now_nanos()),
                1 => Some(guest.host().services.clock.monotonic_nanos()),
                _ => None,
            };
            time.map_or(Ok(NOTSUP), |time| guest.write_u64(to, time).map(|()| 0))
        }
    );
    function!(
        linker,
        "environ_get",
        |guest, pointers: u32, buffer: u32| environ_get(guest, pointers, buffer)
    );
    function!(
        linker,
        "environ_sizes_get",
        |guest, count: u32, size: u32| {
            let environment = &guest.host().options.environment;
            let sizes = environment
                .iter()
                .map(|(name, value)| name.len() + value.len() + 2);
            let (number, total) = (environment.len(), sizes.sum::<usize>());
            let small = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
            write_both(guest, (count, small(number)), (size, small(total)))
        }
    );
    function!(
        linker,
        "fd_write",
        |guest, fd: u32, parts: u32, count: u32, written: u32| {
            fd_write(guest, fd, parts, count, written)
        }
    );
    function!(linker, "random_get", |guest, to: u32, size: u32| {
        if index(size) > MAX_RANDOM {
            return Ok(INVAL);
        }
        let mut bytes = vec![0; index(size)];
        guest.host().services.random.fill(&mut bytes);
        guest.write(to, &bytes).map(|()| 0)
    });
    function!(linker, "sched_yield", |_guest| Ok(0));
    for module in MODULES {
        // As in Envoy it returns, and the filter runs into the trap that it has behind this call.
        linker.func_wrap(
            module,
            "proc_exit",
            |caller: Caller<'_, Host>, code: u32| {
                let message = format!("the filter asked to exit, with code {code}");
                caller.data().log(Level::Error, &message);
            },
        )?;
    }
    Ok(())
}

/// The answer to a function that may not be called; `None` when it may.
fn enter(
    caller: &Caller<'_, Host>,
    name: &'static str,
    bit: u128,
) -> wasmtime::Result<Option<u32>> {
    let host = caller.data();
    if host.refused & bit != 0 {
        let message = format!("Attempted call to restricted WASI capability: {name}");
        host.log(Level::Error, &message);
        return Ok(Some(NOTCAPABLE));
    }
    if host.phase == Phase::Allocating && !matches!(name, "fd_write" | "clock_time_get") {
        return Err(wasmtime::Error::new(Restricted(name)));
    }
    Ok(None)
}

/// Whatever goes wrong in here is a bad pointer.
fn errno(answer: Answer<u32>) -> wasmtime::Result<u32> {
    match answer {
        Ok(errno) => Ok(errno),
        Err(Stop::Status(_)) => Ok(FAULT),
        Err(Stop::Trap(error)) => Err(error),
    }
}

fn write_both(guest: &mut Guest, first: (u32, u32), second: (u32, u32)) -> Answer<u32> {
    guest.write_u32(first.0, first.1)?;
    guest.write_u32(second.0, second.1)?;
    Ok(0)
}

fn environ_get(guest: &mut Guest, mut pointers: u32, mut buffer: u32) -> Answer<u32> {
    let options = std::sync::Arc::clone(&guest.host().options);
    for (name, value) in &options.environment {
        let text = format!("{name}={value}\0");
        guest.write_u32(pointers, buffer)?;
        guest.write(buffer, text.as_bytes())?;
        pointers = pointers.saturating_add(4);
        buffer = buffer.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
    }
    Ok(0)
}

/// Output becomes a line of the log: what goes to stdout as information, what goes to stderr as an error.
fn fd_write(guest: &mut Guest, fd: u32, parts: u32, count: u32, written: u32) -> Answer<u32> {
    let level = match fd {
        1 => Level::Info,
        2 => Level::Error,
        _ => return Ok(BADF),
    };
    let (memory, host) = guest.split()?;
    let list = slice(memory, parts, count.saturating_mul(8))?;
    let mut output = Vec::new();
    for part in list.chunks_exact(8) {
        let (place, size) = part.split_at(4);
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
        let bytes = slice(memory, number(place), number(size))?;
        if output.len().saturating_add(bytes.len()) > MAX_OUTPUT {
            return Ok(INVAL);
        }
        output.extend_from_slice(bytes);
    }
    let text = output.strip_suffix(b"\n").unwrap_or(&output);
    if !output.is_empty() {
        host.log(level, &String::from_utf8_lossy(text));
    }
    guest.write_u32(written, u32::try_from(output.len()).unwrap_or(u32::MAX))?;
    Ok(0)
}
